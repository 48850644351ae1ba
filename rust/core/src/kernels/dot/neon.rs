//! The integer product with baseline NEON: widening products of 8 lanes, added pairwise into 32 bits.

use std::arch::aarch64::*;

use crate::kernels::level::Neon;

pub(super) fn add_products(_: Neon, queries: &[i8], panel: &[i8], width: usize, out: &mut [i32]) {
    if panel.is_empty() {
        return;
    }
    // SAFETY: the token proves NEON; `super::add_products` checked the lengths.
    unsafe { block(queries, panel, width, out) }
}

/// # Safety
/// `queries` and `panel` are rows of `width`, a multiple of 32; `out` holds a product for each pair of them.
#[target_feature(enable = "neon")]
unsafe fn block(queries: &[i8], panel: &[i8], width: usize, out: &mut [i32]) {
    let rows = panel.len() / width;
    for (query, out) in queries.chunks_exact(width).zip(out.chunks_exact_mut(rows)) {
        for (row, out) in panel.chunks_exact(width).zip(out) {
            // SAFETY: query and row are `width` long, a multiple of 32.
            *out += unsafe { product(query, row) };
        }
    }
}

/// # Safety
/// Both slices have the same length, a multiple of 32.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn product(query: &[i8], row: &[i8]) -> i32 {
    let mut sums = [vdupq_n_s32(0); 2];
    for i in (0..row.len()).step_by(32) {
        for (half, sum) in sums.iter_mut().enumerate() {
            // SAFETY: i + 32 ≤ the length of both.
            unsafe {
                let q = vld1q_s8(query.as_ptr().add(i + 16 * half));
                let l = vld1q_s8(row.as_ptr().add(i + 16 * half));
                // Two products of at most 127² each fit 16 bits: 32,258.
                let pairs = vmlal_s8(vmull_s8(vget_low_s8(q), vget_low_s8(l)), vget_high_s8(q), vget_high_s8(l));
                *sum = vpadalq_s16(*sum, pairs);
            }
        }
    }
    vaddvq_s32(vaddq_s32(sums[0], sums[1]))
}
