//! The first stage of an index's rows: sign planes in blocks of 64 rows, and what bounds a score from them (docs/numerics.md section 12).

use std::ops::Range;

use crate::codebook::{halves, integer_levels};
use crate::codec::TurboQuant;
use crate::error::Result;
use crate::kernels::planes::{
    self, BLOCK, CENTER, Column, ENTRIES, Sums, Weights, from_rows, magnitude_sums, tabulate, to_rows,
};
use crate::kernels::prefetch::prefetch;
use crate::kernels::{Level, lookup};
use crate::parallel::Exec;
use crate::storage::Array;
use crate::units::unpack;

/// Standard deviations that a score may lie above the estimate from its first stage before it is cut.
const DEVIATIONS: f32 = 3.0;
/// Units of a row's bounds in one integer level, for widths 1–4 and for two-byte levels.
const FINE: u64 = 512;
const COARSE: u64 = 4;
/// Rows whose bounds are computed together.
const ROWS: usize = 256;

/// Sign planes and bounds of rows.
#[derive(Debug, Clone)]
pub(crate) struct FirstStage {
    /// Bytes of a row's plane.
    size: usize,
    /// Blocks of 64 rows, `size` columns each.
    columns: Array<Column>,
    /// The ratio of a row in the low half, its spread in the high one.
    bounds: Array<u32>,
}

impl FirstStage {
    /// The first stage of a codec whose codes have one before the last: a plain one of at least 2 bits.
    pub(crate) fn new(codec: &TurboQuant) -> Option<Self> {
        match codec.spec().segments[..] {
            [segment] if segment.bits > 1 && codec.spec().fitted.is_none() => {
                let (columns, bounds) = (Array::default(), Array::default());
                Some(Self { size: segment.dim.div_ceil(8), columns, bounds })
            }
            _ => None,
        }
    }

    /// Appends the planes and bounds of packed rows.
    pub(crate) fn append(&mut self, codec: &TurboQuant, packed: &[u8], level: Level, exec: Exec) {
        let stride = codec.row_bytes();
        let mut first = self.bounds.len();
        let tasks = packed.chunks(ROWS * stride).collect();
        for bounds in exec.map(tasks, |rows| row_bounds(codec, level, rows)) {
            self.bounds.to_mut().extend(bounds);
        }
        let columns = self.columns.to_mut();
        columns.resize(self.bounds.len().div_ceil(BLOCK) * self.size, [0; BLOCK]);
        let mut rest = packed;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min((BLOCK - first % BLOCK) * stride));
            let block = &mut columns[first / BLOCK * self.size..][..self.size];
            from_rows(now, stride, first % BLOCK, block);
            first += now.len() / stride;
            rest = later;
        }
    }

    /// A first stage whose rows are in a file: `None` unless the codec has one.
    pub(crate) fn from_arrays(codec: &TurboQuant, columns: Array<Column>, bounds: Array<u32>) -> Option<Self> {
        Some(Self { columns, bounds, ..Self::new(codec)? })
    }

    /// Appends rows of another first stage of the same codec.
    pub(crate) fn extend(&mut self, other: &Self, rows: Range<usize>) {
        let (size, first) = (self.size, self.bounds.len());
        self.bounds.to_mut().extend_from_slice(&other.bounds[rows.clone()]);
        let columns = self.columns.to_mut();
        columns.resize(self.bounds.len().div_ceil(BLOCK) * size, [0; BLOCK]);
        for (to, from) in (first..).zip(rows) {
            let (new, old) = (to / BLOCK * size, from / BLOCK * size);
            (0..size).for_each(|i| columns[new + i][to % BLOCK] = other.columns[old + i][from % BLOCK]);
        }
    }

    /// Bytes of a row's plane.
    pub(crate) fn plane_bytes(&self) -> usize {
        self.size
    }

    /// Drops rows from `rows` on.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.bounds.to_mut().truncate(rows);
        self.columns.to_mut().truncate(rows.div_ceil(BLOCK) * self.size);
    }

    /// Compares the planes and bounds of some rows with checksums, as [`Array::check`] does.
    pub(crate) fn check(&self, rows: Range<usize>) -> Result<()> {
        self.columns.check(rows.start / BLOCK * self.size..rows.end.div_ceil(BLOCK) * self.size)?;
        self.bounds.check(rows)
    }

    /// [`check`](Self::check) of all rows, padding included.
    pub(crate) fn check_all(&self) -> Result<()> {
        self.columns.check_all()?;
        self.bounds.check_all()
    }

    /// The bounds of every row.
    pub(crate) fn bounds(&self) -> &[u32] {
        &self.bounds
    }

    /// The blocks that hold `rows`, which start a block.
    pub(crate) fn blocks(&self, rows: Range<usize>) -> &[Column] {
        assert!(rows.start.is_multiple_of(BLOCK), "rows start a block");
        &self.columns[rows.start / BLOCK * self.size..rows.end.div_ceil(BLOCK) * self.size]
    }

    /// Appends the plane of one row.
    pub(crate) fn plane(&self, row: usize, out: &mut Vec<u8>) {
        let block = &self.columns[row / BLOCK * self.size..][..self.size];
        out.extend(block.iter().map(|column| column[row % BLOCK]));
    }

    /// Writes the planes of `rows`, which start a block and do not leave it.
    pub(crate) fn planes(&self, rows: Range<usize>, out: &mut Vec<u8>) {
        out.resize(rows.len() * self.size, 0);
        to_rows(self.blocks(rows), out);
    }

    /// Asks for part `part` of `parts` of the planes of `rows`, which start a block.
    pub(crate) fn prefetch(&self, rows: Range<usize>, part: usize, parts: usize) {
        let columns = self.blocks(rows);
        prefetch(columns[columns.len() * part / parts..columns.len() * (part + 1) / parts].as_flattened());
    }

    /// Bytes held.
    pub(crate) fn nbytes(&self) -> usize {
        self.bounds.len() * self.row_bytes()
    }

    /// Bytes of a row: its plane and its bounds.
    pub(crate) fn row_bytes(&self) -> usize {
        self.size + size_of::<u32>()
    }
}

/// The bounds of packed rows: with integer levels l and their signs s, the ratio ⟨l, l⟩/⟨l, s⟩ that makes the residual orthogonal to l,
/// and the residual's length over √m, rounded up. Integers below 2^53, so float64 rounds each operation once.
fn row_bounds(codec: &TurboQuant, level: Level, packed: &[u8]) -> Vec<u32> {
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
fn rounding_allowance(fours: usize) -> i32 {
    let fours = fours as f64;
    (fours / 2.0).min((0.75 * fours).sqrt()).ceil() as i32
}

/// Queries prepared for the first stage.
#[derive(Debug)]
pub(crate) struct StageQueries {
    size: usize,
    tables: Vec<[u8; ENTRIES]>,
    weights: Vec<Weights>,
    /// What one unit of a row's bounds is worth.
    unit: f32,
}

impl StageQueries {
    /// No queries yet, for a codec that has a first stage.
    pub(crate) fn new(codec: &TurboQuant) -> Option<Self> {
        let size = FirstStage::new(codec)?.size;
        let segment = codec.spec().segments[0];
        let scale = integer_levels(segment.bits, segment.bits, segment.dim).scale;
        let unit = scale / if segment.bits <= 4 { FINE } else { COARSE } as f32;
        Some(Self { size, tables: Vec::new(), weights: Vec::new(), unit })
    }

    /// Appends one rotated query with its norm; `restored` brings a value back from the prepared query to the query or its direction.
    pub(crate) fn push(&mut self, level: Level, rotated: &[f32], norm: f32, restored: impl Fn(f32) -> f32) {
        let first = self.tables.len();
        self.tables.resize(first + self.size, [0; ENTRIES]);
        let top = tabulate(level, rotated, &mut self.tables[first..]);
        let factor = restored((top / f32::from(CENTER)) * self.unit);
        let deviation = restored((DEVIATIONS * norm) * self.unit);
        let fours = 2 * self.size;
        let offset = fours as i32 * i32::from(CENTER) - rounding_allowance(fours);
        self.weights.push(Weights { offset, factor, deviation });
    }

    /// The tables of one query, and what its sums are worth.
    pub(crate) fn query(&self, query: usize) -> (&[[u8; ENTRIES]], Weights) {
        (&self.tables[query * self.size..][..self.size], self.weights[query])
    }

    /// The upper end of one row's score.
    pub(crate) fn upper_end(&self, query: usize, first: &FirstStage, row: usize, scale: f32) -> f32 {
        let (tables, weights) = self.query(query);
        let start = row / BLOCK * BLOCK;
        let sum = planes::sum_of_row(first.blocks(start..row + 1), row - start, tables);
        weights.upper_end(sum, first.bounds[row], scale)
    }
}
