//! Rows of one codec in an index: one array a stage, and where the rows stand in the order of adding.

mod sections;

use std::ops::Range;
use std::sync::Arc;

use super::gone::{Gone, Ranks, retain};
use crate::bitmap::{Bitmap, WORD};
use crate::codec::{EncodeOptions, Segment, TurboQuant};
use crate::error::Result;
use crate::kernels::Level;
use crate::kernels::prefetch::prefetch;
use crate::kernels::units::{Place, unit_bytes};
use crate::parallel::Exec;
use crate::scan::{FirstStage, Rows};
use crate::storage::Array;
use crate::units::{Unit, stage_ends};
pub(super) use sections::{Pieces, Sink, floats, numbers};

#[derive(Debug, Clone)]
pub(super) struct Partition {
    codec: Arc<TurboQuant>,
    /// One row-major array a stage, so that a scan can read the first stage alone; that of the first is empty where `first` holds it.
    stages: Vec<Stage>,
    /// The first stage in blocks of rows, where a code has a later one.
    first: Option<FirstStage>,
    scales: Array<f32>,
    /// |x|² of every row with metric l2, else empty.
    squares: Array<f32>,
    len: usize,
    /// The number, in the order of adding, from which those of the rows are counted.
    base: usize,
    /// Numbers of the rows, less the base, ascending; empty while they are 0, 1, 2 ….
    numbers: Array<u64>,
    /// The places of removed rows.
    gone: Bitmap,
}

/// Codes of a block's rows that the fitted codec codes badly.
pub(super) struct PlainRows {
    pub(super) packed: Vec<u8>,
    pub(super) scales: Vec<f32>,
}

/// What is told of all rows of an added block.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    /// The number of its first row.
    pub(super) first: usize,
    /// |x|² with metric l2, else empty.
    pub(super) squares: &'a [f32],
    pub(super) badly: &'a [bool],
    /// How bounds are computed.
    pub(super) level: Level,
    pub(super) exec: Exec,
}

/// The units of one stage, of all segments.
#[derive(Debug, Clone, Default)]
struct Stage {
    units: Vec<StageUnit>,
    stride: usize,
    bytes: Array<u8>,
}

#[derive(Debug, Clone, Copy)]
struct StageUnit {
    segment: usize,
    /// Where it lies in a packed row.
    unit: Unit,
    /// Its first byte in the stage's row, and how many it has.
    at: usize,
    len: usize,
}

impl Stage {
    /// Compares some rows with checksums, as [`Array::check`] does; the stage that is in blocks elsewhere has none.
    fn check(&self, rows: Range<usize>) -> Result<()> {
        if self.bytes.is_empty() { Ok(()) } else { self.bytes.check(rows.start * self.stride..rows.end * self.stride) }
    }
}

impl Partition {
    /// No rows yet; numbers of rows count from `base`.
    pub(super) fn new(codec: Arc<TurboQuant>, base: usize) -> Self {
        let first = FirstStage::new(&codec);
        let stages = stages(&codec, first.as_ref());
        let (scales, squares, numbers) = (Array::default(), Array::default(), Array::default());
        Self { codec, stages, first, scales, squares, len: 0, base, numbers, gone: Bitmap::NONE }
    }

    pub(super) fn codec(&self) -> &Arc<TurboQuant> {
        &self.codec
    }

    /// The same rows, whose numbers count from so many more.
    pub(super) fn moved(self, by: usize) -> Self {
        Self { base: self.base + by, ..self }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// |x|² of the rows in some places; empty without metric l2.
    pub(super) fn squares_of(&self, places: Range<usize>) -> &[f32] {
        if self.squares.is_empty() { &[] } else { &self.squares[places] }
    }

    /// The number, in the order of adding, of the row in a place.
    #[inline]
    pub(super) fn number(&self, place: usize) -> usize {
        self.base + if self.numbers.is_empty() { place } else { self.numbers[place] as usize }
    }

    /// The ids of the rows in some places, at most a word, of all ids by number; those that do not lie there go to `buffer`.
    pub(super) fn ids_of<'i>(
        &self,
        places: Range<usize>,
        all: &'i [i64],
        buffer: &'i mut [i64; WORD],
    ) -> &'i [i64; WORD] {
        if self.numbers.is_empty()
            && let Ok(ids) = all[self.base..][places.clone()].try_into()
        {
            return ids;
        }
        buffer.iter_mut().zip(places).for_each(|(id, place)| *id = all[self.number(place)]);
        buffer
    }

    /// The place of a row by its number.
    pub(super) fn place(&self, number: usize) -> Option<usize> {
        let number = number.checked_sub(self.base)?;
        if self.numbers.is_empty() {
            Some(number).filter(|&number| number < self.len)
        } else {
            self.numbers.binary_search(&(number as u64)).ok()
        }
    }

    /// The places of rows with numbers in a range.
    pub(super) fn places_of(&self, numbers: Range<usize>) -> Range<usize> {
        let place = |number: usize| {
            let number = number.saturating_sub(self.base);
            match &self.numbers[..] {
                [] => number.min(self.len),
                numbers => numbers.partition_point(|&other| other < number as u64),
            }
        };
        place(numbers.start)..place(numbers.end)
    }

    /// Notes that the row in a place is removed.
    pub(super) fn remove(&mut self, place: usize) {
        self.gone.grow(self.len);
        self.gone.insert(place);
    }

    /// The places of removed rows, if there are any.
    pub(super) fn gone(&self) -> Option<&Bitmap> {
        Some(&self.gone).filter(|gone| **gone != Bitmap::NONE)
    }

    /// Whether its rows are in a mapped file.
    pub(super) fn is_mapped(&self) -> bool {
        self.scales.is_mapped()
    }

    /// Compares the numbers of its rows with checksums, where they are in a mapped file and that has not been done.
    pub(super) fn check_numbers(&self) -> Result<()> {
        self.numbers.check_all()
    }

    /// Compares what a scan of some rows reads first with checksums, where it is in a mapped file and that has not been done.
    pub(super) fn check_first(&self, rows: Range<usize>) -> Result<()> {
        let norms = self.codec.spec().norms();
        self.check_numbers()?;
        self.first.iter().try_for_each(|first| first.check(rows.clone()))?;
        self.scales.check(rows.start * norms..rows.end * norms)?;
        if self.squares.is_empty() { Ok(()) } else { self.squares.check(rows) }
    }

    /// [`check_first`](Self::check_first), and of all other stages of some rows.
    pub(super) fn check(&self, rows: Range<usize>) -> Result<()> {
        self.check_first(rows.clone())?;
        self.stages.iter().try_for_each(|stage| stage.check(rows.clone()))
    }

    /// Encodes the rows of a block that are told to be coded badly by another codec.
    pub(super) fn encode(&self, x: &[f32], badly: &[bool], unit_norm: bool, exec: Exec) -> Result<PlainRows> {
        let mut rows = Vec::new();
        let told = x.chunks_exact(self.codec.dim()).zip(badly).filter(|(_, badly)| **badly);
        told.for_each(|(row, _)| rows.extend_from_slice(row));
        let n = rows.len() / self.codec.dim();
        let (mut packed, mut scales) = (vec![0; n * self.codec.row_bytes()], vec![0.0; n * self.codec.spec().norms()]);
        let options = EncodeOptions { unit_norm, ..EncodeOptions::default() };
        self.codec.encode_into(&rows, &mut packed, &mut scales, options, exec)?;
        Ok(PlainRows { packed, scales })
    }

    /// Appends the rows of a block for which `badly` is `own`. `packed` and `scales` hold all rows of the block, or only those to append.
    pub(super) fn append(&mut self, block: Block<'_>, packed: &[u8], scales: &[f32], own: bool) {
        let Block { first, squares, badly, level, exec } = block;
        let (bytes, norms) = (self.codec.row_bytes(), self.codec.spec().norms());
        let all = packed.len() == badly.len() * bytes;
        let rows = badly.iter().enumerate().filter(|(_, badly)| **badly == own);
        let in_arrays = usize::from(self.first.is_some())..;
        let more = rows.clone().count();
        self.stages[in_arrays.clone()].iter_mut().for_each(|stage| _ = stage.bytes.with_room(more * stage.stride));
        self.scales.with_room(more * norms);
        self.squares.with_room(if squares.is_empty() { 0 } else { more });
        let mut chosen = Vec::new();
        for (next, (row, _)) in rows.enumerate() {
            let at = if all { row } else { next };
            let number = first + row - self.base;
            if self.numbers.is_empty() && number != self.len {
                self.numbers = (0..self.len as u64).collect();
                self.numbers.to_mut().push(number as u64);
            } else if !self.numbers.is_empty() {
                self.numbers.to_mut().push(number as u64);
            }
            let packed = &packed[at * bytes..][..bytes];
            chosen.push(at);
            for stage in &mut self.stages[in_arrays.clone()] {
                for unit in &stage.units {
                    stage.bytes.to_mut().extend_from_slice(&packed[unit.unit.offset..][..unit.len]);
                }
            }
            self.scales.to_mut().extend_from_slice(&scales[at * norms..][..norms]);
            self.squares.to_mut().extend(squares.get(row));
            self.len += 1;
        }
        if let Some(stage) = &mut self.first {
            if chosen.len() * bytes == packed.len() {
                stage.append(&self.codec, packed, level, exec);
            } else {
                let rows: Vec<_> = chosen.iter().flat_map(|at| &packed[at * bytes..][..bytes]).copied().collect();
                stage.append(&self.codec, &rows, level, exec);
            }
        }
    }

    /// Drops the rows from number `rows` on.
    pub(super) fn truncate(&mut self, rows: usize) {
        let rows = rows.saturating_sub(self.base);
        let kept = match &self.numbers[..] {
            [] => rows.min(self.len),
            numbers => numbers.partition_point(|&number| number < rows as u64),
        };
        if kept == self.len {
            return;
        }
        self.stages.iter_mut().for_each(|stage| stage.bytes.to_mut().truncate(kept * stage.stride));
        self.first.iter_mut().for_each(|first| first.truncate(kept));
        self.scales.to_mut().truncate(kept * self.codec.spec().norms());
        self.squares.to_mut().truncate(kept);
        self.numbers.to_mut().truncate(kept);
        self.leave_out_numbers();
        self.len = kept;
    }

    /// Leaves numbers out that are 0, 1, 2 ….
    fn leave_out_numbers(&mut self) {
        if (0..).zip(&*self.numbers).all(|(place, &number)| place == number) {
            self.numbers = Array::default();
        }
    }

    /// Keeps the rows that are not gone, under their new numbers.
    pub(super) fn compact(&mut self, gone: &Gone, ranks: &Ranks<'_>) {
        let (base, numbers) = (ranks.of(self.base), std::mem::take(&mut self.numbers));
        let number = |place: usize| self.base + if numbers.is_empty() { place } else { numbers[place] as usize };
        let stays = |place: usize| !gone.holds(number(place));
        let left = (0..self.len).filter(|&place| stays(place)).count();
        if left < self.len {
            self.stages.iter_mut().for_each(|stage| retain(&mut stage.bytes, stage.stride, stays));
            self.first.iter_mut().for_each(|first| first.retain(stays));
            retain(&mut self.scales, self.codec.spec().norms(), stays);
            retain(&mut self.squares, 1, stays);
        }
        if !numbers.is_empty() {
            let new = numbers.iter().map(|&number| self.base + number as usize).filter(|&number| !gone.holds(number));
            self.numbers = new.map(|number| (ranks.of(number) - base) as u64).collect();
            self.leave_out_numbers();
        }
        (self.len, self.base, self.gone) = (left, base, Bitmap::NONE);
    }

    /// Appends the packed rows in the given places, and their scales.
    pub(super) fn pack(&self, places: &[usize], packed: &mut Vec<u8>, scales: &mut Vec<f32>) -> Result<()> {
        let (stride, norms, first) = (self.codec.row_bytes(), self.codec.spec().norms(), packed.len());
        packed.resize(first + places.len() * stride, 0);
        let mut plane = Vec::new();
        for (&place, packed) in places.iter().zip(packed[first..].chunks_exact_mut(stride)) {
            self.check(place..place + 1)?;
            let mut arrays = &self.stages[..];
            if let (Some(first), [_, others @ ..]) = (&self.first, arrays) {
                plane.clear();
                first.plane(place, &mut plane);
                packed[..plane.len()].copy_from_slice(&plane);
                arrays = others;
            }
            for stage in arrays {
                for unit in &stage.units {
                    let bytes = &stage.bytes[place * stage.stride + unit.at..][..unit.len];
                    packed[unit.unit.offset..][..unit.len].copy_from_slice(bytes);
                }
            }
            scales.extend_from_slice(&self.scales[place * norms..][..norms]);
        }
        Ok(())
    }

    /// Decoded rows in the given places.
    pub(super) fn decode(&self, places: &[usize], exec: Exec) -> Result<Vec<f32>> {
        let (mut packed, mut scales) = (Vec::new(), Vec::new());
        self.pack(places, &mut packed, &mut scales)?;
        let mut out = vec![0.0; places.len() * self.codec.dim()];
        self.codec.decode_rows(&packed, &scales, &self.codec.spec().full(), &mut out, exec)?;
        Ok(out)
    }

    /// Appends the packed row in a place, of codes with a first stage, whose rows have been checked there.
    pub(super) fn row(&self, place: usize, out: &mut Vec<u8>) -> Result<()> {
        let first =
            self.first.as_ref().expect("a first stage, whose units and those of later stages are a row in order");
        first.plane(place, out);
        for stage in &self.stages[1..] {
            stage.check(place..place + 1)?;
            out.extend_from_slice(&stage.bytes[place * stage.stride..][..stage.stride]);
        }
        Ok(())
    }

    /// Asks for what a scan of the first stage of a block's rows reads.
    pub(super) fn prefetch_first(&self, rows: Range<usize>) {
        if let Some(first) = &self.first {
            first.prefetch(rows.clone(), 0, 1);
            prefetch(first.bounds(rows.clone()));
        }
        prefetch(self.squares_of(rows.clone()));
        prefetch(&self.scales[rows]);
    }

    /// Asks for a row of codes with a first stage.
    pub(super) fn prefetch(&self, place: usize) {
        self.first.iter().for_each(|first| first.prefetch_row(place));
        self.stages[1..].iter().for_each(|stage| prefetch(&stage.bytes[place * stage.stride..][..stage.stride]));
    }

    /// Where its units lie.
    pub(super) fn rows(&self) -> Rows<'_> {
        let arrays = self.stages.iter().map(|stage| &stage.bytes[..]);
        Rows { segments: self.units(arrays), scales: &self.scales, first: self.first.as_ref() }
    }

    /// For each segment its units: the array of its stage, and the place in it.
    fn units<'a>(&self, arrays: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<(&'a [u8], Place)>> {
        let mut segments = vec![Vec::new(); self.codec.segments.len()];
        for (stage, array) in self.stages.iter().zip(arrays) {
            for unit in &stage.units {
                let place = Place { offset: unit.at, ..unit.unit.place(stage.stride) };
                segments[unit.segment].push((array, place));
            }
        }
        segments
    }

    /// The first stage in blocks, and the scales of all rows.
    pub(super) fn first(&self) -> Option<(&FirstStage, &[f32])> {
        Some((self.first.as_ref()?, &self.scales))
    }

    /// Bytes that a scan of a row in full reads: its code, scales and |x|².
    pub(super) fn row_bytes(&self) -> usize {
        self.codec.row_bytes() + 4 * self.codec.spec().norms() + self.square_bytes()
    }

    /// Bytes that a scan of a row's first stage reads: that stage, its bounds, the scale and |x|².
    pub(super) fn first_stage_bytes(&self) -> usize {
        self.first.as_ref().map_or(0, FirstStage::row_bytes) + 4 * self.codec.spec().norms() + self.square_bytes()
    }

    fn square_bytes(&self) -> usize {
        if self.squares.is_empty() { 0 } else { size_of::<f32>() }
    }

    /// Bytes held: codes, scales, bounds of the first stage, squared norms and numbers; the codec apart.
    pub(super) fn nbytes(&self) -> usize {
        let codes: usize = self.stages.iter().map(|stage| stage.bytes.len()).sum();
        let codes = codes + self.first.as_ref().map_or(0, FirstStage::nbytes);
        codes + 4 * (self.scales.len() + self.squares.len()) + self.numbers.nbytes() + self.gone.nbytes()
    }
}

/// Rows copied together from the stages of a partition.
#[derive(Default)]
pub(super) struct Gathered {
    stages: Vec<Vec<u8>>,
    scales: Vec<f32>,
    pub(super) squares: Vec<f32>,
}

impl Gathered {
    /// Copies the rows in the given places of a partition, of which what a scan reads first has been checked.
    pub(super) fn fill(&mut self, from: &Partition, places: impl Iterator<Item = usize> + Clone) -> Result<()> {
        self.stages.resize_with(from.stages.len(), Vec::new);
        for (i, (to, stage)) in self.stages.iter_mut().zip(&from.stages).enumerate() {
            to.clear();
            for place in places.clone() {
                match &from.first {
                    Some(first) if i == 0 => first.plane(place, to),
                    _ => {
                        stage.check(place..place + 1)?;
                        to.extend_from_slice(&stage.bytes[place * stage.stride..][..stage.stride]);
                    }
                }
            }
        }
        self.scales.clear();
        let norms = from.codec.spec().norms();
        self.scales.extend(places.clone().flat_map(|place| &from.scales[place * norms..][..norms]));
        self.squares.clear();
        self.squares.extend(places.filter_map(|place| from.squares.get(place)));
        Ok(())
    }

    /// The bytes of the first stages, one row after another.
    pub(super) fn first_stages(&self) -> &[u8] {
        &self.stages[0]
    }

    /// Where their units lie.
    pub(super) fn rows<'a>(&'a self, from: &Partition) -> Rows<'a> {
        let arrays = self.stages.iter().map(|bytes| &bytes[..]);
        Rows { segments: from.units(arrays), scales: &self.scales, first: None }
    }
}

/// The empty stages of a codec: units go to the stage in which their lowest bit falls. Those of a fitted codec keep their order, and all
/// after the first stage are read together.
fn stages(codec: &TurboQuant, first: Option<&FirstStage>) -> Vec<Stage> {
    let first_bytes = first.map_or(codec.row_bytes(), FirstStage::size);
    let spec = codec.spec();
    let units = spec.units(&spec.full());
    let units = units.iter().enumerate().flat_map(|(i, units)| units.iter().map(move |unit| (i, *unit)));
    let mut units: Vec<_> = units.collect();
    units.sort_by_key(|(_, unit)| unit.offset);
    let mut stages: Vec<Stage> = Vec::new();
    for (i, unit) in units {
        let Segment { dim, bits, .. } = spec.segments[i];
        let at = if spec.fitted.is_some() {
            usize::from(unit.offset >= first_bytes)
        } else {
            let read = bits - unit.shift;
            stage_ends(bits).iter().position(|&end| read <= end).expect("the last stage ends at bits")
        };
        stages.resize_with(stages.len().max(at + 1), Stage::default);
        let stage = &mut stages[at];
        let len = unit_bytes(dim, unit.width);
        stage.units.push(StageUnit { segment: i, unit, at: stage.stride, len });
        stage.stride += len;
    }
    stages
}
