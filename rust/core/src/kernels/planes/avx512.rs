//! Sums of table entries with AVX-512: four bytes of a block's 16 rows in one register.

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
fn run<const Q: usize>(columns: &[Column], tables: [Tables<'_>; Q]) -> [[u16; BLOCK]; Q] {
    assert!(tables.iter().all(|tables| tables.bytes() == columns.len()), "tables of every column");
    let mut sums = [Sums::none(); Q];
    let (fours, rest) = columns.as_chunks::<4>();
    for (i, four) in fours.iter().enumerate() {
        // SAFETY: four columns have 64 bytes; a prefetch reads nothing.
        let bytes = unsafe {
            _mm_prefetch::<_MM_HINT_T0>(four.as_ptr().wrapping_byte_add(AHEAD).cast());
            _mm512_loadu_si512(four.as_ptr().cast())
        };
        // SAFETY: there are tables of all these columns.
        unsafe { add(bytes, tables, i, &mut sums) };
    }
    if !rest.is_empty() {
        // SAFETY: as many bytes as the mask has bits; others are 0, of which tables that fill up know nothing.
        let bytes = unsafe { _mm512_maskz_loadu_epi8((1 << (BLOCK * rest.len())) - 1, rest.as_ptr().cast()) };
        // SAFETY: as above; tables are filled up to whole registers.
        unsafe { add(bytes, tables, fours.len(), &mut sums) };
    }
    sums.map(|sums| sums.of_rows())
}

/// Adds what four bytes of 16 rows are worth to each query, by its register `i` of tables.
///
/// # Safety
/// Every query has that register of tables.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn add<const Q: usize>(bytes: __m512i, tables: [Tables<'_>; Q], i: usize, sums: &mut [Sums; Q]) {
    let low_bits = _mm512_set1_epi8(15);
    let lower = _mm512_and_si512(bytes, low_bits);
    let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low_bits);
    for (tables, sums) in tables.iter().zip(sums) {
        // SAFETY: the caller promises them.
        let (lows, highs) = unsafe {
            (
                _mm512_loadu_si512(tables.lows.as_ptr().add(4 * i).cast()),
                _mm512_loadu_si512(tables.highs.as_ptr().add(4 * i).cast()),
            )
        };
        let pair = _mm512_add_epi8(_mm512_shuffle_epi8(lows, lower), _mm512_shuffle_epi8(highs, upper));
        sums.all = _mm512_add_epi16(sums.all, pair);
        sums.high = _mm512_add_epi16(sums.high, _mm512_srli_epi16::<8>(pair));
    }
}

/// Sums of 16 bits of a block's rows, those of every fourth byte in each quarter.
#[derive(Clone, Copy)]
struct Sums {
    /// Of the low byte of every pair plus 256 times the high one.
    all: __m512i,
    /// Of the high one.
    high: __m512i,
}

impl Sums {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn none() -> Self {
        Self { all: _mm512_setzero_si512(), high: _mm512_setzero_si512() }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    fn of_rows(self) -> [u16; BLOCK] {
        let [all, high] = [self.all, self.high].map(|sums| {
            let half = _mm256_add_epi16(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums));
            _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
        });
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
