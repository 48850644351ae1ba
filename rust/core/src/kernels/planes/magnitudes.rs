//! Sums over the magnitudes of a row's integer levels, from which its bounds come (docs/numerics.md section 12).

use crate::kernels::Level;
use crate::kernels::rows::per_level;

/// Σ|l|² and Σ|l| of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) squares: u64,
    pub(crate) first: u64,
}

/// Writes the sums of every row of `m` magnitudes: `high`, or 128·high + low.
///
/// Magnitudes are at most 127 or 16,319 and m at most 65,536: sums of squares stay below 2^31 or 2^44, so any order is exact.
pub(crate) fn magnitude_sums(level: Level, high: &[i8], low: Option<&[i8]>, m: usize, out: &mut [Sums]) {
    assert!(high.len() == m * out.len() && low.is_none_or(|low| low.len() == high.len()), "whole rows");
    match low {
        None => per_level!(level, one_byte(high: &[i8], m: usize, out: &mut [Sums])),
        Some(low) => per_level!(level, two_bytes(high: &[i8], low: &[i8], m: usize, out: &mut [Sums])),
    }
}

#[inline(always)]
fn one_byte(high: &[i8], m: usize, out: &mut [Sums]) {
    for (row, out) in high.chunks_exact(m).zip(out) {
        let (mut squares, mut first) = (0_u32, 0_u32);
        for &value in row {
            let value = u32::from(value as u8);
            squares += value * value;
            first += value;
        }
        *out = Sums { squares: u64::from(squares), first: u64::from(first) };
    }
}

#[inline(always)]
fn two_bytes(high: &[i8], low: &[i8], m: usize, out: &mut [Sums]) {
    for ((high, low), out) in high.chunks_exact(m).zip(low.chunks_exact(m)).zip(out) {
        let (mut squares, mut first) = (0_u64, 0_u64);
        for (&high, &low) in high.iter().zip(low) {
            let value = (i32::from(high) * 128 + i32::from(low)) as u32;
            squares += u64::from(value * value);
            first += u64::from(value);
        }
        *out = Sums { squares, first };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bytes, other_levels};

    #[test]
    fn levels_equal_scalar_to_the_largest_values() {
        for m in (1..=140).chain([1000, 65_536]) {
            let random: Vec<i8> = bytes(3 * m, m as u64).into_iter().map(|b| (b & 127) as i8).collect();
            for (high, low) in [(random.clone(), random), (vec![127; 3 * m], vec![63; 3 * m])] {
                for low in [None, Some(&low[..])] {
                    let (mut want, mut got) = ([Sums::default(); 3], [Sums::default(); 3]);
                    magnitude_sums(Level::Scalar, &high, low, m, &mut want);
                    let value = |i: usize| i64::from(high[i]) * low.map_or(1, |_| 128) + low.map_or(0, |l| l[i].into());
                    let squares: i64 = (m..2 * m).map(|i| value(i) * value(i)).sum();
                    assert_eq!((want[1].squares as i64, want[1].first as i64), (squares, (m..2 * m).map(value).sum()));
                    for level in other_levels() {
                        magnitude_sums(level, &high, low, m, &mut got);
                        assert_eq!(got, want, "{} at {m}", level.name());
                    }
                }
            }
        }
    }
}
