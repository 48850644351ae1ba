//! Dense products with AVX-512: 32 values at a time in tiles of four by four; `vpdpwssd` multiplies and adds where there is VNNI.

use std::arch::x86_64::*;

use crate::kernels::level::{Avx512, Avx512Vnni};

/// Rows from which copies of both sides, aligned to cache lines, take less time than they save.
const WORTH_A_COPY: usize = 16;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([i16; 32]);

/// Copies whole lines to where they are aligned, and returns the first value.
fn aligned(values: &[i16], lines: &mut Vec<Line>) -> *const i16 {
    lines.clear();
    lines.extend(values.as_chunks::<32>().0.iter().map(|line| Line(*line)));
    lines.as_ptr().cast()
}

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
                // Many rows pay for copies that no load splits over two cache lines. Eight rows of the matrix stay in the first cache.
                let copies = n >= WORTH_A_COPY;
                let (mut some, mut all) = (Vec::new(), Vec::new());
                let x = if copies { aligned(rows, &mut all) } else { rows.as_ptr() };
                for a in (0..k).step_by(8) {
                    let columns = 8.min(k - a);
                    let part = &matrix[a * width..][..columns * width];
                    let m = if copies { aligned(part, &mut some) } else { part.as_ptr() };
                    for r in (0..n).step_by(4) {
                        // SAFETY: these rows exist on both sides, `columns` of them in the copy.
                        unsafe {
                            for b in (0..columns).step_by(4) {
                                let (x, m, at) =
                                    (x.add(r * width), m.add(b * width), out.as_mut_ptr().add(r * k + a + b));
                                corner(x, n - r, m, columns - b, width, at, k);
                            }
                        }
                    }
                }
            }

            /// Up to four of `rows` rows with up to four of `columns` matrix rows.
            ///
            /// # Safety
            /// `x` and `m` point to so many rows of `width`, a multiple of 32; `out` to places for their products, rows `k` apart;
            /// the processor has the features.
            #[target_feature(enable = $features)]
            #[inline]
            unsafe fn corner(
                x: *const i16,
                rows: usize,
                m: *const i16,
                columns: usize,
                width: usize,
                out: *mut i32,
                k: usize,
            ) {
                // SAFETY: each arm's rows exist.
                unsafe {
                    match (rows, columns) {
                        (4.., 4..) => tile::<4, 4>(x, m, width, out, k),
                        (4.., left) => {
                            (0..left).for_each(|a| tile::<4, 1>(x, m.add(a * width), width, out.add(a), k));
                        }
                        (left, 4..) => {
                            (0..left).for_each(|r| tile::<1, 4>(x.add(r * width), m, width, out.add(r * k), k));
                        }
                        (rows, columns) => {
                            for (r, a) in (0..rows).flat_map(|r| (0..columns).map(move |a| (r, a))) {
                                tile::<1, 1>(x.add(r * width), m.add(a * width), width, out.add(r * k + a), k);
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
                    if let [a, b, c, d] = sums[..] {
                        // SAFETY: r < R and A is four.
                        unsafe { _mm_storeu_si128(out.add(r * k).cast(), four_sums(a, b, c, d)) }
                        continue;
                    }
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

/// The sums of the lanes of four registers.
#[target_feature(enable = "avx512f")]
#[inline]
fn four_sums(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> __m128i {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let quarters = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let halves = _mm256_add_epi32(_mm512_castsi512_si256(quarters), _mm512_extracti64x4_epi64::<1>(quarters));
    _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
}

pub(super) fn products(_: Avx512, rows: &[i16], matrix: &[i16], width: usize, out: &mut [i32]) {
    // SAFETY: the token proves the features; `super::products` checked the lengths.
    unsafe { pairs::all(rows, matrix, width, out) }
}

pub(super) fn products_vnni(_: Avx512, _: Avx512Vnni, rows: &[i16], matrix: &[i16], width: usize, out: &mut [i32]) {
    // SAFETY: the tokens prove the features; `super::products` checked the lengths.
    unsafe { fused::all(rows, matrix, width, out) }
}
