//! Permutation with AVX2: quads of rows, eight coordinates at a time.

use std::arch::x86_64::*;

use super::{Order, QUAD};
use crate::kernels::level::Avx2;

/// Permutes whole quads of rows; returns how many rows that are.
pub(super) fn shuffle(_: Avx2, order: &Order, rows: &mut [f32], spare: &mut [f32]) -> usize {
    let m = order.source.len();
    let mut whole = 0;
    for rows in rows.chunks_exact_mut(QUAD * m) {
        // SAFETY: the token proves AVX2; `rows` and `spare` hold four rows, and an order's indices are below m.
        unsafe {
            interleave(rows.as_ptr(), m, spare.as_mut_ptr());
            collect(order, spare.as_ptr(), rows.as_mut_ptr());
        }
        whole += QUAD;
    }
    whole
}

/// Puts coordinate i of four rows at 4·i … 4·i + 3.
///
/// # Safety
/// `rows` and `out` hold 4·m values.
#[target_feature(enable = "avx2")]
unsafe fn interleave(rows: *const f32, m: usize, out: *mut f32) {
    // SAFETY: i + 8 ≤ m in the first loop, i < m in the second.
    unsafe {
        let eights = m / 8 * 8;
        for i in (0..eights).step_by(8) {
            let row = |r: usize| _mm256_loadu_ps(rows.add(r * m + i));
            let [a, b, c, d] = transposed(row(0), row(1), row(2), row(3));
            // Each half is a quad: coordinates 0 to 3 below, 4 to 7 above.
            let put = |j: usize, quads: __m256| {
                _mm_storeu_ps(out.add(QUAD * (i + j)), _mm256_castps256_ps128(quads));
                _mm_storeu_ps(out.add(QUAD * (i + j + 4)), _mm256_extractf128_ps::<1>(quads));
            };
            put(0, a);
            put(1, b);
            put(2, c);
            put(3, d);
        }
        for i in eights..m {
            for r in 0..QUAD {
                *out.add(QUAD * i + r) = *rows.add(r * m + i);
            }
        }
    }
}

/// Takes each coordinate of four rows from where the order says.
///
/// # Safety
/// `quads` and `rows` hold four values a coordinate of the order.
#[target_feature(enable = "avx2")]
unsafe fn collect(order: &Order, quads: *const f32, rows: *mut f32) {
    let (source, m) = (&order.source[..], order.source.len());
    let (eights, rest) = source.as_chunks::<8>();
    for (i, source) in eights.iter().enumerate() {
        // SAFETY: indices of an order are below m, and so are 8·i … 8·i + 7.
        unsafe {
            let quad = |j: usize| _mm_loadu_ps(quads.add(QUAD * source[j] as usize));
            let pair = |j: usize| _mm256_set_m128(quad(j + 4), quad(j));
            let [a, b, c, d] = transposed(pair(0), pair(1), pair(2), pair(3));
            let at = rows.add(8 * i);
            _mm256_storeu_ps(at, a);
            _mm256_storeu_ps(at.add(m), b);
            _mm256_storeu_ps(at.add(2 * m), c);
            _mm256_storeu_ps(at.add(3 * m), d);
        }
    }
    for (i, &from) in rest.iter().enumerate() {
        for r in 0..QUAD {
            // SAFETY: as above.
            unsafe { *rows.add(r * m + 8 * eights.len() + i) = *quads.add(QUAD * from as usize + r) };
        }
    }
}

/// Four columns of each half for four rows.
#[target_feature(enable = "avx2")]
#[inline]
fn transposed(a: __m256, b: __m256, c: __m256, d: __m256) -> [__m256; 4] {
    let pairs = |low: __m256, high: __m256| (_mm256_castps_pd(low), _mm256_castps_pd(high));
    let (ab, cd) = pairs(_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
    let (high_ab, high_cd) = pairs(_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
    [
        _mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)),
        _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd)),
        _mm256_castpd_ps(_mm256_unpacklo_pd(high_ab, high_cd)),
        _mm256_castpd_ps(_mm256_unpackhi_pd(high_ab, high_cd)),
    ]
}
