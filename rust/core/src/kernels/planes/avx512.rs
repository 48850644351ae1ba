//! Sums of table entries with AVX-512: four bytes of a block's 16 rows in one register, and 16 upper ends in another.

use std::arch::x86_64::*;
use std::array::from_fn;

use super::{BLOCK, OfQuery, Planes, RUN, Weights};
use crate::kernels::level::Avx512;
use crate::kernels::prefetch::AHEAD;

/// Bytes whose columns a register holds.
const FOUR: usize = 4;

pub(super) fn upper_ends<const Q: usize>(
    _: Avx512,
    rows: Planes<'_>,
    queries: [OfQuery<'_>; Q],
    outs: [&mut [f32]; Q],
) {
    // SAFETY: the token proves the features.
    unsafe {
        if rows.bounds.is_empty() {
            upper_ends_of_rows::<Q, true>(rows, queries, outs);
        } else {
            upper_ends_of_rows::<Q, false>(rows, queries, outs);
        }
    }
}

/// `WHOLE` says that the planes are whole codes, so that rows have no bounds.
///
/// Loops over queries count: those of zipped arrays go by memory, which takes a block as long as its sums.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn upper_ends_of_rows<const Q: usize, const WHOLE: bool>(
    rows: Planes<'_>,
    queries: [OfQuery<'_>; Q],
    mut outs: [&mut [f32]; Q],
) {
    let (size, n) = (queries[0].0.bytes(), rows.scales.len());
    let lows: [_; Q] = from_fn(|query| queries[query].0.lows.as_ptr());
    let highs: [_; Q] = from_fn(|query| queries[query].0.highs.as_ptr());
    let weights: [_; Q] = from_fn(|query| Wide::new(queries[query].1));
    let outs: [_; Q] = from_fn(|query| outs[query].as_mut_ptr());
    for (first, block) in (0..n).step_by(BLOCK).zip(rows.blocks.chunks_exact(size)) {
        let mut totals = [_mm512_setzero_si512(); Q];
        for start in (0..size).step_by(RUN) {
            let end = size.min(start + RUN);
            let mut sums = [Sums::none(); Q];
            let whole = start + (end - start) / FOUR * FOUR;
            for i in (start..whole).step_by(FOUR) {
                // SAFETY: the block has 64 bytes from column i on, and every query tables of these columns; a prefetch reads nothing.
                unsafe {
                    let at = block.as_ptr().add(i);
                    _mm_prefetch::<_MM_HINT_T0>(at.wrapping_byte_add(AHEAD).cast());
                    add(_mm512_loadu_si512(at.cast()), lows, highs, i, &mut sums);
                }
            }
            if whole < end {
                // SAFETY: as many bytes as the mask has bits; others are 0, of which tables that fill up whole registers know nothing.
                unsafe {
                    let these = (1 << (BLOCK * (end - whole))) - 1;
                    let bytes = _mm512_maskz_loadu_epi8(these, block.as_ptr().add(whole).cast());
                    add(bytes, lows, highs, whole, &mut sums);
                }
            }
            for query in 0..Q {
                totals[query] = _mm512_add_epi32(totals[query], sums[query].of_rows());
            }
        }
        let these = u16::MAX >> (BLOCK - BLOCK.min(n - first));
        // SAFETY: the mask has as many bits as there are rows from `first` on, of at most 16; each has a scale, and bounds unless the plane
        // is its whole code.
        let (scales, bounds) = unsafe {
            let bounds = rows.bounds.as_ptr().wrapping_add(first).cast();
            (
                _mm512_maskz_loadu_ps(these, rows.scales.as_ptr().add(first)),
                _mm512_maskz_loadu_epi32(if WHOLE { 0 } else { these }, bounds),
            )
        };
        let ratios = _mm512_cvtepi32_ps(_mm512_and_si512(bounds, _mm512_set1_epi32(0xFFFF)));
        let spreads = _mm512_cvtepi32_ps(_mm512_srli_epi32::<16>(bounds));
        for query in 0..Q {
            let ends = if WHOLE {
                weights[query].ends_of_whole(totals[query], scales)
            } else {
                weights[query].ends(totals[query], ratios, spreads, scales)
            };
            // SAFETY: every query has a place for each of these rows.
            unsafe { _mm512_mask_storeu_ps(outs[query].add(first), these, ends) };
        }
    }
}

/// Adds what four bytes of 16 rows, of column `i` and the next, are worth to each query.
///
/// # Safety
/// Every query has tables of these columns, or of those that there are filled up to four.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn add<const Q: usize>(
    bytes: __m512i,
    lows: [*const [u8; 16]; Q],
    highs: [*const [u8; 16]; Q],
    i: usize,
    sums: &mut [Sums; Q],
) {
    let low_bits = _mm512_set1_epi8(15);
    let lower = _mm512_and_si512(bytes, low_bits);
    let upper = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low_bits);
    for query in 0..Q {
        // SAFETY: the caller promises them.
        let (lows, highs) =
            unsafe { (_mm512_loadu_si512(lows[query].add(i).cast()), _mm512_loadu_si512(highs[query].add(i).cast())) };
        let pair = _mm512_add_epi8(_mm512_shuffle_epi8(lows, lower), _mm512_shuffle_epi8(highs, upper));
        sums[query].add(pair);
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

    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn add(&mut self, pair: __m512i) {
        self.all = _mm512_add_epi16(self.all, pair);
        self.high = _mm512_add_epi16(self.high, _mm512_srli_epi16::<8>(pair));
    }

    /// A sum a row.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn of_rows(self) -> __m512i {
        let (low, high) = (_mm512_sub_epi16(self.all, _mm512_slli_epi16::<8>(self.high)), self.high);
        // The quarters of both added up: `low` in the first two of the result, `high` in the others.
        let halves = _mm512_add_epi16(
            _mm512_shuffle_i32x4::<0b01_00_01_00>(low, high),
            _mm512_shuffle_i32x4::<0b11_10_11_10>(low, high),
        );
        let whole = _mm512_add_epi16(halves, _mm512_shuffle_i32x4::<0b10_11_00_01>(halves, halves));
        // Even rows lie in `low`, odd ones in `high`.
        let words = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        _mm512_maskz_permutexvar_epi16(0x5555_5555, words, whole)
    }
}

/// [`Weights`], each in all lanes.
#[derive(Clone, Copy)]
struct Wide {
    offset: __m512i,
    factor: __m512,
    deviation: __m512,
    center: __m512,
}

impl Wide {
    #[target_feature(enable = "avx512f")]
    fn new(weights: Weights) -> Self {
        Self {
            offset: _mm512_set1_epi32(weights.offset),
            factor: _mm512_set1_ps(weights.factor),
            deviation: _mm512_set1_ps(weights.deviation),
            center: _mm512_set1_ps(weights.center),
        }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn scaled(&self, sums: __m512i) -> __m512 {
        _mm512_mul_ps(self.factor, _mm512_cvtepi32_ps(_mm512_sub_epi32(sums, self.offset)))
    }

    /// [`Weights::upper_end`] of 16 rows.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn ends(&self, sums: __m512i, ratios: __m512, spreads: __m512, scales: __m512) -> __m512 {
        let estimates = _mm512_mul_ps(self.scaled(sums), ratios);
        let ends = _mm512_add_ps(estimates, _mm512_mul_ps(self.deviation, spreads));
        _mm512_add_ps(_mm512_mul_ps(ends, scales), self.center)
    }

    /// [`Weights::upper_end_of_whole`] of 16 rows.
    #[target_feature(enable = "avx512f,avx512dq")]
    #[inline]
    fn ends_of_whole(&self, sums: __m512i, scales: __m512) -> __m512 {
        let signs = _mm512_and_ps(scales, _mm512_set1_ps(-0.0));
        let deviations = _mm512_or_ps(_mm512_andnot_ps(_mm512_set1_ps(-0.0), self.deviation), signs);
        _mm512_mul_ps(_mm512_add_ps(self.scaled(sums), deviations), scales)
    }
}
