//! Sums of table entries with AVX2: a byte of 32 rows in one register, two registers a block.

use std::arch::x86_64::*;

use super::{BLOCK, Column, Planes, Tables, Weights};
use crate::kernels::level::Avx2;
use crate::kernels::prefetch::AHEAD;

pub(super) fn upper_ends(_: Avx2, rows: Planes<'_>, tables: &Tables, weights: Weights, out: &mut [f32]) {
    // SAFETY: the token proves the features.
    unsafe { upper_ends_of_rows(rows, tables, weights, out) }
}

#[target_feature(enable = "avx2")]
fn upper_ends_of_rows(rows: Planes<'_>, tables: &Tables, weights: Weights, out: &mut [f32]) {
    super::body(|columns, tables| run(columns, tables), rows, tables, weights, out);
}

#[target_feature(enable = "avx2")]
#[inline]
fn run(columns: &[Column], tables: &Tables) -> [u16; BLOCK] {
    let low_bits = _mm256_set1_epi8(15);
    // Sixteen-bit sums: `all` of the low byte of every pair plus 256 times the high one, `high` of the high one.
    let (mut all, mut high) = ([_mm256_setzero_si256(); 2], [_mm256_setzero_si256(); 2]);
    for (column, table) in columns.iter().zip(tables) {
        // SAFETY: a table has 32 bytes; a prefetch reads nothing.
        let (lows, highs) = unsafe {
            _mm_prefetch::<_MM_HINT_T0>(column.as_ptr().wrapping_add(AHEAD).cast());
            (
                _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())),
                _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().add(16).cast())),
            )
        };
        for half in 0..2 {
            // SAFETY: a column has 64 bytes.
            let bytes = unsafe { _mm256_loadu_si256(column.as_ptr().add(32 * half).cast()) };
            let low = _mm256_shuffle_epi8(lows, _mm256_and_si256(bytes, low_bits));
            let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low_bits);
            let pair = _mm256_add_epi8(low, _mm256_shuffle_epi8(highs, upper));
            all[half] = _mm256_add_epi16(all[half], pair);
            high[half] = _mm256_add_epi16(high[half], _mm256_srli_epi16::<8>(pair));
        }
    }
    let mut sums = [0; BLOCK];
    for half in 0..2 {
        let low = _mm256_sub_epi16(all[half], _mm256_slli_epi16::<8>(high[half]));
        // Rows 16i … 16i + 15 lie in half i of both registers, even ones in `low`, odd ones in `high`.
        let (first, second) = (_mm256_unpacklo_epi16(low, high[half]), _mm256_unpackhi_epi16(low, high[half]));
        // SAFETY: twice sixteen sums of this half.
        unsafe {
            let to = sums.as_mut_ptr().add(32 * half);
            _mm256_storeu_si256(to.cast(), _mm256_permute2x128_si256::<0x20>(first, second));
            _mm256_storeu_si256(to.add(16).cast(), _mm256_permute2x128_si256::<0x31>(first, second));
        }
    }
    sums
}
