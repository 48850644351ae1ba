//! The first stage of a plain code, its sign plane: what bounds a row's score from it (docs/numerics.md section 12).

use crate::codebook::{halves, integer_levels};
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
    let scale = integer_levels(segment.bits, segment.bits, segment.dim).scale;
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
    for (code, &value) in integer_levels(bits, bits, m).values.iter().enumerate() {
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

/// What the rounding of entries may add to a sum of `fours`: three standard deviations of errors uniform in ±½, at most all of ½.
pub(super) fn rounding_allowance(fours: usize) -> i32 {
    let fours = fours as f64;
    (fours / 2.0).min((0.75 * fours).sqrt()).ceil() as i32
}
