//! The first stage of an index's rows in blocks of 16 rows, and what bounds a score from it (docs/numerics.md section 12).

use std::ops::Range;
use std::sync::Arc;

use super::linear_stage::LinearStage;
use super::sign_stage;
use crate::codec::TurboQuant;
use crate::error::Result;
use crate::kernels::Level;
use crate::kernels::planes::{BLOCK, Column, from_rows, to_rows};
use crate::kernels::prefetch::prefetch;
use crate::parallel::Exec;
use crate::storage::Array;

/// Rows whose bounds are computed together.
const ROWS: usize = 256;

/// What the bits of a first stage are worth.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// The sign plane of a plain code of at least 2 bits, and what rounding adds to the error of its estimates.
    Signs { rounding: f32 },
    /// The first units of a fitted code.
    Linear(Arc<LinearStage>),
    /// All of a plain code of 1 bit: rounding is the only error of an estimate.
    Whole,
}

/// First stages and bounds of rows.
#[derive(Debug, Clone)]
pub(crate) struct FirstStage {
    kind: Kind,
    /// Bytes of a row's stage.
    size: usize,
    /// Blocks of 16 rows, `size` columns each.
    columns: Array<Column>,
    /// The ratio of a row in the low half, its spread in the high one; none where the stage is the whole code.
    bounds: Array<u32>,
    rows: usize,
}

impl FirstStage {
    /// The first stage of a plain codec, or of a fitted one of at least 2 units.
    pub(crate) fn new(codec: &TurboQuant) -> Option<Self> {
        let (kind, size) = match codec.spec().segments[..] {
            [segment] if codec.spec().fitted.is_none() => {
                let size = segment.dim.div_ceil(8);
                let signs = || Kind::Signs { rounding: sign_stage::rounding(codec, size) };
                (if segment.bits == 1 { Kind::Whole } else { signs() }, size)
            }
            _ => {
                let stage = LinearStage::new(codec)?;
                let size = stage.size;
                (Kind::Linear(Arc::new(stage)), size)
            }
        };
        Some(Self { kind, size, columns: Array::default(), bounds: Array::default(), rows: 0 })
    }

    /// What its bits are worth.
    pub(super) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether it is all of a row's code, so that it cuts no score.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.kind, Kind::Whole)
    }

    /// Bytes of a row.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Appends the planes and bounds of packed rows.
    pub(crate) fn append(&mut self, codec: &TurboQuant, packed: &[u8], level: Level, exec: Exec) {
        let stride = codec.row_bytes();
        let mut first = self.rows;
        self.rows += packed.len() / stride;
        let tasks = packed.chunks(ROWS * stride).collect();
        let bounds = exec.map(tasks, |rows| match &self.kind {
            Kind::Signs { .. } => sign_stage::bounds(codec, level, rows),
            Kind::Linear(stage) => stage.bounds(level, rows, stride),
            Kind::Whole => Vec::new(),
        });
        self.bounds.with_room(self.rows - first).extend(bounds.into_iter().flatten());
        let size = self.rows.div_ceil(BLOCK) * self.size;
        let columns = self.columns.with_room(size - self.columns.len());
        columns.resize(size, [0; BLOCK]);
        let mut rest = packed;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min((BLOCK - first % BLOCK) * stride));
            let block = &mut columns[first / BLOCK * self.size..][..self.size];
            from_rows(now, stride, first % BLOCK, block);
            first += now.len() / stride;
            rest = later;
        }
    }

    /// The same stage with rows that are in a file.
    pub(crate) fn with_arrays(self, rows: usize, columns: Array<Column>, bounds: Array<u32>) -> Self {
        Self { rows, columns, bounds, ..self }
    }

    /// Appends rows of another first stage of the same codec.
    pub(crate) fn extend(&mut self, other: &Self, rows: Range<usize>) {
        let (size, first) = (self.size, self.rows);
        if !self.is_whole() {
            self.bounds.to_mut().extend_from_slice(&other.bounds[rows.clone()]);
        }
        self.rows += rows.len();
        let columns = self.columns.to_mut();
        columns.resize(self.rows.div_ceil(BLOCK) * size, [0; BLOCK]);
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
        self.rows = rows;
        self.bounds.to_mut().truncate(rows);
        self.columns.to_mut().truncate(rows.div_ceil(BLOCK) * self.size);
    }

    /// Compares the planes and bounds of some rows with checksums, as [`Array::check`] does.
    pub(crate) fn check(&self, rows: Range<usize>) -> Result<()> {
        self.columns.check(rows.start / BLOCK * self.size..rows.end.div_ceil(BLOCK) * self.size)?;
        if self.is_whole() { Ok(()) } else { self.bounds.check(rows) }
    }

    /// [`check`](Self::check) of all rows, padding included.
    pub(crate) fn check_all(&self) -> Result<()> {
        self.columns.check_all()?;
        self.bounds.check_all()
    }

    /// Keeps the rows for which `stays` says so, in place.
    pub(crate) fn retain(&mut self, stays: impl Fn(usize) -> bool) {
        let (columns, bounds) = (self.columns.to_mut(), self.bounds.to_mut());
        let mut to = 0;
        for from in (0..self.rows).filter(|&row| stays(row)) {
            if from != to {
                let (old, new) = (from / BLOCK * self.size, to / BLOCK * self.size);
                (0..self.size).for_each(|i| columns[new + i][to % BLOCK] = columns[old + i][from % BLOCK]);
                if !bounds.is_empty() {
                    bounds[to] = bounds[from];
                }
            }
            to += 1;
        }
        self.rows = to;
        bounds.truncate(to);
        bounds.shrink_to_fit();
        columns.truncate(to.div_ceil(BLOCK) * self.size);
        columns.shrink_to_fit();
    }

    /// The bounds of some rows, none where the stage is the whole code.
    pub(crate) fn bounds(&self, rows: Range<usize>) -> &[u32] {
        if self.is_whole() { &[] } else { &self.bounds[rows] }
    }

    /// The blocks that hold `rows`, which start a block.
    pub(crate) fn blocks(&self, rows: Range<usize>) -> &[Column] {
        assert!(rows.start.is_multiple_of(BLOCK), "rows start a block");
        &self.columns[rows.start / BLOCK * self.size..rows.end.div_ceil(BLOCK) * self.size]
    }

    /// Appends the plane of one row.
    pub(crate) fn plane(&self, row: usize, out: &mut Vec<u8>) {
        let block = &self.columns[row / BLOCK * self.size..][..self.size];
        let start = out.len();
        out.resize(start + self.size, 0);
        out[start..].iter_mut().zip(block).for_each(|(to, column)| *to = column[row % BLOCK]);
    }

    /// Writes the planes of `rows`, which start a block.
    pub(crate) fn planes(&self, rows: Range<usize>, out: &mut Vec<u8>) {
        out.resize(rows.len() * self.size, 0);
        let blocks = self.blocks(rows).chunks_exact(self.size);
        blocks.zip(out.chunks_mut(BLOCK * self.size)).for_each(|(block, rows)| to_rows(block, rows));
    }

    /// Asks for the block that holds a row.
    pub(crate) fn prefetch_row(&self, row: usize) {
        prefetch(&self.columns[row / BLOCK * self.size..][..self.size]);
    }

    /// Asks for part `part` of `parts` of the planes of `rows`, which start a block.
    pub(crate) fn prefetch(&self, rows: Range<usize>, part: usize, parts: usize) {
        let columns = self.blocks(rows);
        prefetch(columns[columns.len() * part / parts..columns.len() * (part + 1) / parts].as_flattened());
    }

    /// Bytes held.
    pub(crate) fn nbytes(&self) -> usize {
        self.rows * self.row_bytes()
    }

    /// Bytes of a row: its plane and its bounds.
    pub(crate) fn row_bytes(&self) -> usize {
        self.size + if self.is_whole() { 0 } else { size_of::<u32>() }
    }
}
