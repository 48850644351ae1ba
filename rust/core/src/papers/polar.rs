//! PolarQuant (arXiv 2502.02617): angles of a recursive polar transform, and the radii of its last level
//! (docs/numerics-papers.md section 6).
//!
//! No angle is computed: an angle of (a, b) is above β where b·cos β > a·sin β, and decoding needs the centroids' cosines and sines
//! only. No norm is taken off first: the radii carry it.

use super::polar_angles::Angles;
use super::{Blocks, PaperSpec, Prepared, Radius};
use crate::codec::{prepare, times_power};
use crate::error::{Error, Result};
use crate::kernels::{Level, dot_f32};
use crate::rotation::Rotation;

/// Coordinates below this become 0, so that no square and no product with a sine is subnormal.
const CUTOFF: f32 = 1.0 / (1_u64 << 40) as f32;

/// PolarQuant: pairs of rotated coordinates as angle and length, lengths again, and so on for a few levels; radii at the end.
#[derive(Debug, Clone)]
pub struct PolarQuant {
    spec: PaperSpec,
    bits: Vec<u32>,
    radius: Radius,
    rotation: Rotation,
    /// Of every level; the first holds the sectors of a quadrant.
    angles: Vec<Angles>,
}

/// Rotated queries with their powers of two.
#[derive(Debug)]
pub struct PolarQueries {
    rows: Vec<f32>,
    exponents: Vec<i32>,
}

impl PolarQuant {
    /// A codec for vectors of `dim` coordinates, a multiple of 2^levels, with `bits` bits an angle of each level.
    ///
    /// # Errors
    /// As for [`PaperSpec::check`].
    pub fn new(dim: usize, bits: &[u32], radius: Radius, seed: u64) -> Result<Self> {
        let spec = PaperSpec::Polar { dim, bits: bits.to_vec(), radius, seed };
        spec.check()?;
        let inner = |(i, &bits): (usize, &u32)| Angles::new(i + 1, if i == 0 { bits.saturating_sub(2) } else { bits });
        let angles = bits.iter().enumerate().map(inner).collect();
        Ok(Self { spec, bits: bits.to_vec(), radius, rotation: Rotation::new(dim, seed, 0), angles })
    }

    /// Bytes that the codec itself holds.
    #[must_use]
    pub fn nbytes(&self) -> usize {
        let tables = |angles: &Angles| 8 * (angles.bounds.len() + angles.centroids.len());
        self.rotation.nbytes() + self.angles.iter().map(tables).sum::<usize>()
    }

    fn radii_len(&self) -> usize {
        self.spec.dim() >> self.bits.len()
    }

    /// Replaces the lengths of a level by those of the next; hands the code of each angle to `write`.
    fn level(&self, i: usize, r: &mut Vec<f32>, mut write: impl FnMut(u8)) {
        let angles = &self.angles[i];
        for at in 0..r.len() / 2 {
            let (a, b) = (r[2 * at], r[2 * at + 1]);
            write(if i == 0 { sector(angles, a, b, self.bits[0]) } else { angles.code(a, b) });
            r[at] = (a * a + b * b).sqrt();
        }
        r.truncate(r.len() / 2);
    }

    /// Decoded rows before the inverse rotation, with the power of two of each row's largest radius.
    fn rotated(&self, level: Level, packed: &[u8]) -> Result<(Vec<f32>, Vec<i32>)> {
        let (stride, count) = (self.spec.row_bytes(), self.radii_len());
        let radii: Vec<f32> = packed.chunks_exact(stride).flat_map(|row| radii(self.radius, count, row)).collect();
        let (mut tops, mut exponents, mut prepared) = (Vec::new(), Vec::new(), vec![0.0; radii.len()]);
        prepare(level, "radii", &radii, count, &mut tops, &mut exponents, &mut prepared, &mut Vec::new())?;
        let dim = self.spec.dim();
        let mut out = Vec::with_capacity(exponents.len() * dim);
        let (mut r, mut next) = (Vec::new(), Vec::new());
        for (row, radii) in packed.chunks_exact(stride).zip(prepared.chunks_exact(count)) {
            let string = &row[self.radius.bytes() * count..];
            let mut end = string_bits(dim, &self.bits);
            r.clear();
            r.extend_from_slice(radii);
            for (i, &bits) in self.bits.iter().enumerate().rev() {
                end -= r.len() * bits as usize;
                next.clear();
                for (j, &length) in r.iter().enumerate() {
                    let code = read_field(string, end + j * bits as usize, bits);
                    let (a, b) = self.point(i, code);
                    next.extend([length * a, length * b]);
                }
                std::mem::swap(&mut r, &mut next);
            }
            out.extend_from_slice(&r);
        }
        Ok((out, exponents))
    }

    /// (cos θ, sin θ) of a code of level i.
    fn point(&self, i: usize, code: u8) -> (f32, f32) {
        let centroids = &self.angles[i].centroids;
        if i > 0 {
            return centroids[usize::from(code)];
        }
        if self.bits[0] == 1 {
            return (0.0, if code == 0 { 1.0 } else { -1.0 });
        }
        let inner = self.bits[0] - 2;
        let (cos, sin) = centroids[usize::from(code) & ((1 << inner) - 1)];
        match code >> inner {
            0 => (cos, sin),
            1 => (-sin, cos),
            2 => (-cos, -sin),
            _ => (sin, -cos),
        }
    }

    /// Writes radii; returns whether all are within the format.
    fn write_radii(&self, radii: &[f32], exponent: i32, row: &mut [u8]) -> bool {
        let mut within = true;
        let width = self.radius.bytes();
        for (&radius, out) in radii.iter().zip(row.chunks_exact_mut(width)) {
            let radius = times_power(radius, exponent);
            match self.radius {
                Radius::Float16 => {
                    let half = to_half(radius);
                    within &= half < HALF_INFINITY;
                    out.copy_from_slice(&half.to_le_bytes());
                }
                Radius::Float32 => {
                    within &= radius.is_finite();
                    out.copy_from_slice(&radius.to_le_bytes());
                }
            }
        }
        within
    }
}

impl Blocks for PolarQuant {
    type Queries = PolarQueries;

    fn description(&self) -> &PaperSpec {
        &self.spec
    }

    fn encode_block(&self, level: Level, x: &[f32], packed: &mut [u8], _scales: &mut [f32]) -> Result<()> {
        let (dim, stride) = (self.spec.dim(), self.spec.row_bytes());
        let Prepared { mut rows, exponents, .. } = Prepared::new(level, "x", x, dim)?;
        self.rotation.apply(level, &mut rows, &mut Vec::new());
        let start = self.radius.bytes() * self.radii_len();
        let mut r = Vec::new();
        let rows = rows.chunks_exact(dim).zip(packed.chunks_exact_mut(stride)).zip(&exponents);
        for (row, ((y, packed), &exponent)) in rows.enumerate() {
            r.clear();
            r.extend(y.iter().map(|&y| cut(y)));
            let (radii, string) = packed.split_at_mut(start);
            string.fill(0);
            let mut at = 0;
            for (i, &bits) in self.bits.iter().enumerate() {
                self.level(i, &mut r, |code| {
                    write_field(string, at, code);
                    at += bits as usize;
                });
            }
            if !self.write_radii(&r, exponent, radii) {
                let limit = match self.radius {
                    Radius::Float16 => "that keep radii within float16 (65,504)",
                    Radius::Float32 => "that keep radii within float32",
                };
                return Err(Error::Norm { argument: "x", row, limit });
            }
        }
        Ok(())
    }

    fn decode_block(&self, level: Level, packed: &[u8], _scales: &[f32], out: &mut [f32]) -> Result<()> {
        let (mut rows, exponents) = self.rotated(level, packed)?;
        self.rotation.apply_inverse(level, &mut rows, &mut Vec::new());
        let dim = self.spec.dim();
        for ((row, out), exponent) in rows.chunks_exact(dim).zip(out.chunks_exact_mut(dim)).zip(exponents) {
            out.iter_mut().zip(row).for_each(|(out, &value)| *out = times_power(value, exponent));
        }
        Ok(())
    }

    fn prepare_queries(&self, level: Level, queries: &[f32]) -> Result<PolarQueries> {
        let Prepared { mut rows, exponents, .. } = Prepared::queries(level, queries, self.spec.dim())?;
        self.rotation.apply(level, &mut rows, &mut Vec::new());
        rows.iter_mut().for_each(|value| *value = cut(*value));
        Ok(PolarQueries { rows, exponents })
    }

    fn score_block(&self, level: Level, queries: &PolarQueries, packed: &[u8], _scales: &[f32]) -> Result<Vec<f32>> {
        let dim = self.spec.dim();
        let (rows, powers) = self.rotated(level, packed)?;
        let mut out = Vec::with_capacity(queries.exponents.len() * powers.len());
        for (query, &exponent) in queries.rows.chunks_exact(dim).zip(&queries.exponents) {
            let scores = rows.chunks_exact(dim).zip(&powers);
            out.extend(scores.map(|(row, &power)| times_power(dot_f32(query, row), exponent + power)));
        }
        Ok(out)
    }
}

/// Checks that the radii of packed rows are what an encoder writes: finite, without a sign.
///
/// # Errors
/// [`Error::Argument`] with the first faulty row.
pub(super) fn check_radii(spec: &PaperSpec, packed: &[u8]) -> Result<()> {
    let PaperSpec::Polar { dim, ref bits, radius, .. } = *spec else { return Ok(()) };
    for (row, bytes) in packed.chunks_exact(spec.row_bytes()).enumerate() {
        if let Some(r) = radii(radius, dim >> bits.len(), bytes).find(|r| !r.is_finite() || r.is_sign_negative()) {
            let expected = "rows with finite radii that are not negative";
            return Err(Error::argument("packed", expected, format!("{r} at row {row}")));
        }
    }
    Ok(())
}

/// The radii that a packed row starts with.
fn radii(radius: Radius, count: usize, row: &[u8]) -> impl Iterator<Item = f32> {
    row[..radius.bytes() * count].chunks_exact(radius.bytes()).map(move |bytes| match *bytes {
        [a, b] => from_half(u16::from_le_bytes([a, b])),
        _ => f32::from_le_bytes(bytes.try_into().expect("four bytes")),
    })
}

/// Which of 2^bits equal sectors of the circle (a, b) lies in: the quadrant by signs, the sector in it by comparison.
fn sector(angles: &Angles, a: f32, b: f32, bits: u32) -> u8 {
    let (quadrant, u, v) = if a <= 0.0 && b > 0.0 {
        (1, b, -a)
    } else if a < 0.0 && b <= 0.0 {
        (2, -a, -b)
    } else if a >= 0.0 && b < 0.0 {
        (3, -b, a)
    } else {
        (0, a, b)
    };
    if bits == 1 { quadrant >> 1 } else { (quadrant << (bits - 2)) + angles.code(u, v) }
}

fn cut(value: f32) -> f32 {
    if value.abs() >= CUTOFF { value } else { 0.0 }
}

/// Bits of a row's angle codes.
pub(super) fn string_bits(dim: usize, bits: &[u32]) -> usize {
    bits.iter().zip(1..).map(|(&bits, level)| (dim >> level) * bits as usize).sum()
}

/// Writes a code at a bit of a string of zeros, low bit first.
fn write_field(string: &mut [u8], at: usize, code: u8) {
    let wide = u16::from(code) << (at % 8);
    string[at / 8] |= wide as u8;
    if wide > 0xFF {
        string[at / 8 + 1] |= (wide >> 8) as u8;
    }
}

/// Reads a code of `bits` bits at a bit of a string.
fn read_field(string: &[u8], at: usize, bits: u32) -> u8 {
    let next = string.get(at / 8 + 1).copied().unwrap_or(0);
    let wide = u16::from(string[at / 8]) | u16::from(next) << 8;
    (wide >> (at % 8)) as u8 & (0xFF >> (8 - bits))
}

const HALF_INFINITY: u16 = 0x7C00;

/// The nearest float16 of a value that is not negative, ties to even; beyond its range infinity.
fn to_half(value: f32) -> u16 {
    // Normal from 2^-14 on, where 13 bits of the mantissa go; below, the integer nearest to value·2^24.
    if value >= 65_520.0 {
        HALF_INFINITY
    } else if value >= 1.0 / 16_384.0 {
        let bits = value.to_bits() - (112 << 23);
        ((bits + 0xFFF + (bits >> 13 & 1)) >> 13) as u16
    } else {
        (value * 16_777_216.0).round_ties_even() as u16
    }
}

/// The value of a float16.
fn from_half(half: u16) -> f32 {
    let magnitude = u32::from(half & 0x7FFF);
    let value = if magnitude > u32::from(HALF_INFINITY) {
        f32::NAN
    } else if magnitude == u32::from(HALF_INFINITY) {
        f32::INFINITY
    } else if magnitude >= 1 << 10 {
        f32::from_bits((magnitude << 13) + (112 << 23))
    } else {
        magnitude as f32 / 16_777_216.0
    };
    if half >> 15 == 0 { value } else { -value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_comes_back_and_rounding_is_to_the_nearest() {
        for half in 0..HALF_INFINITY {
            let value = from_half(half);
            assert_eq!(to_half(value), half);
            let next = if half + 1 == HALF_INFINITY { 65_536.0 } else { from_half(half + 1) };
            let middle = f32::midpoint(value, next);
            assert_eq!(to_half(middle), half + (half & 1), "a tie above {value} goes to the even one");
            assert_eq!(to_half(middle.next_down()), half);
            assert_eq!(to_half(middle.next_up()), half + 1);
        }
        for (half, value) in
            [(0x7C00, f32::INFINITY), (0xFC00, f32::NEG_INFINITY), (0xBC00, -1.0), (0x8001, -5.960_464_5e-8)]
        {
            assert_eq!(from_half(half), value);
        }
        assert!(from_half(0x7C01).is_nan() && from_half(0xFFFF).is_nan() && from_half(0x8000).is_sign_negative());
        assert_eq!((to_half(f32::MAX), to_half(f32::INFINITY), to_half(0.0)), (HALF_INFINITY, HALF_INFINITY, 0));
    }

    #[test]
    fn fields_come_back() {
        for bits in 1..=8 {
            let codes: Vec<u8> = (0..40_u32).map(|i| (i * 37 % (1 << bits)) as u8).collect();
            let mut string = vec![0; (3 + 40 * bits as usize).div_ceil(8)];
            codes.iter().enumerate().for_each(|(i, &code)| write_field(&mut string, 3 + i * bits as usize, code));
            for (i, &code) in codes.iter().enumerate() {
                assert_eq!(read_field(&string, 3 + i * bits as usize, bits), code);
            }
        }
    }
}
