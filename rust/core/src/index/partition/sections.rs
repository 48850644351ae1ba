//! Partitions as sections of an index file, and back.

use std::ops::Range;
use std::sync::Arc;

use super::Partition;
use crate::codec::TurboQuant;
use crate::error::Result;
use crate::index::file::{Chunk, Entry, Kind};
use crate::kernels::planes::{BLOCK, Column, from_rows};
use crate::metric::Metric;
use crate::parallel::Exec;
use crate::scan::FirstStage;
use crate::storage::{Array, Plain, bytes_of};

/// Rows that are written or cut anew at a time.
const ROWS: usize = 4_096;

/// Takes the bytes of a section one after another.
pub(in crate::index) type Sink<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

/// Rows of partitions of one codec that a chunk holds together.
pub(in crate::index) struct Pieces<'a> {
    pieces: Vec<(&'a Partition, Range<usize>)>,
    rows: usize,
}

impl<'a> Pieces<'a> {
    /// The rows whose numbers are at least `from`.
    pub(in crate::index) fn from_number(partitions: impl Iterator<Item = &'a Partition>, from: usize) -> Self {
        let piece = |partition: &'a Partition| (partition, partition.places_of(from..usize::MAX));
        let pieces: Vec<_> = partitions.map(piece).filter(|(_, places)| !places.is_empty()).collect();
        Self { rows: pieces.iter().map(|(_, places)| places.len()).sum(), pieces }
    }

    /// How many there are.
    pub(in crate::index) fn rows(&self) -> usize {
        self.rows
    }

    /// The sections that hold them, as partition `number` of a chunk of `all` rows.
    pub(in crate::index) fn entries(&self, number: usize, all: usize) -> Vec<Entry> {
        let Some((partition, _)) = self.pieces.first() else { return Vec::new() };
        let rows = self.rows;
        let mut entries = Vec::new();
        let mut add = |kind, stage, width, len| entries.push(Entry::new(kind, number, stage, width, len));
        if let Some(first) = &partition.first {
            add(Kind::Blocks, 0, first.plane_bytes(), rows.next_multiple_of(BLOCK) * first.plane_bytes());
        }
        for (i, stage) in partition.stages.iter().enumerate().skip(usize::from(partition.first.is_some())) {
            add(Kind::Stage, i, stage.stride, rows * stage.stride);
        }
        if partition.first.as_ref().is_some_and(|first| !first.is_whole()) {
            add(bounds_kind(&partition.codec), 0, 4, 4 * rows);
        }
        let norms = partition.codec.spec().norms();
        add(Kind::Scales, 0, 4 * norms, 4 * norms * rows);
        if !partition.squares.is_empty() {
            add(Kind::Squares, 0, 4, 4 * rows);
        }
        if rows < all {
            add(Kind::Numbers, 0, 8, 8 * rows);
        }
        entries
    }

    /// Writes the content of one of these sections; numbers of rows count from `from`.
    pub(in crate::index) fn write(&self, entry: &Entry, from: usize, out: &mut Sink<'_>) -> Result<()> {
        if entry.kind == Kind::Blocks {
            return self.write_blocks(out);
        }
        for (partition, places) in &self.pieces {
            // A few rows at a time, so that a mapped file is compared with its checksums before it is copied.
            for first in places.clone().step_by(ROWS) {
                let some = first..places.end.min(first + ROWS);
                match entry.kind {
                    Kind::Stage => {
                        let stage = &partition.stages[usize::from(entry.stage)];
                        stage.check(some.clone())?;
                        out(&stage.bytes[some.start * stage.stride..some.end * stage.stride])?;
                    }
                    Kind::Bounds | Kind::FittedBounds => {
                        let stage = partition.first.as_ref().expect("bounds belong to a first stage in blocks");
                        stage.check(some.clone())?;
                        numbers(stage.bounds(some), out)?;
                    }
                    Kind::Scales => {
                        partition.check_first(some.clone())?;
                        let norms = partition.codec.spec().norms();
                        numbers(&partition.scales[some.start * norms..some.end * norms], out)?;
                    }
                    Kind::Squares => {
                        partition.check_first(some.clone())?;
                        numbers(&partition.squares[some], out)?;
                    }
                    _ => {
                        partition.check_first(some.clone())?;
                        let some: Vec<_> = some.map(|place| (partition.number(place) - from) as u64).collect();
                        numbers(&some, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes the first stage. Rows that leave a block where they stood are turned to rows and back.
    fn write_blocks(&self, out: &mut Sink<'_>) -> Result<()> {
        let (mut waiting, mut columns) = (Vec::new(), Vec::new());
        for (partition, places) in &self.pieces {
            let first = partition.first.as_ref().expect("pieces of one codec have a first stage alike");
            let size = first.plane_bytes();
            columns.resize(size, [0; BLOCK]);
            let mut place = places.start;
            while place < places.end {
                let end = places.end.min((place + 1).next_multiple_of(BLOCK));
                first.check(place / BLOCK * BLOCK..end)?;
                if waiting.is_empty() && end - place == BLOCK {
                    out(first.blocks(place..end).as_flattened())?;
                    place = end;
                    continue;
                }
                let room = BLOCK - waiting.len() / size;
                let some = place..end.min(place + room);
                place = some.end;
                some.for_each(|row| first.plane(row, &mut waiting));
                if waiting.len() == BLOCK * size {
                    block(&mut waiting, &mut columns, out)?;
                }
            }
        }
        if waiting.is_empty() { Ok(()) } else { block(&mut waiting, &mut columns, out) }
    }
}

/// The rows of a first stage of `size` bytes, which earlier files hold in blocks of 64 rows.
fn long_blocks(number: usize, size: usize, rows: usize, chunk: &mut Chunk<'_>) -> Result<Vec<u8>> {
    const LONG: usize = 64;
    let columns: Array<[u8; LONG]> =
        chunk.array(Kind::LongBlocks, number, 0, size, rows.div_ceil(LONG) * size, any())?;
    columns.check_all()?;
    let mut packed = vec![0; rows * size];
    for (block, rows) in columns.chunks(size).zip(packed.chunks_mut(LONG * size)) {
        for (r, row) in rows.chunks_exact_mut(size).enumerate() {
            row.iter_mut().zip(block).for_each(|(byte, column)| *byte = column[r]);
        }
    }
    Ok(packed)
}

/// Packed rows in blocks.
fn in_blocks(packed: &[u8], size: usize) -> Array<Column> {
    let mut blocks = Array::default();
    let columns = blocks.to_mut();
    for rows in packed.chunks(BLOCK * size) {
        let first = columns.len();
        columns.resize(first + size, [0; BLOCK]);
        from_rows(rows, size, 0, &mut columns[first..]);
    }
    blocks
}

/// Writes waiting rows as a block.
fn block(waiting: &mut Vec<u8>, columns: &mut [Column], out: &mut Sink<'_>) -> Result<()> {
    columns.fill([0; BLOCK]);
    from_rows(waiting, columns.len(), 0, columns);
    waiting.clear();
    out(columns.as_flattened())
}

/// Writes numbers in the order of files.
pub(in crate::index) fn numbers<T: Plain>(values: &[T], out: &mut Sink<'_>) -> Result<()> {
    if cfg!(target_endian = "little") {
        return out(bytes_of(values));
    }
    let values: Vec<_> = values.iter().map(|value| value.swapped_if_big()).collect();
    out(bytes_of(&values))
}

impl Partition {
    /// Partition `number` of a chunk, of `rows` of all its rows, whose numbers count from `base`.
    pub(in crate::index) fn from_chunk(
        codec: Arc<TurboQuant>,
        number: usize,
        (rows, all): (usize, usize),
        base: usize,
        metric: Metric,
        chunk: &mut Chunk<'_>,
    ) -> Result<Self> {
        let mut made = Self::new(codec, base);
        if rows == 0 {
            return Ok(made);
        }
        made.len = rows;
        let fitted = made.codec.spec().fitted.is_some() && made.first.is_some();
        if fitted && chunk.width_of(Kind::Bounds, number).is_some() {
            made.take_earlier_stages(number, chunk)?;
        } else {
            made.take_stages(number, chunk)?;
        }
        let norms = made.codec.spec().norms();
        made.scales = chunk.array(Kind::Scales, number, 0, 4 * norms, norms * rows, floats(f32::MIN, "finite"))?;
        if metric == Metric::L2 {
            made.squares = chunk.array(Kind::Squares, number, 0, 4, rows, floats(0.0, "finite and at least 0"))?;
        }
        if rows < all {
            made.numbers = chunk.array(Kind::Numbers, number, 0, 8, rows, ascending(all as u64))?;
        }
        Ok(made)
    }

    /// Takes the codes and bounds of as many rows as there are.
    fn take_stages(&mut self, number: usize, chunk: &mut Chunk<'_>) -> Result<()> {
        let rows = self.len;
        let mut columns = None;
        if let Some(first) = &self.first {
            let size = first.plane_bytes();
            columns = Some(if first.is_whole() && chunk.next_section(Kind::Stage).is_some() {
                // As files held codes of 1 bit before they were scanned in blocks.
                let packed: Array<u8> = chunk.array(Kind::Stage, number, 0, size, rows * size, any())?;
                packed.check_all()?;
                in_blocks(&packed, size)
            } else if chunk.width_of(Kind::LongBlocks, number).is_some() {
                in_blocks(&long_blocks(number, size, rows, chunk)?, size)
            } else {
                chunk.array(Kind::Blocks, number, 0, size, rows.div_ceil(BLOCK) * size, any())?
            });
        }
        for (i, stage) in self.stages.iter_mut().enumerate().skip(usize::from(columns.is_some())) {
            stage.bytes = chunk.array(Kind::Stage, number, i, stage.stride, rows * stage.stride, any())?;
        }
        if let (Some(columns), Some(first)) = (columns, self.first.take()) {
            let bounds = if first.is_whole() {
                Array::default()
            } else {
                chunk.array(bounds_kind(&self.codec), number, 0, 4, rows, any())?
            };
            self.first = Some(first.with_arrays(rows, columns, bounds));
        }
        Ok(())
    }

    /// Takes codes of a fitted codec as files held them before, with a first stage of other bytes or other bounds: they are put in
    /// memory as rows and cut anew.
    fn take_earlier_stages(&mut self, number: usize, chunk: &mut Chunk<'_>) -> Result<()> {
        let (rows, stride) = (self.len, self.codec.row_bytes());
        // A width that no stage has is refused with the section, whose bytes it does not fit, or with the next one.
        let size = chunk.width_of(Kind::LongBlocks, number).map_or(1, |width| width.clamp(1, stride - 1));
        let planes = long_blocks(number, size, rows, chunk)?;
        let rest: Array<u8> = chunk.array(Kind::Stage, number, 1, stride - size, rows * (stride - size), any())?;
        let bounds: Array<u32> = chunk.array(Kind::Bounds, number, 0, 4, rows, any())?;
        rest.check_all()?;
        bounds.check_all()?;
        let exec = Exec::default().settled()?;
        let (mut packed, cut) = (Vec::new(), self.stages[0].stride);
        let first = self.first.as_mut().expect("bounds belong to a first stage");
        let bytes = self.stages[1].bytes.to_mut();
        for (planes, rest) in planes.chunks(ROWS * size).zip(rest.chunks(ROWS * (stride - size))) {
            packed.clear();
            for (plane, rest) in planes.chunks(size).zip(rest.chunks(stride - size)) {
                packed.extend_from_slice(plane);
                packed.extend_from_slice(rest);
            }
            first.append(&self.codec, &packed, exec.level()?, exec);
            packed.chunks(stride).for_each(|row| bytes.extend_from_slice(&row[cut..]));
        }
        Ok(())
    }

    /// Appends the rows of another partition of the same codec, which numbers the rows that follow on this one's group.
    pub(in crate::index) fn extend(&mut self, other: &Self) {
        let shift = (other.base - self.base) as u64;
        if !(self.numbers.is_empty() && other.numbers.is_empty() && shift == self.len as u64) {
            if self.numbers.is_empty() {
                self.numbers = (0..self.len as u64).collect();
            }
            let numbers = self.numbers.to_mut();
            match &other.numbers[..] {
                [] => numbers.extend((0..other.len as u64).map(|number| number + shift)),
                some => numbers.extend(some.iter().map(|number| number + shift)),
            }
        }
        if let (Some(first), Some(other_first)) = (&mut self.first, &other.first) {
            first.extend(other_first, 0..other.len);
        }
        for (stage, other) in self.stages.iter_mut().zip(&other.stages) {
            stage.bytes.to_mut().extend_from_slice(&other.bytes);
        }
        self.scales.to_mut().extend_from_slice(&other.scales);
        self.squares.to_mut().extend_from_slice(&other.squares);
        self.len += other.len;
    }

    /// Compares all that is in a mapped file with its checksums.
    pub(in crate::index) fn check_all(&self) -> Result<()> {
        self.first.iter().try_for_each(FirstStage::check_all)?;
        self.stages.iter().try_for_each(|stage| stage.bytes.check_all())?;
        self.scales.check_all()?;
        self.squares.check_all()?;
        self.numbers.check_all()
    }
}

/// The kind of section that holds a codec's bounds.
fn bounds_kind(codec: &TurboQuant) -> Kind {
    if codec.spec().fitted.is_some() { Kind::FittedBounds } else { Kind::Bounds }
}

/// What is wrong in a block of bytes: nothing.
fn any() -> crate::storage::Checks {
    Box::new(|_| None)
}

/// Looks for floats that are not finite or below the least.
pub(in crate::index) fn floats(least: f32, expected: &'static str) -> crate::storage::Checks {
    Box::new(move |bytes| {
        let mut values = bytes.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word));
        let at = values.clone().position(|value| !(value.is_finite() && value >= least))?;
        Some((4 * at, format!("{} where values are {expected}", values.nth(at).unwrap_or_default())))
    })
}

/// Looks for numbers of rows that are out of order or not below `rows`.
fn ascending(rows: u64) -> crate::storage::Checks {
    Box::new(move |bytes| {
        let mut before = None;
        for (i, &word) in bytes.as_chunks().0.iter().enumerate() {
            let number = u64::from_le_bytes(word);
            if number >= rows || before.is_some_and(|before| before >= number) {
                return Some((8 * i, format!("{number}, which is out of order or not below {rows}")));
            }
            before = Some(number);
        }
        None
    })
}
