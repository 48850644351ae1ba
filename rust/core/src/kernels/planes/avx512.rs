//! Sums of table entries with AVX-512: a byte of 64 rows in one register.

use std::arch::x86_64::*;

use super::{BLOCK, Column, OfQuery, Planes, Tables};
use crate::kernels::level::Avx512;
use crate::kernels::prefetch::AHEAD;

pub(super) fn upper_ends<const Q: usize>(
    _: Avx512,
    rows: Planes<'_>,
    queries: [OfQuery<'_>; Q],
    outs: [&mut [f32]; Q],
) {
    // SAFETY: the token proves the features.
    unsafe { upper_ends_of_rows(rows, queries, outs) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn upper_ends_of_rows<const Q: usize>(rows: Planes<'_>, queries: [OfQuery<'_>; Q], outs: [&mut [f32]; Q]) {
    super::body(|columns, tables| run(columns, tables), rows, queries, outs);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn run<const Q: usize>(columns: &[Column], tables: [&Tables; Q]) -> [[u16; BLOCK]; Q] {
    assert!(tables.iter().all(|tables| tables.len() == columns.len()), "a table a column");
    let low_bits = _mm512_set1_epi8(15);
    // Sixteen-bit sums: `all` of the low byte of every pair plus 256 times the high one, `high` of the high one.
    let (mut all, mut high) = ([_mm512_setzero_si512(); Q], [_mm512_setzero_si512(); Q]);
    for (i, column) in columns.iter().enumerate() {
        // SAFETY: a column has 64 bytes; a prefetch reads nothing.
        let bytes = unsafe {
            _mm_prefetch::<_MM_HINT_T0>(column.as_ptr().wrapping_add(AHEAD).cast());
            _mm512_loadu_si512(column.as_ptr().cast())
        };
        let lower = _mm512_and_si512(bytes, low_bits);
        let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low_bits);
        for ((tables, all), high) in tables.iter().zip(&mut all).zip(&mut high) {
            // SAFETY: there are as many tables as columns, and a table has 32 bytes.
            let (lows, highs) = unsafe {
                let table = tables.as_ptr().add(i).cast::<__m128i>();
                (_mm512_broadcast_i32x4(_mm_loadu_si128(table)), _mm512_broadcast_i32x4(_mm_loadu_si128(table.add(1))))
            };
            let pair = _mm512_add_epi8(_mm512_shuffle_epi8(lows, lower), _mm512_shuffle_epi8(highs, upper));
            *all = _mm512_add_epi16(*all, pair);
            *high = _mm512_add_epi16(*high, _mm512_srli_epi16::<8>(pair));
        }
    }
    let mut sums = [[0; BLOCK]; Q];
    for ((sums, all), high) in sums.iter_mut().zip(all).zip(high) {
        let low = _mm512_sub_epi16(all, _mm512_slli_epi16::<8>(high));
        // Rows 16i … 16i + 15 lie in quarter i of both registers, even ones in `low`, odd ones in `high`.
        let (first, second) = (_mm512_unpacklo_epi16(low, high), _mm512_unpackhi_epi16(low, high));
        let to = sums.as_mut_ptr();
        // SAFETY: four times sixteen sums.
        unsafe {
            _mm_storeu_si128(to.cast(), _mm512_extracti32x4_epi32::<0>(first));
            _mm_storeu_si128(to.add(8).cast(), _mm512_extracti32x4_epi32::<0>(second));
            _mm_storeu_si128(to.add(16).cast(), _mm512_extracti32x4_epi32::<1>(first));
            _mm_storeu_si128(to.add(24).cast(), _mm512_extracti32x4_epi32::<1>(second));
            _mm_storeu_si128(to.add(32).cast(), _mm512_extracti32x4_epi32::<2>(first));
            _mm_storeu_si128(to.add(40).cast(), _mm512_extracti32x4_epi32::<2>(second));
            _mm_storeu_si128(to.add(48).cast(), _mm512_extracti32x4_epi32::<3>(first));
            _mm_storeu_si128(to.add(56).cast(), _mm512_extracti32x4_epi32::<3>(second));
        }
    }
    sums
}
