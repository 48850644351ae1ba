//! The 64 lanes of the summation tree (docs/numerics.md section 3), shared by the kernels that sum.

/// Strided partial sums a sum is made of.
pub(super) const LANES: usize = 64;

/// Adds the lanes of a sum of `terms` terms by halving: j and j + 32, then j and j + 16, … , then 0 and 1.
///
/// Lanes from `terms` on are +0, and no lane is −0, since each started from +0: adding them would change nothing.
#[inline(always)]
pub(super) fn fold(lanes: &mut [f32; LANES], terms: usize) -> f32 {
    let mut width = if terms < LANES { terms.next_power_of_two() } else { LANES };
    while width > 1 {
        width /= 2;
        let (low, high) = lanes.split_at_mut(width);
        for (a, b) in low.iter_mut().zip(high) {
            *a += *b;
        }
    }
    lanes[0]
}

/// Sums `terms` in the tree's order.
#[inline(always)]
pub(super) fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let mut blocks = values.chunks_exact(LANES);
    for block in &mut blocks {
        for (lane, &value) in lanes.iter_mut().zip(block) {
            *lane += term(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(blocks.remainder()) {
        *lane += term(value);
    }
    fold(&mut lanes, values.len())
}

/// ⟨a, b⟩ in the tree's order.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    fold(&mut lanes, a.len())
}
