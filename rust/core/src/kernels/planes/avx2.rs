//! Sums of table entries with AVX2: a byte of 32 rows in one register, two registers a block.

use std::arch::x86_64::*;

use super::{BLOCK, Column, OfQuery, Planes, Tables};
use crate::kernels::level::Avx2;
use crate::kernels::prefetch::AHEAD;

pub(super) fn upper_ends<const Q: usize>(_: Avx2, rows: Planes<'_>, queries: [OfQuery<'_>; Q], outs: [&mut [f32]; Q]) {
    // SAFETY: the token proves the features.
    unsafe { upper_ends_of_rows(rows, queries, outs) }
}

#[target_feature(enable = "avx2")]
fn upper_ends_of_rows<const Q: usize>(rows: Planes<'_>, queries: [OfQuery<'_>; Q], outs: [&mut [f32]; Q]) {
    super::body(|columns, tables| run(columns, tables), rows, queries, outs);
}

#[target_feature(enable = "avx2")]
#[inline]
fn run<const Q: usize>(columns: &[Column], tables: [&Tables; Q]) -> [[u16; BLOCK]; Q] {
    let mut sums = [[0; BLOCK]; Q];
    if Q == 1 {
        add_to::<Q, 2>(columns, tables, 0, &mut sums);
    } else {
        // Sixteen registers do not hold the sums of both halves.
        (0..2).for_each(|half| add_to::<Q, 1>(columns, tables, half, &mut sums));
    }
    sums
}

/// Sums of `HALVES` halves of a block from half `first` on.
#[target_feature(enable = "avx2")]
#[inline]
fn add_to<const Q: usize, const HALVES: usize>(
    columns: &[Column],
    tables: [&Tables; Q],
    first: usize,
    sums: &mut [[u16; BLOCK]; Q],
) {
    assert!(tables.iter().all(|tables| tables.len() == columns.len()) && first + HALVES <= 2, "a table a column");
    let low_bits = _mm256_set1_epi8(15);
    // Sixteen-bit sums: `all` of the low byte of every pair plus 256 times the high one, `high` of the high one.
    let zeros = [[_mm256_setzero_si256(); HALVES]; Q];
    let (mut all, mut high) = (zeros, zeros);
    for (i, column) in columns.iter().enumerate() {
        _mm_prefetch::<_MM_HINT_T0>(column.as_ptr().wrapping_add(AHEAD).cast());
        for half in 0..HALVES {
            // SAFETY: a column has 64 bytes.
            let bytes = unsafe { _mm256_loadu_si256(column.as_ptr().add(32 * (first + half)).cast()) };
            let lower = _mm256_and_si256(bytes, low_bits);
            let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low_bits);
            for ((tables, all), high) in tables.iter().zip(&mut all).zip(&mut high) {
                // SAFETY: there are as many tables as columns, and a table has 32 bytes.
                let (lows, highs) = unsafe {
                    let table = tables.as_ptr().add(i).cast::<__m128i>();
                    (
                        _mm256_broadcastsi128_si256(_mm_loadu_si128(table)),
                        _mm256_broadcastsi128_si256(_mm_loadu_si128(table.add(1))),
                    )
                };
                let pair = _mm256_add_epi8(_mm256_shuffle_epi8(lows, lower), _mm256_shuffle_epi8(highs, upper));
                all[half] = _mm256_add_epi16(all[half], pair);
                high[half] = _mm256_add_epi16(high[half], _mm256_srli_epi16::<8>(pair));
            }
        }
    }
    for ((sums, all), high) in sums.iter_mut().zip(all).zip(high) {
        for half in 0..HALVES {
            let low = _mm256_sub_epi16(all[half], _mm256_slli_epi16::<8>(high[half]));
            // Rows 16i … 16i + 15 lie in half i of both registers, even ones in `low`, odd ones in `high`.
            let (even, odd) = (_mm256_unpacklo_epi16(low, high[half]), _mm256_unpackhi_epi16(low, high[half]));
            // SAFETY: twice sixteen sums of this half.
            unsafe {
                let to = sums.as_mut_ptr().add(32 * (first + half));
                _mm256_storeu_si256(to.cast(), _mm256_permute2x128_si256::<0x20>(even, odd));
                _mm256_storeu_si256(to.add(16).cast(), _mm256_permute2x128_si256::<0x31>(even, odd));
            }
        }
    }
}
