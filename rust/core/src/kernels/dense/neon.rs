//! Dense products with baseline NEON: `smlal` multiplies four values into 32 bits; tiles of four rows by two matrix rows.

use std::arch::aarch64::*;

use crate::kernels::level::Neon;

pub(super) fn products(_: Neon, rows: &[i16], matrix: &[i16], width: usize, out: &mut [i32]) {
    let (n, k) = (rows.len() / width, matrix.len() / width);
    for a in (0..k).step_by(2) {
        for r in (0..n).step_by(4) {
            // SAFETY: the token proves NEON; `super::products` checked the lengths, and each arm's rows exist.
            unsafe {
                let (x, m) = (rows.as_ptr().add(r * width), matrix.as_ptr().add(a * width));
                let at = out.as_mut_ptr().add(r * k + a);
                match (n - r, k - a) {
                    (4.., 2..) => tile::<4, 2>(x, m, width, at, k),
                    (4.., _) => tile::<4, 1>(x, m, width, at, k),
                    (left, 2..) => (0..left).for_each(|r| tile::<1, 2>(x.add(r * width), m, width, at.add(r * k), k)),
                    (left, _) => (0..left).for_each(|r| tile::<1, 1>(x.add(r * width), m, width, at.add(r * k), k)),
                }
            }
        }
    }
}

/// # Safety
/// `rows` points to `R` rows and `matrix` to `A` rows of `width`, a multiple of 8; `out` to `R` runs of `A` places, `k` apart.
#[target_feature(enable = "neon")]
unsafe fn tile<const R: usize, const A: usize>(
    rows: *const i16,
    matrix: *const i16,
    width: usize,
    out: *mut i32,
    k: usize,
) {
    let mut sums = [[vdupq_n_s32(0); A]; R];
    for i in (0..width).step_by(8) {
        for (r, sums) in sums.iter_mut().enumerate() {
            for (a, sum) in sums.iter_mut().enumerate() {
                // SAFETY: i + 8 ≤ width, the length of every row.
                unsafe {
                    let (x, m) = (vld1q_s16(rows.add(r * width + i)), vld1q_s16(matrix.add(a * width + i)));
                    *sum = vmlal_high_s16(vmlal_s16(*sum, vget_low_s16(x), vget_low_s16(m)), x, m);
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (a, sum) in sums.iter().enumerate() {
            // SAFETY: r < R and a < A.
            unsafe { *out.add(r * k + a) = vaddvq_s32(*sum) }
        }
    }
}
