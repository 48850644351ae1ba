//! Plain Walsh–Hadamard: the stages as the reference writes them.

use super::Direction;

pub(super) fn transform(direction: Direction, rows: &mut [f32], stride: usize, offset: usize, factors: &[f32]) {
    let p = factors.len();
    for row in rows.chunks_exact_mut(stride) {
        block(direction, &mut row[offset..offset + p], factors);
    }
}

pub(super) fn block(direction: Direction, block: &mut [f32], factors: &[f32]) {
    if direction == Direction::Forward {
        multiply(block, factors);
    }
    let mut half = 1;
    while half < block.len() {
        for pairs in block.chunks_exact_mut(2 * half) {
            let (low, high) = pairs.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    if direction == Direction::Inverse {
        multiply(block, factors);
    }
}

fn multiply(block: &mut [f32], factors: &[f32]) {
    for (value, factor) in block.iter_mut().zip(factors) {
        *value *= factor;
    }
}
