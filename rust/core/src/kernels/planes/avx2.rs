//! Sums of table entries with AVX2: two bytes of a block's 16 rows in one register, and eight upper ends in another.

use std::arch::x86_64::*;
use std::array::from_fn;

use super::{BLOCK, OfQuery, Planes, RUN, Weights};
use crate::kernels::level::Avx2;
use crate::kernels::prefetch::AHEAD;

/// Bytes whose columns a register holds.
const TWO: usize = 2;
/// Bytes whose columns a line of memory holds.
const LINE: usize = 4;

pub(super) fn upper_ends<const Q: usize>(_: Avx2, rows: Planes<'_>, queries: [OfQuery<'_>; Q], outs: [&mut [f32]; Q]) {
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
#[target_feature(enable = "avx2")]
fn upper_ends_of_rows<const Q: usize, const WHOLE: bool>(
    rows: Planes<'_>,
    queries: [OfQuery<'_>; Q],
    mut outs: [&mut [f32]; Q],
) {
    let (size, n) = (queries[0].0.bytes(), rows.scales.len());
    let lows: [_; Q] = from_fn(|query| queries[query].0.lows.as_ptr());
    let highs: [_; Q] = from_fn(|query| queries[query].0.highs.as_ptr());
    let weights: [_; Q] = from_fn(|query| Wide::new(queries[query].1));
    let to: [_; Q] = from_fn(|query| outs[query].as_mut_ptr());
    for (first, block) in (0..n).step_by(BLOCK).zip(rows.blocks.chunks_exact(size)) {
        let mut totals = [[_mm256_setzero_si256(); 2]; Q];
        for start in (0..size).step_by(RUN) {
            let end = size.min(start + RUN);
            let mut sums = [Sums::none(); Q];
            let whole = start + (end - start) / LINE * LINE;
            for i in (start..whole).step_by(LINE) {
                // SAFETY: the block has 64 bytes from column i on, and every query tables of these columns; a prefetch reads nothing.
                unsafe {
                    let at = block.as_ptr().add(i);
                    _mm_prefetch::<_MM_HINT_T0>(at.wrapping_byte_add(AHEAD).cast());
                    add(_mm256_loadu_si256(at.cast()), lows, highs, i, &mut sums);
                    add(_mm256_loadu_si256(at.add(TWO).cast()), lows, highs, i + TWO, &mut sums);
                }
            }
            for i in (whole..end).step_by(TWO) {
                // SAFETY: a column has 16 bytes, two have 32. Bytes that are not there are 0, of which tables that fill up whole registers
                // know nothing.
                unsafe {
                    let at = block.as_ptr().add(i);
                    let bytes = if end - i < TWO {
                        _mm256_zextsi128_si256(_mm_loadu_si128(at.cast()))
                    } else {
                        _mm256_loadu_si256(at.cast())
                    };
                    add(bytes, lows, highs, i, &mut sums);
                }
            }
            for query in 0..Q {
                let of_run = sums[query].of_rows();
                for half in 0..2 {
                    totals[query][half] = _mm256_add_epi32(totals[query][half], of_run[half]);
                }
            }
        }
        let left = first..n.min(first + BLOCK);
        if left.len() == BLOCK {
            // SAFETY: 16 rows from `first` on have bounds, unless the plane is its whole code, scales, and a place for every query.
            unsafe {
                let bounds = rows.bounds.as_ptr().wrapping_add(first);
                let to = from_fn(|query| to[query].add(first));
                store::<Q, WHOLE>(totals, bounds, rows.scales.as_ptr().add(first), &weights, to);
            }
        } else {
            let (mut bounds, mut scales, mut ends) = ([0; BLOCK], [0.0; BLOCK], [[0.0; BLOCK]; Q]);
            scales[..left.len()].copy_from_slice(&rows.scales[left.clone()]);
            if !WHOLE {
                bounds[..left.len()].copy_from_slice(&rows.bounds[left.clone()]);
            }
            let to = ends.each_mut().map(|ends| ends.as_mut_ptr());
            // SAFETY: 16 of each.
            unsafe { store::<Q, WHOLE>(totals, bounds.as_ptr(), scales.as_ptr(), &weights, to) };
            for query in 0..Q {
                outs[query][left.clone()].copy_from_slice(&ends[query][..left.len()]);
            }
        }
    }
}

/// Adds what two bytes of 16 rows, of column `i` and the next, are worth to each query.
///
/// # Safety
/// Every query has tables of these columns, or of the one that there is filled up to two.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn add<const Q: usize>(
    bytes: __m256i,
    lows: [*const [u8; 16]; Q],
    highs: [*const [u8; 16]; Q],
    i: usize,
    sums: &mut [Sums; Q],
) {
    let low_bits = _mm256_set1_epi8(15);
    let lower = _mm256_and_si256(bytes, low_bits);
    let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low_bits);
    for query in 0..Q {
        // SAFETY: the caller promises them.
        let (lows, highs) =
            unsafe { (_mm256_loadu_si256(lows[query].add(i).cast()), _mm256_loadu_si256(highs[query].add(i).cast())) };
        let pair = _mm256_add_epi8(_mm256_shuffle_epi8(lows, lower), _mm256_shuffle_epi8(highs, upper));
        sums[query].add(pair);
    }
}

/// Writes the upper ends of a block's rows for each query.
///
/// # Safety
/// There are 16 bounds, unless planes are `WHOLE` codes, 16 scales, and 16 places for every query.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn store<const Q: usize, const WHOLE: bool>(
    totals: [[__m256i; 2]; Q],
    bounds: *const u32,
    scales: *const f32,
    weights: &[Wide; Q],
    to: [*mut f32; Q],
) {
    for (half, at) in [0, BLOCK / 2].into_iter().enumerate() {
        // SAFETY: the caller promises them; eight from the first or the ninth on.
        let (bounds, scales) = unsafe {
            let bounds = if WHOLE { _mm256_setzero_si256() } else { _mm256_loadu_si256(bounds.add(at).cast()) };
            (bounds, _mm256_loadu_ps(scales.add(at)))
        };
        let ratios = _mm256_cvtepi32_ps(_mm256_and_si256(bounds, _mm256_set1_epi32(0xFFFF)));
        let spreads = _mm256_cvtepi32_ps(_mm256_srli_epi32::<16>(bounds));
        for query in 0..Q {
            let ends = if WHOLE {
                weights[query].ends_of_whole(totals[query][half], scales)
            } else {
                weights[query].ends(totals[query][half], ratios, spreads, scales)
            };
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(to[query].add(at), ends) };
        }
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
    fn add(&mut self, pair: __m256i) {
        self.all = _mm256_add_epi16(self.all, pair);
        self.high = _mm256_add_epi16(self.high, _mm256_srli_epi16::<8>(pair));
    }

    /// A sum a row.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn of_rows(self) -> [__m256i; 2] {
        let [all, high] = [self.all, self.high]
            .map(|sums| _mm_add_epi16(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums)));
        let low = _mm_sub_epi16(all, _mm_slli_epi16::<8>(high));
        // Even rows lie in `low`, odd ones in `high`.
        [_mm_unpacklo_epi16(low, high), _mm_unpackhi_epi16(low, high)].map(|sums| _mm256_cvtepu16_epi32(sums))
    }
}

/// [`Weights`], each in all lanes.
#[derive(Clone, Copy)]
struct Wide {
    offset: __m256i,
    factor: __m256,
    deviation: __m256,
    center: __m256,
}

impl Wide {
    #[target_feature(enable = "avx2")]
    fn new(weights: Weights) -> Self {
        Self {
            offset: _mm256_set1_epi32(weights.offset),
            factor: _mm256_set1_ps(weights.factor),
            deviation: _mm256_set1_ps(weights.deviation),
            center: _mm256_set1_ps(weights.center),
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn scaled(&self, sums: __m256i) -> __m256 {
        _mm256_mul_ps(self.factor, _mm256_cvtepi32_ps(_mm256_sub_epi32(sums, self.offset)))
    }

    /// [`Weights::upper_end`] of eight rows.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn ends(&self, sums: __m256i, ratios: __m256, spreads: __m256, scales: __m256) -> __m256 {
        let estimates = _mm256_mul_ps(self.scaled(sums), ratios);
        let ends = _mm256_add_ps(estimates, _mm256_mul_ps(self.deviation, spreads));
        _mm256_add_ps(_mm256_mul_ps(ends, scales), self.center)
    }

    /// [`Weights::upper_end_of_whole`] of eight rows.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn ends_of_whole(&self, sums: __m256i, scales: __m256) -> __m256 {
        let signs = _mm256_and_ps(scales, _mm256_set1_ps(-0.0));
        let deviations = _mm256_or_ps(_mm256_andnot_ps(_mm256_set1_ps(-0.0), self.deviation), signs);
        _mm256_mul_ps(_mm256_add_ps(self.scaled(sums), deviations), scales)
    }
}
