//! Rows as they were added, or nearly: what a search scores exactly after the codes have found candidates.

use half::{bf16, f16};

use super::gone::{Gone, retain};
use crate::error::{Error, Result};
use crate::storage::Array;

/// What an index keeps of added rows beside their codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keep {
    /// As they are, 4 bytes a coordinate.
    Float32,
    /// Rounded to the nearest half-precision float, ties to even: 11 bits, up to 65,504. 2 bytes a coordinate.
    Float16,
    /// Rounded to the nearest bfloat16, ties to even: 8 bits, float32's range. 2 bytes a coordinate.
    BFloat16,
    /// Whole multiples, −127 to 127, of 1/127 of the row's largest magnitude: 1 byte a coordinate and 4 a row.
    Int8,
}

impl Keep {
    /// The form called `name`: "float32", "float16", "bfloat16" or "int8".
    ///
    /// # Errors
    /// [`Error::Argument`] for any other name.
    pub fn named(name: &str) -> Result<Self> {
        let found = [Self::Float32, Self::Float16, Self::BFloat16, Self::Int8].into_iter().find(|k| k.name() == name);
        let expected = r#""float32", "float16", "bfloat16" or "int8""#;
        found.ok_or_else(|| Error::argument("keep", expected, format!("{name:?}")))
    }

    /// The form's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::BFloat16 => "bfloat16",
            Self::Int8 => "int8",
        }
    }

    /// Bytes of a coordinate.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::Float32 => 4,
            Self::Float16 | Self::BFloat16 => 2,
            Self::Int8 => 1,
        }
    }

    /// Scales of a row: 1 for [`Int8`](Self::Int8), else 0.
    #[must_use]
    pub fn scales(self) -> usize {
        usize::from(self == Self::Int8)
    }

    /// Converts finite rows of `dim` values to little-endian `bytes`, [`width`](Self::width) a value, and `scales`. Values below 2^−126
    /// in magnitude become 0.
    ///
    /// # Errors
    /// [`Error::Range`] for a value that rounds beyond the form's largest, [`Error::Argument`] for buffers of other lengths.
    pub fn convert(self, x: &[f32], dim: usize, bytes: &mut [u8], scales: &mut [f32]) -> Result<()> {
        let rows = x.len() / dim;
        for (argument, len, expected) in
            [("bytes", bytes.len(), x.len() * self.width()), ("scales", scales.len(), rows * self.scales())]
        {
            if len != expected {
                return Err(Error::argument(argument, format!("{expected} long"), len));
            }
        }
        let mut largest = f32::MAX;
        match self {
            Self::Float32 => each(x, bytes, |value| value.to_le_bytes()),
            Self::Float16 => {
                // Halfway between the largest and the next power of two, a tie that goes up.
                largest = 65_520_f32.next_down();
                each(x, bytes, |value| f16::from_f32(value).to_le_bytes());
            }
            Self::BFloat16 => {
                largest = f32::from_bits(0x7f7f_7fff);
                each(x, bytes, |value| bf16::from_f32(value).to_le_bytes());
            }
            Self::Int8 => {
                for ((row, bytes), scale) in x.chunks_exact(dim).zip(bytes.chunks_exact_mut(dim)).zip(scales) {
                    let top = row.iter().fold(0_f32, |top, value| top.max(value.abs()));
                    *scale = flushed((f64::from(top) / 127.0) as f32);
                    let inverse = if *scale == 0.0 { 0.0 } else { 127.0 / f64::from(top) };
                    each(row, bytes, |value| [(f64::from(value) * inverse).round_ties_even() as i8 as u8]);
                }
            }
        }
        match x.iter().position(|value| value.abs() > largest) {
            Some(at) => {
                let (row, column, value) = (at / dim, at % dim, x[at].to_string());
                Err(Error::Range { argument: "x", form: self.name(), value, row, column })
            }
            None => Ok(()),
        }
    }
}

/// A value, 0 where it is below 2^−126.
fn flushed(value: f32) -> f32 {
    if value.abs() < f32::MIN_POSITIVE { 0.0 } else { value }
}

fn each<const N: usize>(x: &[f32], bytes: &mut [u8], convert: impl Fn(f32) -> [u8; N]) {
    let (places, _) = bytes.as_chunks_mut();
    places.iter_mut().zip(x).for_each(|(place, &value)| *place = convert(flushed(value)));
}

/// Kept rows, by number in the order of adding.
#[derive(Debug, Clone)]
pub(super) struct Originals {
    keep: Keep,
    dim: usize,
    bytes: Array<u8>,
    scales: Array<f32>,
}

impl Originals {
    pub(super) fn new(keep: Keep, dim: usize) -> Self {
        Self { keep, dim, bytes: Array::default(), scales: Array::default() }
    }

    pub(super) fn keep(&self) -> Keep {
        self.keep
    }

    /// Appends rows, or none of them.
    pub(super) fn add(&mut self, x: &[f32]) -> Result<()> {
        let (bytes, scales) = (self.bytes.to_mut(), self.scales.to_mut());
        let (first_byte, first_scale) = (bytes.len(), scales.len());
        bytes.resize(first_byte + x.len() * self.keep.width(), 0);
        scales.resize(first_scale + x.len() / self.dim * self.keep.scales(), 0.0);
        let done = self.keep.convert(x, self.dim, &mut bytes[first_byte..], &mut scales[first_scale..]);
        if done.is_err() {
            bytes.truncate(first_byte);
            scales.truncate(first_scale);
        }
        done
    }

    /// Appends rows that [`Keep::convert`] made.
    pub(super) fn append(&mut self, bytes: &[u8], scales: &[f32]) {
        self.bytes.to_mut().extend_from_slice(bytes);
        self.scales.to_mut().extend_from_slice(scales);
    }

    /// Appends some rows of another index of the same form.
    pub(super) fn append_rows(&mut self, from: &Self, numbers: &[usize]) {
        let (stride, scales) = (self.stride(), self.keep.scales());
        for &number in numbers {
            self.append(&from.bytes[number * stride..][..stride], &from.scales[number * scales..][..scales]);
        }
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        let (bytes, scales) = (rows * self.stride(), rows * self.keep.scales());
        self.bytes.to_mut().truncate(bytes);
        self.scales.to_mut().truncate(scales);
    }

    pub(super) fn compact(&mut self, gone: &Gone) {
        let stride = self.stride();
        retain(&mut self.bytes, stride, |row| !gone.holds(row));
        retain(&mut self.scales, self.keep.scales(), |row| !gone.holds(row));
    }

    /// Compares a row with checksums, where it is in a mapped file and that has not been done.
    pub(super) fn check(&self, number: usize) -> Result<()> {
        let (stride, scales) = (self.stride(), self.keep.scales());
        self.bytes.check(number * stride..(number + 1) * stride)?;
        self.scales.check(number * scales..(number + 1) * scales)
    }

    /// [`check`](Self::check) of all rows.
    pub(super) fn check_all(&self) -> Result<()> {
        self.bytes.check_all()?;
        self.scales.check_all()
    }

    /// Writes a row's values, which float64 holds exactly.
    pub(super) fn row(&self, number: usize, out: &mut [f64]) {
        let stride = self.stride();
        let bytes = &self.bytes[number * stride..][..stride];
        match self.keep {
            Keep::Float32 => values(bytes, out, |bytes| f32::from_le_bytes(bytes).into()),
            Keep::Float16 => values(bytes, out, |bytes| f16::from_le_bytes(bytes).into()),
            Keep::BFloat16 => values(bytes, out, |bytes| bf16::from_le_bytes(bytes).into()),
            Keep::Int8 => {
                let scale = f64::from(self.scales[number]);
                values(bytes, out, |[byte]| f64::from(byte as i8) * scale);
            }
        }
    }

    pub(super) fn nbytes(&self) -> usize {
        self.bytes.nbytes() + self.scales.nbytes()
    }

    fn stride(&self) -> usize {
        self.dim * self.keep.width()
    }
}

fn values<const N: usize>(bytes: &[u8], out: &mut [f64], value: impl Fn([u8; N]) -> f64) {
    let (places, _) = bytes.as_chunks();
    out.iter_mut().zip(places).for_each(|(out, &place)| *out = value(place));
}
