//! The integer product with AVX2: |row|·(query with the row's sign), 32 coordinates at a time.
//!
//! `maddubs` adds two products in 16 bits: 2·127·127 = 32,258 < 32,767, so it never saturates. Four queries share a row's loads.

use std::arch::x86_64::*;

use crate::kernels::level::Avx2;

pub(super) fn add_products(_: Avx2, queries: &[i8], panel: &[i8], width: usize, out: &mut [i32]) {
    let rows = panel.len() / width;
    if rows == 0 {
        return;
    }
    let mut groups = queries.chunks_exact(4 * width);
    let mut outs = out.chunks_exact_mut(4 * rows);
    for (queries, out) in (&mut groups).zip(&mut outs) {
        for (r, row) in panel.chunks_exact(width).enumerate() {
            // SAFETY: the token proves AVX2; there are 4 queries of `width`, a multiple of 32, like the row.
            let sums = unsafe { products::<4>(queries, row, width) };
            for (i, sum) in sums.into_iter().enumerate() {
                out[i * rows + r] += sum;
            }
        }
    }
    for (query, out) in groups.remainder().chunks_exact(width).zip(outs.into_remainder().chunks_exact_mut(rows)) {
        for (row, out) in panel.chunks_exact(width).zip(out) {
            // SAFETY: the token proves AVX2; query and row are `width` long, a multiple of 32.
            *out += unsafe { products::<1>(query, row, width) }[0];
        }
    }
}

/// # Safety
/// `queries` holds `N` rows of `width` values, `row` one; `width` is a multiple of 32.
#[target_feature(enable = "avx2")]
unsafe fn products<const N: usize>(queries: &[i8], row: &[i8], width: usize) -> [i32; N] {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_si256(); N];
    for i in (0..width).step_by(32) {
        // SAFETY: i + 32 ≤ width, the length of the row.
        let l = unsafe { _mm256_loadu_si256(row.as_ptr().add(i).cast()) };
        let magnitude = _mm256_abs_epi8(l);
        for (n, sum) in sums.iter_mut().enumerate() {
            // SAFETY: query n starts at n·width and has i + 32 ≤ width values.
            let q = unsafe { _mm256_loadu_si256(queries.as_ptr().add(n * width + i).cast()) };
            let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(q, l));
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
        }
    }
    sums.map(|sum| {
        let four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
        let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
        _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
    })
}
