//! Dense products with AVX2: `pmaddwd` adds two products in 32 bits, 16 values at a time, in tiles of four rows by two
//! matrix rows. The matrix rows of a tile stay in the first cache while all rows pass.

use std::arch::x86_64::*;

use crate::kernels::level::Avx2;

pub(super) fn products(_: Avx2, rows: &[i16], matrix: &[i16], width: usize, out: &mut [i32]) {
    // SAFETY: the token proves AVX2; `super::products` checked the lengths.
    unsafe { all(rows, matrix, width, out) }
}

/// # Safety
/// Rows of `width`, a multiple of 16, on both sides; `out` has a place for each pair.
#[target_feature(enable = "avx2")]
unsafe fn all(rows: &[i16], matrix: &[i16], width: usize, out: &mut [i32]) {
    let (n, k) = (rows.len() / width, matrix.len() / width);
    let mut a = 0;
    while a < k {
        // SAFETY: a + 2 ≤ k in the first arm, a + 1 ≤ k in the second.
        unsafe {
            if a + 2 <= k {
                column::<2>(rows, n, matrix.as_ptr().add(a * width), width, out.as_mut_ptr().add(a), k);
                a += 2;
            } else {
                column::<1>(rows, n, matrix.as_ptr().add(a * width), width, out.as_mut_ptr().add(a), k);
                a += 1;
            }
        }
    }
}

/// All rows with `A` matrix rows.
///
/// # Safety
/// `matrix` points to `A` rows of `width`; `out` to the first of `A` places, repeated every `k` values for `n` rows.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn column<const A: usize>(rows: &[i16], n: usize, matrix: *const i16, width: usize, out: *mut i32, k: usize) {
    let mut r = 0;
    while r < n {
        // SAFETY: r + 4 ≤ n in the first arm, r + 1 ≤ n in the second; rows are `width` long.
        unsafe {
            if r + 4 <= n {
                tile::<4, A>(rows.as_ptr().add(r * width), matrix, width, out.add(r * k), k);
                r += 4;
            } else {
                tile::<1, A>(rows.as_ptr().add(r * width), matrix, width, out.add(r * k), k);
                r += 1;
            }
        }
    }
}

/// # Safety
/// `rows` points to `R` rows and `matrix` to `A` rows of `width`, a multiple of 16; `out` to `R` runs of `A` places, `k` apart.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn tile<const R: usize, const A: usize>(
    rows: *const i16,
    matrix: *const i16,
    width: usize,
    out: *mut i32,
    k: usize,
) {
    let mut sums = [[_mm256_setzero_si256(); A]; R];
    for i in (0..width).step_by(16) {
        // SAFETY: i + 16 ≤ width, the length of every row.
        unsafe {
            let m: [__m256i; A] = std::array::from_fn(|a| _mm256_loadu_si256(matrix.add(a * width + i).cast()));
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = _mm256_loadu_si256(rows.add(r * width + i).cast());
                for (sum, m) in sums.iter_mut().zip(m) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, m));
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        if let [a, b] = sums[..] {
            let pairs = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let four = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            // SAFETY: r < R and A is two.
            unsafe { _mm_storel_epi64(out.add(r * k).cast(), two) }
            continue;
        }
        for (a, sum) in sums.iter().enumerate() {
            let four = _mm_add_epi32(_mm256_castsi256_si128(*sum), _mm256_extracti128_si256::<1>(*sum));
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
            // SAFETY: r < R and a < A.
            unsafe { *out.add(r * k + a) = _mm_cvtsi128_si32(one) }
        }
    }
}
