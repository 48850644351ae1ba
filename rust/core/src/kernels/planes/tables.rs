//! A query's entries: what every pattern of four signs is worth (docs/numerics.md section 12).

use std::ops::Range;

use super::CENTER;
use crate::kernels::Level;
use crate::kernels::prefetch::prefetch;
use crate::kernels::rows::per_level;

/// Bytes of a row whose tables a register holds at most; the tables of a query are filled up to a multiple of this, with zeros.
const ALIGNED: usize = 4;

/// What four-bit patterns of each of a row's bytes are worth to a query: 16 entries for its low four bits, 16 for its high ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tables<'a> {
    bytes: usize,
    /// Those of low bits, as many as [`ALIGNED`] makes of the bytes; whatever a byte holds that is not there, it finds 0.
    pub(super) lows: &'a [[u8; 16]],
    pub(super) highs: &'a [[u8; 16]],
}

impl<'a> Tables<'a> {
    /// Tables of 16 entries that a query needs for so many bytes.
    pub(crate) fn entries(bytes: usize) -> usize {
        2 * bytes.next_multiple_of(ALIGNED)
    }

    /// Those of a query, as [`tabulate`] writes them.
    pub(crate) fn new(bytes: usize, entries: &'a [[u8; 16]]) -> Self {
        assert_eq!(entries.len(), Self::entries(bytes), "tables of whole registers");
        let (lows, highs) = entries.split_at(entries.len() / 2);
        Self { bytes, lows, highs }
    }

    pub(crate) fn bytes(self) -> usize {
        self.bytes
    }

    /// Those of some bytes, from the first of a register on, to the last of one or of all.
    pub(super) fn of(self, bytes: Range<usize>) -> Self {
        let tables = bytes.start..bytes.end.next_multiple_of(ALIGNED);
        Self { bytes: bytes.len(), lows: &self.lows[tables.clone()], highs: &self.highs[tables] }
    }

    /// Asks for them.
    pub(crate) fn prefetch(self) {
        prefetch(self.lows);
        prefetch(self.highs);
    }

    /// The two tables of each byte.
    pub(super) fn each(self) -> impl Iterator<Item = [&'a [u8; 16]; 2]> {
        self.lows.iter().zip(self.highs).take(self.bytes).map(|(low, high)| [low, high])
    }
}

/// Bit i of every pattern of four as a sign.
const SIGNS: [[f32; 16]; 4] = {
    let mut signs = [[0.0; 16]; 4];
    let (mut bit, mut pattern) = (0, 0);
    while bit < 4 {
        signs[bit][pattern] = if pattern >> bit & 1 == 1 { 1.0 } else { -1.0 };
        pattern += 1;
        if pattern == 16 {
            (bit, pattern) = (bit + 1, 0);
        }
    }
    signs
};

/// The largest value that an entry of a query stands for: `worths` is what its bits are worth, whole bytes of them.
///
/// The pattern whose signs are the values' own is worth most of a four, in float32 too: rounding keeps order.
pub(crate) fn largest_four(worths: &[f32]) -> f32 {
    let fours = worths.as_chunks::<4>().0.iter();
    fours.map(|&[a, b, c, d]| (a.abs() + b.abs()) + (c.abs() + d.abs())).fold(0.0, f32::max)
}

/// Writes a query's entries: the pattern of signs s of bits 4j … 4j + 3 has the entry
/// 63 + round-half-even(((s₀r₀ + s₁r₁) + (s₂r₂ + s₃r₃))·(63/top)), r what bits are worth and `top` the largest of them.
pub(crate) fn tabulate(level: Level, worths: &[f32], top: f32, entries: &mut [[u8; 16]]) {
    assert_eq!(entries.len(), Tables::entries(worths.len() / 8), "two tables for each eight bits");
    let inverse = f32::from(CENTER) / if top == 0.0 { 1.0 } else { top };
    per_level!(level, body(worths: &[f32], inverse: f32, entries: &mut [[u8; 16]]));
}

#[inline(always)]
fn entry(sum: f32, inverse: f32) -> u32 {
    let center = f32::from(CENTER);
    ((sum * inverse).round_ties_even().clamp(-center, center) as i32 + i32::from(CENTER)) as u32
}

#[inline(always)]
fn body(worths: &[f32], inverse: f32, entries: &mut [[u8; 16]]) {
    let (lows, highs) = entries.split_at_mut(entries.len() / 2);
    for ((low, high), worths) in lows.iter_mut().zip(highs).zip(worths.as_chunks::<8>().0) {
        for (entries, &[a, b, c, d]) in [low, high].into_iter().zip(worths.as_chunks::<4>().0) {
            for (pattern, out) in entries.iter_mut().enumerate() {
                let first = a * SIGNS[0][pattern] + b * SIGNS[1][pattern];
                let second = c * SIGNS[2][pattern] + d * SIGNS[3][pattern];
                *out = entry(first + second, inverse) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, other_levels};

    #[test]
    fn levels_equal_scalar_and_the_largest_pattern_is_full_scale() {
        for size in 1..=20 {
            let mut worths = floats(8 * size, size as u64);
            worths[8 * size - size % 8..].fill(0.0);
            let top = largest_four(&worths);
            let mut want = vec![[0; 16]; Tables::entries(size)];
            let mut got = want.clone();
            tabulate(Level::Scalar, &worths, top, &mut want);
            assert_eq!(want.iter().flatten().max(), Some(&(2 * CENTER)), "{size} bytes");
            for level in other_levels() {
                got.fill([0; 16]);
                tabulate(level, &worths, top, &mut got);
                assert_eq!(got, want, "{} at {size} bytes", level.name());
            }
            let filled = |half: &[[u8; 16]]| half[size..].iter().flatten().all(|&entry| entry == 0);
            let (lows, highs) = want.split_at(want.len() / 2);
            assert!(filled(lows) && filled(highs), "bytes that are not there are worth nothing");
        }
        let mut zeros = [[0; 16]; 8];
        tabulate(Level::Scalar, &[0.0; 16], largest_four(&[0.0; 16]), &mut zeros);
        let [center, none] = [[CENTER; 16], [0; 16]];
        assert_eq!(zeros, [center, center, none, none, center, center, none, none]);
    }
}
