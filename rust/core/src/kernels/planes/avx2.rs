//! Sums of table entries with AVX2: two bytes of a block's 16 rows in one register.

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
fn run<const Q: usize>(columns: &[Column], tables: [Tables<'_>; Q]) -> [[u16; BLOCK]; Q] {
    assert!(tables.iter().all(|tables| tables.bytes() == columns.len()), "tables of every column");
    let mut sums = [Sums::none(); Q];
    let (pairs, rest) = columns.as_chunks::<2>();
    for (i, pair) in pairs.iter().enumerate() {
        // SAFETY: two columns have 32 bytes; a prefetch reads nothing.
        let bytes = unsafe {
            _mm_prefetch::<_MM_HINT_T0>(pair.as_ptr().wrapping_byte_add(AHEAD).cast());
            _mm256_loadu_si256(pair.as_ptr().cast())
        };
        // SAFETY: there are tables of all these columns.
        unsafe { add(bytes, tables, i, &mut sums) };
    }
    if let [column] = rest {
        // SAFETY: a column has 16 bytes; the others are 0, of which the table that fills up knows nothing.
        let bytes = unsafe { _mm256_zextsi128_si256(_mm_loadu_si128(column.as_ptr().cast())) };
        // SAFETY: as above; tables are filled up to whole registers.
        unsafe { add(bytes, tables, pairs.len(), &mut sums) };
    }
    sums.map(|sums| sums.of_rows())
}

/// Adds what two bytes of 16 rows are worth to each query, by its register `i` of tables.
///
/// # Safety
/// Every query has that register of tables.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn add<const Q: usize>(bytes: __m256i, tables: [Tables<'_>; Q], i: usize, sums: &mut [Sums; Q]) {
    let low_bits = _mm256_set1_epi8(15);
    let lower = _mm256_and_si256(bytes, low_bits);
    let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low_bits);
    for (tables, sums) in tables.iter().zip(sums) {
        // SAFETY: the caller promises them.
        let (lows, highs) = unsafe {
            (
                _mm256_loadu_si256(tables.lows.as_ptr().add(2 * i).cast()),
                _mm256_loadu_si256(tables.highs.as_ptr().add(2 * i).cast()),
            )
        };
        let pair = _mm256_add_epi8(_mm256_shuffle_epi8(lows, lower), _mm256_shuffle_epi8(highs, upper));
        sums.all = _mm256_add_epi16(sums.all, pair);
        sums.high = _mm256_add_epi16(sums.high, _mm256_srli_epi16::<8>(pair));
    }
}

/// Sums of 16 bits of a block's rows, those of every second byte in each half.
#[derive(Clone, Copy)]
struct Sums {
    /// Of the low byte of every pair plus 256 times the high one.
    all: __m256i,
    /// Of the high one.
    high: __m256i,
}

impl Sums {
    #[target_feature(enable = "avx2")]
    #[inline]
    fn none() -> Self {
        Self { all: _mm256_setzero_si256(), high: _mm256_setzero_si256() }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn of_rows(self) -> [u16; BLOCK] {
        let [all, high] = [self.all, self.high]
            .map(|sums| _mm_add_epi16(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums)));
        let low = _mm_sub_epi16(all, _mm_slli_epi16::<8>(high));
        // Even rows lie in `low`, odd ones in `high`.
        let mut rows = [0; BLOCK];
        // SAFETY: twice eight sums.
        unsafe {
            _mm_storeu_si128(rows.as_mut_ptr().cast(), _mm_unpacklo_epi16(low, high));
            _mm_storeu_si128(rows.as_mut_ptr().add(8).cast(), _mm_unpackhi_epi16(low, high));
        }
        rows
    }
}
