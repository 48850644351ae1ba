//! The integer product with AVX2: |row|·(query with the row's sign), 32 coordinates at a time.
//!
//! `maddubs` adds two products in 16 bits: 2·127·127 = 32,258 < 32,767, so it never saturates. Four queries share a row's loads.

use std::arch::x86_64::*;

use crate::kernels::level::Avx2;

pub(super) fn add_products(_: Avx2, queries: &[i8], panel: &[i8], width: usize, out: &mut [i32]) {
    if panel.is_empty() {
        return;
    }
    // SAFETY: the token proves AVX2; `super::add_products` checked the lengths.
    unsafe { block(queries, panel, width, out) }
}

/// # Safety
/// `queries` and `panel` are rows of `width`, a multiple of 32; `out` holds a product for each pair of them.
#[target_feature(enable = "avx2")]
unsafe fn block(queries: &[i8], panel: &[i8], width: usize, out: &mut [i32]) {
    let rows = panel.len() / width;
    let mut groups = queries.chunks_exact(4 * width);
    let mut outs = out.chunks_exact_mut(4 * rows);
    for (queries, out) in (&mut groups).zip(&mut outs) {
        let (first, rest) = out.split_at_mut(rows);
        let (second, rest) = rest.split_at_mut(rows);
        let (third, fourth) = rest.split_at_mut(rows);
        for (r, row) in panel.chunks_exact(width).enumerate() {
            // SAFETY: there are 4 queries of `width`, a multiple of 32, like the row.
            let sums = unsafe { products::<4>(queries, row, width) };
            let sums = across(sums);
            first[r] += sums[0];
            second[r] += sums[1];
            third[r] += sums[2];
            fourth[r] += sums[3];
        }
    }
    for (query, out) in groups.remainder().chunks_exact(width).zip(outs.into_remainder().chunks_exact_mut(rows)) {
        for (row, out) in panel.chunks_exact(width).zip(out) {
            // SAFETY: query and row are `width` long, a multiple of 32.
            let [sum] = unsafe { products::<1>(query, row, width) };
            *out += across([sum, _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()])[0];
        }
    }
}

/// # Safety
/// `queries` holds `N` rows of `width` values, `row` one; `width` is a multiple of 32.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn products<const N: usize>(queries: &[i8], row: &[i8], width: usize) -> [__m256i; N] {
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
    sums
}

/// The sums over the lanes of four registers.
#[target_feature(enable = "avx2")]
#[inline]
fn across([a, b, c, d]: [__m256i; 4]) -> [i32; 4] {
    let all = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    let four = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
    let mut out = [0; 4];
    // SAFETY: four values are written to an array of four.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), four) };
    out
}
