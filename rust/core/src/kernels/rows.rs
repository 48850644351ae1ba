//! Row preparation (docs/numerics.md section 2): largest magnitude, exact scaling, norms, one multiply a row.
//!
//! The bodies are plain loops over independent lanes; each level compiles the same body with its own instruction set, which is
//! all these memory-bound passes need. On aarch64 the baseline is NEON already.

use super::lanes;
use super::level::Level;

/// Exponent that marks a row without a normal number: it is prepared as zeros.
pub(crate) const ZERO_ROW: i32 = i32::MIN;

/// Coordinates of a prepared row below this become 0.
const CUTOFF: f32 = 1.0 / (1_u64 << 40) as f32;

/// Below this exponent a subnormal coordinate can reach the cutoff, so it is converted through its mantissa.
const SUBNORMALS_MATTER: i32 = -86;

/// Compiles `$body` once per level and dispatches on it.
macro_rules! per_level {
    ($level:expr, $body:ident($($name:ident: $type:ty),*)) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2")]
        fn avx2($($name: $type),*) {
            $body($($name),*)
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        fn avx512($($name: $type),*) {
            $body($($name),*)
        }
        match $level {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level's token proves AVX2.
            Level::Avx2(_) | Level::AvxVnni(..) => unsafe { avx2($($name),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level's token proves AVX-512 F, BW, DQ and VL.
            Level::Avx512(_) | Level::Avx512Vnni(..) | Level::Amx(..) => unsafe { avx512($($name),*) },
            _ => $body($($name),*),
        }
    }};
}
pub(super) use per_level;

/// Writes the bits of each row's largest |x| to `tops`; NaN and ±inf give 0x7F80_0000 or more.
pub(crate) fn top_magnitudes(level: Level, x: &[f32], dim: usize, tops: &mut [u32]) {
    assert_eq!(x.len(), dim * tops.len(), "whole rows");
    per_level!(level, top_body(x: &[f32], dim: usize, tops: &mut [u32]));
}

#[inline(always)]
fn top_body(x: &[f32], dim: usize, tops: &mut [u32]) {
    for (row, top) in x.chunks_exact(dim).zip(tops) {
        *top = row.iter().fold(0, |top, value| top.max(value.to_bits() & 0x7FFF_FFFF));
    }
}

/// Writes x·2^−e of every row to `out`, coordinates below 2^−40 as 0, and T of their squares to `sums`; rows marked [`ZERO_ROW`] as zeros.
pub(crate) fn scale_down(level: Level, x: &[f32], dim: usize, exponents: &[i32], out: &mut [f32], sums: &mut [f32]) {
    assert!(x.len() == dim * exponents.len() && out.len() == x.len(), "whole rows");
    assert_eq!(sums.len(), exponents.len(), "a sum a row");
    per_level!(level, scale_body(x: &[f32], dim: usize, exponents: &[i32], out: &mut [f32], sums: &mut [f32]));
}

#[inline(always)]
fn scale_body(x: &[f32], dim: usize, exponents: &[i32], out: &mut [f32], sums: &mut [f32]) {
    let rows = x.chunks_exact(dim).zip(exponents).zip(out.chunks_exact_mut(dim)).zip(sums);
    for (((row, &exponent), out), sum) in rows {
        if exponent == ZERO_ROW {
            out.fill(0.0);
            *sum = 0.0;
        } else if exponent < SUBNORMALS_MATTER {
            scale_tiny_row(row, exponent, out);
            *sum = lanes::sum(out, |value| value * value);
        } else {
            // Two factors, since 2^−127 is no normal number.
            let first = -exponent / 2;
            let (first, second) = (power_of_two(first), power_of_two(-exponent - first));
            let scale = |value: f32| {
                let scaled = value * first * second;
                if scaled.abs() >= CUTOFF { scaled } else { 0.0 }
            };
            let mut squares = [0.0_f32; lanes::LANES];
            let (whole, rest) = row.as_chunks::<{ lanes::LANES }>();
            let (whole_out, rest_out) = out.as_chunks_mut::<{ lanes::LANES }>();
            for (row, out) in whole.iter().zip(whole_out) {
                for ((&value, out), lane) in row.iter().zip(out).zip(&mut squares) {
                    *out = scale(value);
                    *lane += *out * *out;
                }
            }
            for ((&value, out), lane) in rest.iter().zip(rest_out).zip(&mut squares) {
                *out = scale(value);
                *lane += *out * *out;
            }
            *sum = lanes::fold(&mut squares, dim);
        }
    }
}

/// Scales a row whose subnormal coordinates count, without arithmetic on subnormals (flush-to-zero would lose them).
#[cold]
fn scale_tiny_row(row: &[f32], exponent: i32, out: &mut [f32]) {
    for (out, value) in out.iter_mut().zip(row) {
        let bits = value.to_bits() & 0x7FFF_FFFF;
        let magnitude = if bits < 0x0080_0000 {
            // A subnormal is mantissa·2^−149; the product is two steps as above.
            let shift = -149 - exponent;
            bits as f32 * power_of_two(shift / 2) * power_of_two(shift - shift / 2)
        } else {
            let first = -exponent / 2;
            f32::from_bits(bits) * power_of_two(first) * power_of_two(-exponent - first)
        };
        let scaled = if value.is_sign_negative() { -magnitude } else { magnitude };
        *out = if magnitude >= CUTOFF { scaled } else { 0.0 };
    }
}

/// 2^e for −126 ≤ e ≤ 127.
fn power_of_two(e: i32) -> f32 {
    debug_assert!((-126..=127).contains(&e), "2^{e} is no normal float32");
    f32::from_bits(((e + 127) as u32) << 23)
}

/// Writes T(v²) of coordinates `start .. start + m` of every row to `out`.
pub(crate) fn square_sums(level: Level, rows: &[f32], stride: usize, start: usize, m: usize, out: &mut [f32]) {
    assert!(rows.len() == stride * out.len() && start + m <= stride, "segments lie inside rows");
    per_level!(level, squares_body(rows: &[f32], stride: usize, start: usize, m: usize, out: &mut [f32]));
}

#[inline(always)]
fn squares_body(rows: &[f32], stride: usize, start: usize, m: usize, out: &mut [f32]) {
    for (row, out) in rows.chunks_exact(stride).zip(out) {
        *out = lanes::sum(&row[start..start + m], |value| value * value);
    }
}

/// Multiplies every row by its factor.
pub(crate) fn multiply(level: Level, rows: &mut [f32], dim: usize, factors: &[f32]) {
    assert_eq!(rows.len(), dim * factors.len(), "whole rows");
    per_level!(level, multiply_body(rows: &mut [f32], dim: usize, factors: &[f32]));
}

#[inline(always)]
fn multiply_body(rows: &mut [f32], dim: usize, factors: &[f32]) {
    for (row, &factor) in rows.chunks_exact_mut(dim).zip(factors) {
        for value in row {
            *value *= factor;
        }
    }
}

/// integers[i] = round-half-even(row[i]·inverse), clamped to ±reach.
pub(crate) fn round_scaled(level: Level, row: &[f32], inverse: f32, reach: f32, integers: &mut [i32]) {
    assert_eq!(row.len(), integers.len(), "one integer a value");
    per_level!(level, round_body(row: &[f32], inverse: f32, reach: f32, integers: &mut [i32]));
}

#[inline(always)]
fn round_body(row: &[f32], inverse: f32, reach: f32, integers: &mut [i32]) {
    for (integer, value) in integers.iter_mut().zip(row) {
        *integer = (value * inverse).round_ties_even().clamp(-reach, reach) as i32;
    }
}

/// Writes round-half-even(value·factor) of every row to `out`, rows of `width` whose places after `dim` become 0.
///
/// Results must be within ±32,767: rows of norm n' and factors 32,000/n' (docs/numerics.md section 11).
pub(crate) fn fixed_point(level: Level, rows: &[f32], dim: usize, factors: &[f32], out: &mut [i16], width: usize) {
    assert!(rows.len() == dim * factors.len() && out.len() == width * factors.len() && dim <= width, "whole rows");
    per_level!(level, fixed_body(rows: &[f32], dim: usize, factors: &[f32], out: &mut [i16], width: usize));
}

#[inline(always)]
fn fixed_body(rows: &[f32], dim: usize, factors: &[f32], out: &mut [i16], width: usize) {
    /// 1.5·2^23: the sum with a smaller value is rounded to an integer, ties to even, which is its low bits.
    const MAGIC: f32 = 12_582_912.0;
    for ((row, &factor), out) in rows.chunks_exact(dim).zip(factors).zip(out.chunks_exact_mut(width)) {
        let (out, padding) = out.split_at_mut(dim);
        for (out, value) in out.iter_mut().zip(row) {
            *out = (value * factor + MAGIC).to_bits() as i16;
        }
        padding.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, other_levels};

    #[test]
    fn levels_equal_scalar_bit_for_bit() {
        for level in other_levels() {
            for dim in (1..=130).chain([200, 1000]) {
                let x = floats(4 * dim, dim as u64);
                let (mut tops, mut want_tops) = ([0; 4], [0; 4]);
                top_magnitudes(Level::Scalar, &x, dim, &mut want_tops);
                top_magnitudes(level, &x, dim, &mut tops);
                assert_eq!(tops, want_tops, "tops at dim {dim}");
                let exponents = [0, -3, 100, ZERO_ROW];
                let (mut want, mut got) = (vec![0.0; 4 * dim], vec![0.0; 4 * dim]);
                let (mut want_sums, mut sums, mut squares) = ([0.0; 4], [0.0; 4], [0.0; 4]);
                scale_down(Level::Scalar, &x, dim, &exponents, &mut want, &mut want_sums);
                scale_down(level, &x, dim, &exponents, &mut got, &mut sums);
                assert_eq!(got, want, "scaled rows at dim {dim}");
                square_sums(level, &got, dim, 0, dim, &mut squares);
                assert_eq!(sums.map(f32::to_bits), squares.map(f32::to_bits), "sums of scaled rows at dim {dim}");
                assert_eq!(sums.map(f32::to_bits), want_sums.map(f32::to_bits), "sums of scaled rows at dim {dim}");
                square_sums(Level::Scalar, &x, dim, dim / 3, dim - dim / 3, &mut want_sums);
                square_sums(level, &x, dim, dim / 3, dim - dim / 3, &mut sums);
                assert_eq!(sums.map(f32::to_bits), want_sums.map(f32::to_bits), "sums at dim {dim}");
                let (mut want_integers, mut integers) = (vec![0; 4 * dim], vec![0; 4 * dim]);
                round_scaled(Level::Scalar, &x, 61.0, 119.0, &mut want_integers);
                round_scaled(level, &x, 61.0, 119.0, &mut integers);
                assert_eq!(integers, want_integers, "integers at dim {dim}");
            }
        }
    }

    #[test]
    fn fixed_point_rounds_ties_to_even_and_pads() {
        for level in other_levels().into_iter().chain([Level::Scalar]) {
            for dim in (1..=66).chain([200]) {
                let mut x = floats(2 * dim, dim as u64);
                x.iter_mut().step_by(5).zip((-3..).map(|i| i as f32 + 0.5)).for_each(|(x, tie)| *x = tie);
                let (factors, mut out) = ([1.0, 101.7], vec![9; 2 * (dim + 3)]);
                fixed_point(level, &x, dim, &factors, &mut out, dim + 3);
                let rounded = |(x, factor): (&[f32], f32)| -> Vec<i16> {
                    let whole = x.iter().map(|x| (x * factor).round_ties_even() as i16);
                    whole.chain([0; 3]).collect()
                };
                let want: Vec<_> = x.chunks_exact(dim).zip(factors).flat_map(rounded).collect();
                assert_eq!(out, want, "{} at dim {dim}", level.name());
            }
        }
    }

    #[test]
    fn subnormals_are_scaled_exactly() {
        let tiny = f32::from_bits(3);
        let x = [f32::MIN_POSITIVE, -tiny, tiny * 5.0];
        let mut out = [0.0; 3];
        scale_down(Level::Scalar, &x, 3, &[-126], &mut out, &mut [0.0]);
        let unit = 2.0_f32.powi(-23);
        assert_eq!(out, [1.0, -3.0 * unit, 15.0 * unit]);
    }
}
