//! Plain assignment: one binary search a coordinate.

use super::{Products, Table};
use crate::kernels::lanes::{LANES, fold};

pub(super) fn assign(table: &Table, y: &[f32], m: usize, codes: &mut [u8], products: &mut [Products]) {
    for ((y, codes), products) in y.chunks_exact(m).zip(codes.chunks_exact_mut(m)).zip(products) {
        let (mut yc, mut cc) = ([0.0; LANES], [0.0; LANES]);
        tail(table, y, codes, 0, &mut yc, &mut cc);
        *products = Products { yc: fold(&mut yc, m), cc: fold(&mut cc, m) };
    }
}

/// Assigns coordinates whose first one belongs to lane `lane`; SIMD kernels end a row with it.
#[inline(always)]
pub(super) fn tail(
    table: &Table,
    y: &[f32],
    codes: &mut [u8],
    lane: usize,
    yc: &mut [f32; LANES],
    cc: &mut [f32; LANES],
) {
    for (i, (&value, code)) in y.iter().zip(codes).enumerate() {
        let mut found = 0;
        for step in 0..table.bits {
            let bound = table.tree[(1 << step) - 1 + found];
            found = 2 * found + usize::from(value > bound);
        }
        *code = found as u8;
        let c = table.levels[found];
        yc[(lane + i) % LANES] += value * c;
        cc[(lane + i) % LANES] += c * c;
    }
}
