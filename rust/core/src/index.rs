//! A flat index: an exact scan of codes with three metrics.

mod file;
mod filter;
mod partition;
mod query;
mod search;

use std::collections::HashMap;
use std::sync::Arc;

use crate::codec::{EncodeOptions, TurboQuant};
use crate::codes::CodesView;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::parallel::Exec;
use crate::storage::Array;
use file::Home;
pub use file::INDEX_VERSION;
pub use filter::Filter;
use filter::Numbering;
use partition::{Block, Partition, PlainRows};
pub use query::{Neighbors, SearchOptions, SearchStats, Within};

/// Rows that [`Index::add`] encodes at a time.
const ADD_ROWS: usize = 8_192;

/// An index over codes: every search scans all of them.
///
/// `Send + Sync`; searches take `&self`. Results do not depend on the processor, the threads, the batch or k: the first ten of k = 100 are k = 10.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use turboquant_rs::{Index, Metric, Options, TurboQuant};
/// let codec = Arc::new(TurboQuant::new(4, 8, Options::default())?);
/// let mut index = Index::new(codec, Metric::L2);
/// index.add(&[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0], None)?;
/// assert_eq!(index.search(&[0.1, 0.9, 0.0, 0.0], 2)?.ids, [1, 0]);
/// # Ok::<(), turboquant_rs::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Index {
    metric: Metric,
    /// Rows in the order of adding, in groups of one partition or, of a fitted codec, two: the codec's rows, and those that it codes
    /// badly, as codes of its plain codec. Rows are added to the last group; those before it are in a mapped file or follow on one.
    partitions: Vec<Partition>,
    /// Partitions of a group.
    kinds: usize,
    /// Ids in the order of adding.
    ids: Array<i64>,
    /// The largest id, −1 without any.
    largest: i64,
    /// Place of every id; empty while ids are 0, 1, 2 ….
    places: HashMap<i64, usize>,
    /// What filters say whose rows they hold.
    numbering: Numbering,
    /// The file that it belongs to; a copy belongs to none.
    home: Home,
}

impl Index {
    /// An empty index of `codec`'s codes.
    #[must_use]
    pub fn new(codec: Arc<TurboQuant>, metric: Metric) -> Self {
        let plain = codec.plain().map(|plain| Partition::new(Arc::new(plain), 0));
        let partitions: Vec<_> = [Partition::new(codec, 0)].into_iter().chain(plain).collect();
        let (kinds, ids, places, numbering) = (partitions.len(), Array::default(), HashMap::new(), Numbering::new());
        Self { metric, partitions, kinds, ids, largest: -1, places, numbering, home: Home::default() }
    }

    /// Encodes rows of `dim` values and appends them, under the given ids or the next free ones; returns their ids.
    ///
    /// Rows that a fitted codec codes worse than plain codes would be, since they are unlike its sample, are kept as codes of its
    /// [`plain`](TurboQuant::plain) codec.
    ///
    /// # Errors
    /// As for [`TurboQuant::encode`], with l2 also [`Error::Norm`] from 2^63; [`Error::Argument`] for a wrong number of ids or a negative
    /// one, [`Error::DuplicateId`] for an id that is taken or given twice. The index is then unchanged.
    pub fn add(&mut self, x: &[f32], ids: Option<&[i64]>) -> Result<Vec<i64>> {
        self.add_with(x, ids, Exec::default())
    }

    /// [`add`](Self::add) with a choice of kernels and threads.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub fn add_with(&mut self, x: &[f32], ids: Option<&[i64]>, exec: Exec) -> Result<Vec<i64>> {
        let (codec, exec) = (Arc::clone(self.codec()), exec.settled()?);
        let (rows, dim) = (codec.rows_of("x", x)?, codec.dim());
        let (ids, level) = (self.new_ids(rows, ids)?, exec.level()?);
        let (before, unit_norm) = (self.len(), self.metric == Metric::Cosine);
        let (mut packed, mut scales, mut squares, mut badly) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (i, block) in x.chunks(ADD_ROWS * dim).enumerate() {
            let n = block.len() / dim;
            packed.resize(n * codec.row_bytes(), 0);
            scales.resize(n * codec.spec().norms(), 0.0);
            squares.resize(if self.metric == Metric::L2 { n } else { 0 }, 0.0);
            badly.resize(n, false);
            let options = EncodeOptions {
                unit_norm,
                squares: (self.metric == Metric::L2).then_some(&mut squares[..]),
                badly: (self.kinds > 1).then_some(&mut badly[..]),
            };
            let encoded = codec.encode_into(block, &mut packed, &mut scales, options, exec);
            let encoded = encoded
                .and_then(|()| self.plain().map(|plain| plain.encode(block, &badly, unit_norm, exec)).transpose());
            match encoded {
                Ok(plain) => {
                    let first = before + i * ADD_ROWS;
                    let block = Block { first, squares: &squares, badly: &badly, level, exec };
                    self.append(block, &packed, &scales, plain.as_ref());
                }
                Err(error) => {
                    self.truncate(before);
                    return Err(error.with_first_row(i * ADD_ROWS));
                }
            }
        }
        self.take_ids(&ids);
        Ok(ids)
    }

    /// Appends a block of encoded rows: those that are coded badly to the plain partition.
    fn append(&mut self, block: Block<'_>, packed: &[u8], scales: &[f32], plain: Option<&PlainRows>) {
        let group = self.last_group(block.first);
        group[0].append(block, packed, scales, false);
        if let Some(plain) = plain {
            group[1].append(block, &plain.packed, &plain.scales, true);
        }
    }

    /// The first partition of plain codes of a fitted codec.
    fn plain(&self) -> Option<&Partition> {
        self.partitions[..self.kinds].get(1)
    }

    /// The group that rows are added to: the last one, or after one in a mapped file a new one, whose numbers count from `base`.
    fn last_group(&mut self, base: usize) -> &mut [Partition] {
        let last = self.partitions.len() - self.kinds;
        if self.partitions[last..].iter().any(Partition::is_mapped) {
            let new: Vec<_> =
                self.partitions[..self.kinds].iter().map(|old| Partition::new(old.codec().clone(), base)).collect();
            self.partitions.extend(new);
        }
        let last = self.partitions.len() - self.kinds;
        &mut self.partitions[last..]
    }

    /// Appends rows that [`TurboQuant::encode_into`] made for this metric: with unit norms for cosine, with squares for l2.
    ///
    /// # Errors
    /// [`Error::OtherCodec`] or [`Error::Argument`] if the codes are not whole codes of this index's codec, if `squares` is missing (l2) or
    /// superfluous, or as for [`add`](Self::add) for ids. The index is then unchanged.
    pub fn add_codes<'a>(
        &mut self,
        codes: impl Into<CodesView<'a>>,
        squares: &[f32],
        ids: Option<&[i64]>,
    ) -> Result<Vec<i64>> {
        self.add_split(codes, squares, ids, &[], None)
    }

    /// [`add_codes`](Self::add_codes) with what [`EncodeOptions::badly`] tells of a fitted codec's rows, empty for none, and the codes
    /// of the rows so told, by the codec's [`plain`](TurboQuant::plain) one.
    ///
    /// # Errors
    /// As for [`add_codes`](Self::add_codes), and if the plain codes are not whole codes of the plain codec, one a row coded badly.
    pub fn add_split<'a>(
        &mut self,
        codes: impl Into<CodesView<'a>>,
        squares: &[f32],
        ids: Option<&[i64]>,
        badly: &[bool],
        plain: Option<CodesView<'_>>,
    ) -> Result<Vec<i64>> {
        let codes = codes.into();
        let codec = self.codec();
        codec.check_codes(&codes)?;
        let count = badly.iter().filter(|&&badly| badly).count();
        if !badly.is_empty() && badly.len() != codes.len() {
            return Err(Error::argument("badly", format!("one a row ({})", codes.len()), badly.len()));
        }
        match (&plain, self.plain()) {
            (None, _) if count == 0 => {}
            (Some(plain), Some(partition)) if plain.len() == count => {
                partition.codec().check_codes(plain)?;
            }
            _ => {
                let got = plain.map_or(0, |plain| plain.len());
                return Err(Error::argument("plain", format!("codes of {count} rows of a fitted codec"), got));
            }
        }
        if codes.keep != codec.spec().full() {
            return Err(Error::argument("codes", "whole, not truncated", format!("{:?} bits", codes.keep)));
        }
        let expected = if self.metric == Metric::L2 { codes.len() } else { 0 };
        if squares.len() != expected {
            return Err(Error::argument("squares", format!("{expected} long"), squares.len()));
        }
        if let Some(row) = squares.iter().position(|square| !(square.is_finite() && *square >= 0.0)) {
            let got = format!("{} at row {row}", squares[row]);
            return Err(Error::argument("squares", "finite and at least 0", got));
        }
        let exec = Exec::default().settled()?;
        let (ids, level) = (self.new_ids(codes.len(), ids)?, exec.level()?);
        let whole = vec![false; if badly.is_empty() { codes.len() } else { 0 }];
        let badly = if badly.is_empty() { &whole[..] } else { badly };
        let plain = plain.map(|plain| PlainRows { packed: plain.packed.to_vec(), scales: plain.scales.to_vec() });
        let block = Block { first: self.len(), squares, badly, level, exec };
        self.append(block, codes.packed, codes.scales, plain.as_ref());
        self.take_ids(&ids);
        Ok(ids)
    }

    /// Decoded rows of the given ids, dim values each. With cosine they are approximations of x/|x|.
    ///
    /// # Errors
    /// [`Error::UnknownId`] for an id that is not in the index.
    pub fn reconstruct(&self, ids: &[i64]) -> Result<Vec<f32>> {
        self.reconstruct_with(ids, Exec::default())
    }

    /// [`reconstruct`](Self::reconstruct) with a choice of kernels and threads.
    ///
    /// # Errors
    /// As for [`reconstruct`](Self::reconstruct).
    pub fn reconstruct_with(&self, ids: &[i64], exec: Exec) -> Result<Vec<f32>> {
        let dim = self.codec().dim();
        let numbers = ids.iter().map(|&id| self.place(id).ok_or(Error::UnknownId { id }));
        let numbers: Vec<_> = numbers.collect::<Result<_>>()?;
        let mut out = vec![0.0; ids.len() * dim];
        for partition in &self.partitions {
            // Which of the wanted rows are in it, and where.
            let wanted = numbers.iter().enumerate().filter_map(|(i, &number)| Some((i, partition.place(number)?)));
            let wanted: Vec<_> = wanted.collect();
            let places: Vec<_> = wanted.iter().map(|&(_, place)| place).collect();
            let rows = partition.decode(&places, exec)?;
            for ((i, _), row) in wanted.into_iter().zip(rows.chunks_exact(dim)) {
                out[i * dim..][..dim].copy_from_slice(row);
            }
        }
        Ok(out)
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The codec.
    #[must_use]
    pub fn codec(&self) -> &Arc<TurboQuant> {
        self.partitions[0].codec()
    }

    /// Rows that are kept as plain codes, since the fitted codec codes them badly.
    #[must_use]
    pub fn plain_rows(&self) -> usize {
        self.partitions.iter().skip(1).step_by(2).filter(|_| self.kinds > 1).map(Partition::len).sum()
    }

    /// The metric.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Ids in the order of adding.
    #[must_use]
    pub fn ids(&self) -> &[i64] {
        &self.ids
    }

    /// Bytes held: codes, scales, bounds of the first stage, squared norms (l2), ids, and the codec itself. The map of the caller's ids is not counted.
    #[must_use]
    pub fn nbytes(&self) -> usize {
        let codecs = self.partitions[..self.kinds].iter().map(|partition| partition.codec().nbytes());
        self.partitions.iter().map(Partition::nbytes).sum::<usize>() + codecs.sum::<usize>() + self.ids.nbytes()
    }

    /// Bytes of arrays that are in a mapped file; [`nbytes`](Self::nbytes) counts them, too.
    #[must_use]
    pub fn mapped_nbytes(&self) -> usize {
        let ids = if self.ids.is_mapped() { self.ids.nbytes() } else { 0 };
        ids + self.partitions.iter().filter(|partition| partition.is_mapped()).map(Partition::nbytes).sum::<usize>()
    }

    /// Checks ids for `rows` new rows, or makes them: the largest id so far and up.
    fn new_ids(&self, rows: usize, ids: Option<&[i64]>) -> Result<Vec<i64>> {
        let Some(ids) = ids else {
            let next = self.largest.checked_add(1);
            return match next.and_then(|next| Some(next..next.checked_add(rows as i64)?)) {
                Some(new) => Ok(new.collect()),
                None => Err(Error::argument("ids", "given, since the largest id is in use", "none")),
            };
        };
        if ids.len() != rows {
            return Err(Error::argument("ids", format!("one a row ({rows})"), ids.len()));
        }
        let mut seen = std::collections::HashSet::with_capacity(rows);
        for &id in ids {
            if id < 0 {
                return Err(Error::argument("ids", "at least 0 (−1 marks empty places)", id));
            }
            if !seen.insert(id) || self.place(id).is_some() {
                return Err(Error::DuplicateId { id });
            }
        }
        Ok(ids.to_vec())
    }

    fn take_ids(&mut self, ids: &[i64]) {
        let first = self.ids.len();
        self.ids.to_mut().extend_from_slice(ids);
        self.largest = ids.iter().fold(self.largest, |largest, &id| largest.max(id));
        let in_order = |first: usize, ids: &[i64]| (first..).zip(ids).all(|(place, &id)| id == place as i64);
        if self.places.is_empty() && in_order(first, ids) {
            return;
        }
        let from = if self.places.is_empty() { 0 } else { first };
        self.places.extend(self.ids[from..].iter().zip(from..).map(|(&id, place)| (id, place)));
    }

    /// Makes the places of ids that are not 0, 1, 2 ….
    fn find_places(&mut self) -> Result<()> {
        self.ids.check_all()?;
        self.places = self.ids.iter().zip(0..).map(|(&id, place)| (id, place)).collect();
        Ok(())
    }

    fn place(&self, id: i64) -> Option<usize> {
        if self.places.is_empty() {
            usize::try_from(id).ok().filter(|place| *place < self.len())
        } else {
            self.places.get(&id).copied()
        }
    }

    /// Drops rows that were appended but not yet given ids.
    fn truncate(&mut self, rows: usize) {
        self.partitions.iter_mut().for_each(|partition| partition.truncate(rows));
    }
}
