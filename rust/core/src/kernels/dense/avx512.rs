//! Dense products with AVX-512: 32 values at a time in tiles of four by four; `vpdpwssd` multiplies and adds where there is VNNI.

use std::arch::x86_64::*;

use crate::kernels::level::{Avx512, Avx512Vnni};

/// The kernel for one instruction that adds the products of pairs to sums.
macro_rules! kernel {
    ($name:ident, $features:literal, $add:expr) => {
        mod $name {
            use super::*;

            /// # Safety
            /// Rows of `width`, a multiple of 32, on both sides; `out` has a place for each pair; the processor has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn all(rows: &[i16], matrix: &[i16], width: usize, out: &mut [i32]) {
                let (n, k) = (rows.len() / width, matrix.len() / width);
                for a in (0..k).step_by(4) {
                    for r in (0..n).step_by(4) {
                        // SAFETY: each arm's rows exist.
                        unsafe {
                            let (x, m) = (rows.as_ptr().add(r * width), matrix.as_ptr().add(a * width));
                            let at = out.as_mut_ptr().add(r * k + a);
                            match (n - r, k - a) {
                                (4.., 4..) => tile::<4, 4>(x, m, width, at, k),
                                (4.., left) => {
                                    (0..left).for_each(|a| tile::<4, 1>(x, m.add(a * width), width, at.add(a), k));
                                }
                                (left, 4..) => {
                                    (0..left).for_each(|r| tile::<1, 4>(x.add(r * width), m, width, at.add(r * k), k));
                                }
                                (rows, columns) => {
                                    for (r, a) in (0..rows).flat_map(|r| (0..columns).map(move |a| (r, a))) {
                                        let (x, m) = (x.add(r * width), m.add(a * width));
                                        tile::<1, 1>(x, m, width, at.add(r * k + a), k);
                                    }
                                }
                            }
                        }
                    }
                }
            }

            /// # Safety
            /// `rows` points to `R` rows and `matrix` to `A` rows of `width`, a multiple of 32; `out` to `R` runs of `A` places,
            /// `k` apart; the processor has the features.
            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn tile<const R: usize, const A: usize>(
                rows: *const i16,
                matrix: *const i16,
                width: usize,
                out: *mut i32,
                k: usize,
            ) {
                let mut sums = [[_mm512_setzero_si512(); A]; R];
                for i in (0..width).step_by(32) {
                    // SAFETY: i + 32 ≤ width, the length of every row.
                    unsafe {
                        let m: [__m512i; A] =
                            std::array::from_fn(|a| _mm512_loadu_si512(matrix.add(a * width + i).cast()));
                        for (r, sums) in sums.iter_mut().enumerate() {
                            let x = _mm512_loadu_si512(rows.add(r * width + i).cast());
                            for (sum, m) in sums.iter_mut().zip(m) {
                                *sum = $add(*sum, x, m);
                            }
                        }
                    }
                }
                for (r, sums) in sums.iter().enumerate() {
                    for (a, sum) in sums.iter().enumerate() {
                        // SAFETY: r < R and a < A.
                        unsafe { *out.add(r * k + a) = _mm512_reduce_add_epi32(*sum) }
                    }
                }
            }
        }
    };
}

kernel!(pairs, "avx512f,avx512bw", |sum, x, m| _mm512_add_epi32(sum, _mm512_madd_epi16(x, m)));
kernel!(fused, "avx512f,avx512bw,avx512vnni", |sum, x, m| _mm512_dpwssd_epi32(sum, x, m));

pub(super) fn products(_: Avx512, rows: &[i16], matrix: &[i16], width: usize, out: &mut [i32]) {
    // SAFETY: the token proves the features; `super::products` checked the lengths.
    unsafe { pairs::all(rows, matrix, width, out) }
}

pub(super) fn products_vnni(_: Avx512, _: Avx512Vnni, rows: &[i16], matrix: &[i16], width: usize, out: &mut [i32]) {
    // SAFETY: the tokens prove the features; `super::products` checked the lengths.
    unsafe { fused::all(rows, matrix, width, out) }
}
