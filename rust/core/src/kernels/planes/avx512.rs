//! Sums of table entries with AVX-512: a byte of 64 rows in one register.

use std::arch::x86_64::*;

use super::{BLOCK, Column, Planes, Tables, Weights};
use crate::kernels::level::Avx512;
use crate::kernels::prefetch::AHEAD;

pub(super) fn upper_ends(_: Avx512, rows: Planes<'_>, tables: &Tables, weights: Weights, out: &mut [f32]) {
    // SAFETY: the token proves the features.
    unsafe { upper_ends_of_rows(rows, tables, weights, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn upper_ends_of_rows(rows: Planes<'_>, tables: &Tables, weights: Weights, out: &mut [f32]) {
    super::body(|columns, tables| run(columns, tables), rows, tables, weights, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline]
fn run(columns: &[Column], tables: &Tables) -> [u16; BLOCK] {
    let low_bits = _mm512_set1_epi8(15);
    // Sixteen-bit sums: `all` of the low byte of every pair plus 256 times the high one, `high` of the high one.
    let (mut all, mut high) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for (column, table) in columns.iter().zip(tables) {
        // SAFETY: a column has 64 bytes and a table 32; a prefetch reads nothing.
        let (bytes, lows, highs) = unsafe {
            _mm_prefetch::<_MM_HINT_T0>(column.as_ptr().wrapping_add(AHEAD).cast());
            (
                _mm512_loadu_si512(column.as_ptr().cast()),
                _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())),
                _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().add(16).cast())),
            )
        };
        let low = _mm512_shuffle_epi8(lows, _mm512_and_si512(bytes, low_bits));
        let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low_bits);
        let pair = _mm512_add_epi8(low, _mm512_shuffle_epi8(highs, upper));
        all = _mm512_add_epi16(all, pair);
        high = _mm512_add_epi16(high, _mm512_srli_epi16::<8>(pair));
    }
    let low = _mm512_sub_epi16(all, _mm512_slli_epi16::<8>(high));
    // Rows 16i … 16i + 15 lie in quarter i of both registers, even ones in `low`, odd ones in `high`.
    let (first, second) = (_mm512_unpacklo_epi16(low, high), _mm512_unpackhi_epi16(low, high));
    let mut sums = [0; BLOCK];
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
    sums
}
