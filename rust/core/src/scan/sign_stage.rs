//! The first stage of a plain code, its sign plane: what bounds a row's score from it (docs/numerics.md section 12).

use super::linear_stage::LEAST;
use crate::codebook::{halves, integer_levels, masses};
use crate::codec::TurboQuant;
use crate::kernels::planes::{Sums, magnitude_sums};
use crate::kernels::{Level, lookup};
use crate::units::unpack;

/// Units of a row's bounds in one integer level, for widths 1–4 and for two-byte levels.
const FINE: u64 = 512;
const COARSE: u64 = 4;

/// What a unit of a row's bounds is worth in a query's coordinates.
pub(super) fn unit(codec: &TurboQuant) -> f32 {
    let segment = codec.spec().segments[0];
    let scale = integer_levels(segment.bits, segment.bits, segment.dim, false).scale;
    scale / if segment.bits <= 4 { FINE } else { COARSE } as f32
}

/// The bounds of packed rows: with integer levels l and their signs s, the ratio ⟨l, l⟩/⟨l, s⟩ that makes the residual orthogonal to l,
/// and the residual's length over √m, rounded up. Integers below 2^53, so float64 rounds each operation once.
pub(super) fn bounds(codec: &TurboQuant, level: Level, packed: &[u8]) -> Vec<u32> {
    let segment = codec.spec().segments[0];
    let (m, bits, stride) = (segment.dim, segment.bits, codec.row_bytes());
    let rows = packed.len() / stride;
    let mut codes = vec![0; rows * m];
    unpack(level, packed, m, &codec.spec().units(&codec.spec().full())[0], stride, &mut codes);
    let (mut high, mut low) = ([0; 256], [0; 256]);
    for (code, &value) in integer_levels(bits, bits, m, false).values.iter().enumerate() {
        (high[code], low[code]) = if bits <= 4 { (value.abs() as i8, 0) } else { halves(value.abs()) };
    }
    let look_up = |table: &[i8; 256]| {
        let mut out = vec![0; codes.len()];
        lookup::integers(level, &codes, table, 1 << bits, &mut out);
        out
    };
    let lows = (bits > 4).then(|| look_up(&low));
    let mut sums = vec![Sums::default(); rows];
    magnitude_sums(level, &look_up(&high), lows.as_deref(), m, &mut sums);
    let unit = if bits <= 4 { FINE } else { COARSE };
    let largest = f64::from(u16::MAX);
    let bounds = sums.into_iter().map(|Sums { squares, first }| {
        let ratio = ((squares * unit) as f64 / first as f64).round_ties_even().min(largest) as u64;
        let residual = (squares * unit * unit + ratio * ratio * m as u64) as i64 - (2 * ratio * unit * first) as i64;
        let spread = (residual as f64 / m as f64).sqrt().ceil().min(largest) as u64;
        (ratio | spread << 16) as u32
    });
    bounds.collect()
}

/// What the rounding of a stage's entries adds to the square of the residual, relative to that: to be multiplied by the squared worth of
/// a unit of an entry over the query's squared norm. Errors of 2·size entries are uniform in ±½.
pub(super) fn rounding(codec: &TurboQuant, size: usize) -> f32 {
    let segment = codec.spec().segments[0];
    let levels = integer_levels(segment.bits, segment.bits, segment.dim, false).values;
    let (mut squares, mut first) = (0.0, 0.0);
    for (level, mass) in
        levels.iter().map(|&level| f64::from(level.abs())).zip(masses(segment.bits, segment.bits, segment.dim))
    {
        squares += mass * (level * level);
        first += mass * level;
    }
    let ratio: f64 = squares / first;
    let residual = (ratio * ratio - squares).max(LEAST);
    (((ratio * ratio) * ((2 * size) as f64 / 12.0)) / residual) as f32
}

/// One standard deviation of the error of a row of spread 1 for a query of norm `norm`; a unit of an entry is worth `entry`.
pub(super) fn deviation(rounding: f32, norm: f32, entry: f32) -> f32 {
    let relative = entry / if norm == 0.0 { 1.0 } else { norm };
    norm * (1.0 + rounding * (relative * relative)).sqrt()
}
