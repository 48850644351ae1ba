//! Rows as they were added, or nearly: what a search scores exactly after the codes have found candidates.

use std::ops::Range;

use half::{bf16, f16};

use super::gone::{Gone, retain};
use super::partition::{Sink, numbers};
use crate::error::{Error, Result};
use crate::storage::Array;

/// Rows that are written at a time.
const ROWS: usize = 1_024;

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

    /// Looks for a value that [`convert`](Self::convert) does not make: the byte of the first, and what it is.
    pub(super) fn fault(self, bytes: &[u8]) -> Option<(usize, String)> {
        let found = match self {
            Self::Float32 => position(bytes, |bytes| !f32::from_le_bytes(bytes).is_finite()),
            Self::Float16 => position(bytes, |bytes| !f16::from_le_bytes(bytes).is_finite()),
            Self::BFloat16 => position(bytes, |bytes| !bf16::from_le_bytes(bytes).is_finite()),
            Self::Int8 => position(bytes, |[byte]| byte == 0x80),
        };
        found.map(|at| (at, format!("a value that no {} is kept as", self.name())))
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

/// The first byte of the first value for which `is` says so.
fn position<const N: usize>(bytes: &[u8], is: impl Fn([u8; N]) -> bool) -> Option<usize> {
    bytes.as_chunks().0.iter().position(|&value| is(value)).map(|value| N * value)
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
    /// One after another; rows are added to the last, those before it are in a mapped file or follow on one.
    pieces: Vec<Piece>,
}

/// Rows that lie together.
#[derive(Debug, Clone, Default)]
pub(super) struct Piece {
    /// The number of the first.
    first: usize,
    rows: usize,
    bytes: Array<u8>,
    scales: Array<f32>,
}

impl Piece {
    /// Rows of a file, whose first number is told when they are [taken](Originals::extend).
    pub(super) fn new(rows: usize, bytes: Array<u8>, scales: Array<f32>) -> Self {
        Self { first: 0, rows, bytes, scales }
    }

    fn is_mapped(&self) -> bool {
        self.bytes.is_mapped()
    }

    fn nbytes(&self) -> usize {
        self.bytes.nbytes() + self.scales.nbytes()
    }
}

impl Originals {
    pub(super) fn new(keep: Keep, dim: usize) -> Self {
        Self { keep, dim, pieces: Vec::new() }
    }

    pub(super) fn keep(&self) -> Keep {
        self.keep
    }

    /// Bytes of a row.
    pub(super) fn stride(&self) -> usize {
        self.dim * self.keep.width()
    }

    fn rows(&self) -> usize {
        self.pieces.last().map_or(0, |last| last.first + last.rows)
    }

    /// The piece that rows are added to.
    fn last(&mut self) -> &mut Piece {
        if self.pieces.last().is_none_or(Piece::is_mapped) {
            self.pieces.push(Piece { first: self.rows(), ..Piece::default() });
        }
        self.pieces.last_mut().expect("pushed above")
    }

    /// The piece of a row, and its place there.
    fn place(&self, number: usize) -> (&Piece, usize) {
        let after = self.pieces.partition_point(|piece| piece.first <= number);
        let piece = &self.pieces[after - 1];
        (piece, number - piece.first)
    }

    /// Appends rows, or none of them.
    pub(super) fn add(&mut self, x: &[f32]) -> Result<()> {
        let (keep, dim) = (self.keep, self.dim);
        let piece = self.last();
        let (bytes, scales) = (piece.bytes.to_mut(), piece.scales.to_mut());
        let (first_byte, first_scale) = (bytes.len(), scales.len());
        bytes.resize(first_byte + x.len() * keep.width(), 0);
        scales.resize(first_scale + x.len() / dim * keep.scales(), 0.0);
        let done = keep.convert(x, dim, &mut bytes[first_byte..], &mut scales[first_scale..]);
        if done.is_err() {
            bytes.truncate(first_byte);
            scales.truncate(first_scale);
        } else {
            piece.rows += x.len() / dim;
        }
        done
    }

    /// Appends rows that [`Keep::convert`] made.
    pub(super) fn append(&mut self, bytes: &[u8], scales: &[f32]) {
        let stride = self.stride();
        let piece = self.last();
        piece.bytes.to_mut().extend_from_slice(bytes);
        piece.scales.to_mut().extend_from_slice(scales);
        piece.rows += bytes.len() / stride;
    }

    /// Appends some rows of another index of the same form.
    pub(super) fn append_rows(&mut self, from: &Self, numbers: &[usize]) {
        let (stride, scales) = (self.stride(), self.keep.scales());
        for &number in numbers {
            let (piece, place) = from.place(number);
            self.append(&piece.bytes[place * stride..][..stride], &piece.scales[place * scales..][..scales]);
        }
    }

    /// Appends rows of a file: as a piece of their own if they stay there, else to the last one.
    pub(super) fn extend(&mut self, new: Piece) {
        if new.is_mapped() {
            self.pieces.push(Piece { first: self.rows(), ..new });
        } else {
            self.append(&new.bytes, &new.scales);
        }
    }

    /// Appends the rows of another index of the same form, piece by piece.
    pub(super) fn join(&mut self, other: Self) {
        for piece in other.pieces {
            self.pieces.push(Piece { first: self.rows(), ..piece });
        }
    }

    /// Drops rows that were added to the last piece.
    pub(super) fn truncate(&mut self, rows: usize) {
        let (stride, scales) = (self.stride(), self.keep.scales());
        if rows < self.rows() {
            let piece = self.last();
            piece.rows = rows - piece.first;
            piece.bytes.to_mut().truncate(piece.rows * stride);
            piece.scales.to_mut().truncate(piece.rows * scales);
        }
    }

    pub(super) fn compact(&mut self, gone: &Gone) {
        let (stride, scales, mut next) = (self.stride(), self.keep.scales(), 0);
        for piece in &mut self.pieces {
            let stays = |place: usize| !gone.holds(piece.first + place);
            let left = (0..piece.rows).filter(|&place| stays(place)).count();
            if left < piece.rows {
                retain(&mut piece.bytes, stride, stays);
                retain(&mut piece.scales, scales, stays);
            }
            (piece.first, piece.rows) = (next, left);
            next += left;
        }
        self.pieces.retain(|piece| piece.rows > 0);
    }

    /// Compares a row with checksums, where it is in a mapped file and that has not been done.
    pub(super) fn check(&self, number: usize) -> Result<()> {
        let (piece, place) = self.place(number);
        self.check_places(piece, place..place + 1)
    }

    fn check_places(&self, piece: &Piece, places: Range<usize>) -> Result<()> {
        let (stride, scales) = (self.stride(), self.keep.scales());
        piece.bytes.check(places.start * stride..places.end * stride)?;
        piece.scales.check(places.start * scales..places.end * scales)
    }

    /// [`check`](Self::check) of all rows.
    pub(super) fn check_all(&self) -> Result<()> {
        self.pieces.iter().try_for_each(|piece| {
            piece.bytes.check_all()?;
            piece.scales.check_all()
        })
    }

    /// Writes the bytes of the rows from a number on, or their scales.
    pub(super) fn write(&self, from: usize, scales: bool, out: &mut Sink<'_>) -> Result<()> {
        for piece in &self.pieces {
            // A few rows at a time, so that a mapped file is compared with its checksums before it is copied.
            for first in (from.saturating_sub(piece.first).min(piece.rows)..piece.rows).step_by(ROWS) {
                let places = first..piece.rows.min(first + ROWS);
                self.check_places(piece, places.clone())?;
                if scales {
                    numbers(&piece.scales[places], out)?;
                } else {
                    out(&piece.bytes[places.start * self.stride()..places.end * self.stride()])?;
                }
            }
        }
        Ok(())
    }

    /// Writes a row's values, which float64 holds exactly.
    pub(super) fn row(&self, number: usize, out: &mut [f64]) {
        let (stride, (piece, place)) = (self.stride(), self.place(number));
        let bytes = &piece.bytes[place * stride..][..stride];
        match self.keep {
            Keep::Float32 => values(bytes, out, |bytes| f32::from_le_bytes(bytes).into()),
            Keep::Float16 => values(bytes, out, |bytes| f16::from_le_bytes(bytes).into()),
            Keep::BFloat16 => values(bytes, out, |bytes| bf16::from_le_bytes(bytes).into()),
            Keep::Int8 => {
                let scale = f64::from(piece.scales[place]);
                values(bytes, out, |[byte]| f64::from(byte as i8) * scale);
            }
        }
    }

    pub(super) fn nbytes(&self) -> usize {
        self.pieces.iter().map(Piece::nbytes).sum()
    }

    /// Bytes that are in a mapped file.
    pub(super) fn mapped_nbytes(&self) -> usize {
        self.pieces.iter().filter(|piece| piece.is_mapped()).map(Piece::nbytes).sum()
    }
}

fn values<const N: usize>(bytes: &[u8], out: &mut [f64], value: impl Fn([u8; N]) -> f64) {
    let (places, _) = bytes.as_chunks();
    out.iter_mut().zip(places).for_each(|(out, &place)| *out = value(place));
}
