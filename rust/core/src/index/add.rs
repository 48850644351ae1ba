//! Rows come and go: add, upsert, extend, remove, compact. An error leaves the index as it was.

use std::sync::Arc;

use super::ids::Checked;
use super::originals::Originals;
use super::partition::{Block, Partition, PlainRows};
use super::{Index, RowIds};
use crate::codec::EncodeOptions;
use crate::codes::CodesView;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::parallel::Exec;

/// Rows that are encoded or copied at a time.
const ROWS: usize = 8_192;
/// Rows that are gone are dropped once they are more than one in this many.
const COMPACT: usize = 4;

/// Rows that were encoded apart from an index, for [`Index::add_encoded`].
#[derive(Debug, Clone, Copy)]
pub struct EncodedRows<'a> {
    /// What [`TurboQuant::encode_into`](crate::TurboQuant::encode_into) made for the index's metric: with unit norms for cosine.
    pub codes: CodesView<'a>,
    /// |x|² of every row with l2, else empty.
    pub squares: &'a [f32],
    /// What [`EncodeOptions::badly`] tells of a fitted codec's rows, empty for none.
    pub badly: &'a [bool],
    /// The codes of the rows so told, by the codec's [`plain`](crate::TurboQuant::plain) one.
    pub plain: Option<CodesView<'a>>,
    /// What [`Keep::convert`](crate::Keep::convert) made of every row, bytes and scales, where the index keeps rows.
    pub originals: Option<(&'a [u8], &'a [f32])>,
}

impl Index {
    /// Encodes rows of `dim` values and appends them, under the given ids or the next free ones; returns their ids.
    ///
    /// Rows that a fitted codec codes worse than plain codes would be, since they are unlike its sample, are kept as codes of its
    /// [`plain`](crate::TurboQuant::plain) codec.
    ///
    /// # Errors
    /// As for [`TurboQuant::encode`](crate::TurboQuant::encode), with l2 also [`Error::Norm`] from 2^63, and [`Error::Range`] where the
    /// index keeps rows in a form that does not hold them; [`Error::Argument`] for a wrong number of ids or a negative one,
    /// [`Error::DuplicateId`] for an id that is taken or given twice. The index is then unchanged.
    pub fn add(&mut self, x: &[f32], ids: Option<&[i64]>) -> Result<Vec<i64>> {
        self.add_with(x, ids.map_or(RowIds::Assigned, RowIds::New), Exec::default())
    }

    /// [`add`](Self::add) where rows of the same ids are replaced. The new ones come last in the order of adding.
    ///
    /// # Errors
    /// As for [`add`](Self::add), with [`Error::DuplicateId`] only for ids given twice.
    pub fn upsert(&mut self, x: &[f32], ids: &[i64]) -> Result<Vec<i64>> {
        self.add_with(x, RowIds::Upsert(ids), Exec::default())
    }

    /// [`add`](Self::add) with a choice of ids, kernels and threads.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub fn add_with(&mut self, x: &[f32], ids: RowIds<'_>, exec: Exec) -> Result<Vec<i64>> {
        let (codec, exec) = (Arc::clone(self.codec()), exec.settled()?);
        let (rows, dim) = (codec.rows_of("x", x)?, codec.dim());
        let (new, level) = (self.ids.check(rows, ids)?, exec.level()?);
        let (before, unit_norm) = (self.stored(), self.metric == Metric::Cosine);
        let (mut packed, mut scales, mut squares, mut badly) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (i, block) in x.chunks(ROWS * dim).enumerate() {
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
            let encoded = encoded.and_then(|()| {
                let plain = self.plain().map(|plain| plain.encode(block, &badly, unit_norm, exec)).transpose()?;
                self.originals.as_mut().map_or(Ok(()), |originals| originals.add(block)).map(|()| plain)
            });
            match encoded {
                Ok(plain) => {
                    let first = before + i * ROWS;
                    let block = Block { first, squares: &squares, badly: &badly, level, exec };
                    self.append(block, &packed, &scales, plain.as_ref());
                }
                Err(error) => {
                    self.truncate(before);
                    return Err(error.with_first_row(i * ROWS));
                }
            }
        }
        Ok(self.take(new))
    }

    /// Takes the ids of rows that were appended, in place of the rows that they replace.
    fn take(&mut self, new: Checked<'_>) -> Vec<i64> {
        self.drop_numbers(&new.replaced);
        self.ids.take(&new);
        self.compact_if_worth_it();
        new.ids
    }

    /// Marks rows as removed. A number may stand twice.
    pub(super) fn drop_numbers(&mut self, numbers: &[usize]) {
        for &number in numbers {
            if let Some((partition, place)) = self.partition_of(number) {
                self.partitions[partition].remove(place);
            }
        }
        self.ids.remove(numbers);
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
    pub(super) fn last_group(&mut self, base: usize) -> &mut [Partition] {
        let last = self.partitions.len() - self.kinds;
        if self.partitions[last..].iter().any(Partition::is_mapped) {
            let new: Vec<_> =
                self.partitions[..self.kinds].iter().map(|old| Partition::new(old.codec().clone(), base)).collect();
            self.partitions.extend(new);
        }
        let last = self.partitions.len() - self.kinds;
        &mut self.partitions[last..]
    }

    /// Appends rows that [`TurboQuant::encode_into`](crate::TurboQuant::encode_into) made for this metric: with unit norms for cosine, with
    /// squares for l2.
    ///
    /// # Errors
    /// As for [`add_encoded`](Self::add_encoded).
    pub fn add_codes<'a>(
        &mut self,
        codes: impl Into<CodesView<'a>>,
        squares: &[f32],
        ids: Option<&[i64]>,
    ) -> Result<Vec<i64>> {
        let rows = EncodedRows { codes: codes.into(), squares, badly: &[], plain: None, originals: None };
        self.add_encoded(rows, ids.map_or(RowIds::Assigned, RowIds::New))
    }

    /// Appends rows that were encoded apart.
    ///
    /// # Errors
    /// [`Error::OtherCodec`] or [`Error::Argument`] if the codes are not whole codes of this index's codec, if any part is missing,
    /// superfluous or of another length, or as for [`add`](Self::add) for ids. The index is then unchanged.
    pub fn add_encoded(&mut self, rows: EncodedRows<'_>, ids: RowIds<'_>) -> Result<Vec<i64>> {
        let EncodedRows { codes, squares, badly, plain, originals } = rows;
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
        let keep = self.originals.as_ref().map(Originals::keep);
        let expected = keep.map(|keep| (codes.len() * codec.dim() * keep.width(), codes.len() * keep.scales()));
        let got = originals.map(|(bytes, scales)| (bytes.len(), scales.len()));
        if got != expected {
            let long = |lens: Option<(usize, usize)>| {
                lens.map_or("none".to_owned(), |(bytes, scales)| format!("{bytes} bytes and {scales} scales"))
            };
            return Err(Error::argument("originals", long(expected), long(got)));
        }
        let exec = Exec::default().settled()?;
        let (new, level) = (self.ids.check(codes.len(), ids)?, exec.level()?);
        let whole = vec![false; if badly.is_empty() { codes.len() } else { 0 }];
        let badly = if badly.is_empty() { &whole[..] } else { badly };
        let plain = plain.map(|plain| PlainRows { packed: plain.packed.to_vec(), scales: plain.scales.to_vec() });
        let block = Block { first: self.stored(), squares, badly, level, exec };
        self.append(block, codes.packed, codes.scales, plain.as_ref());
        if let (Some(kept), Some((bytes, scales))) = (&mut self.originals, originals) {
            kept.append(bytes, scales);
        }
        Ok(self.take(new))
    }

    /// Appends the rows of another index of the same codec and metric, as they are coded, under their ids. Ids that are assigned later are
    /// above the largest that either ever had.
    ///
    /// # Errors
    /// [`Error::OtherCodec`], [`Error::Argument`] if the other has another metric, keeps rows in another form, or has ids of another kind,
    /// [`Error::DuplicateId`] and [`Error::DuplicateName`] for an id that both have. The index is then unchanged.
    pub fn extend(&mut self, other: &Self) -> Result<()> {
        self.check_joins(other)?;
        other.check()?;
        let exec = Exec::default().settled()?;
        let (level, numbers) = (exec.level()?, other.ids.gone.iter_live().collect::<Vec<_>>());
        if let Some(row) = numbers.iter().find(|&&number| other.partition_of(number).is_none()) {
            return Err(Error::corrupt_index(format!("row numbers of the other index lack row {row}"), 0));
        }
        let ids: Vec<_> = numbers.iter().map(|&number| other.ids.all()[number]).collect();
        let names: Option<Vec<_>> =
            other.ids.names().map(|names| numbers.iter().map(|&number| names.get(number)).collect());
        let new = self.ids.check(numbers.len(), names.as_deref().map_or(RowIds::New(&ids), RowIds::NewNames))?;
        for numbers in numbers.chunks(ROWS) {
            let mut kinds = vec![(Vec::new(), Vec::new()); self.kinds];
            let (mut badly, mut squares) = (Vec::new(), Vec::new());
            for &number in numbers {
                let (i, place) = other.partition_of(number).expect("found above");
                let (from, (packed, scales)) = (&other.partitions[i], &mut kinds[i % self.kinds]);
                from.pack(&[place], packed, scales)?;
                badly.push(i % self.kinds == 1);
                squares.extend(from.squares_of(place..place + 1));
            }
            let block = Block { first: self.stored_codes(), squares: &squares, badly: &badly, level, exec };
            for (i, (to, (packed, scales))) in self.last_group(block.first).iter_mut().zip(&kinds).enumerate() {
                to.append(block, packed, scales, i == 1);
            }
            if let (Some(to), Some(from)) = (&mut self.originals, &other.originals) {
                to.append_rows(from, numbers);
            }
        }
        self.ids.take(&new);
        if !self.named() && !other.named() {
            self.ids.given(other.ids.largest());
        }
        Ok(())
    }

    /// Removes rows: they are found no more, at once. An id may stand twice. Their place is taken back once more than a quarter of the
    /// rows that are stored are gone, or by [`compact`](Self::compact).
    ///
    /// # Errors
    /// [`Error::UnknownId`] for an id that is not in the index, which is then unchanged.
    pub fn remove(&mut self, ids: &[i64]) -> Result<()> {
        let numbers = self.numbers(ids)?;
        self.drop_numbers(&numbers);
        self.compact_if_worth_it();
        Ok(())
    }

    /// [`remove`](Self::remove) by string ids.
    ///
    /// # Errors
    /// [`Error::UnknownName`] for one that is not in the index, which is then unchanged.
    pub fn remove_names(&mut self, names: &[&str]) -> Result<()> {
        let numbers = self.numbers_of_names(names)?;
        self.drop_numbers(&numbers);
        self.compact_if_worth_it();
        Ok(())
    }

    /// Drops rows that are gone from every array, in place; arrays of a mapped file are copied first, those that lose rows. No answer
    /// changes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a mapped file is damaged. The index is then unchanged.
    pub fn compact(&mut self) -> Result<()> {
        self.check()?;
        if self.ids.gone.count() > 0 {
            let ranks = self.ids.gone.ranks();
            self.partitions.iter_mut().for_each(|partition| partition.compact(&self.ids.gone, &ranks));
            self.originals.iter_mut().for_each(|originals| originals.compact(&self.ids.gone));
            self.ids.compact();
            self.numbering.change();
            self.home.renumbered();
        }
        Ok(())
    }

    /// Compacts if enough rows are gone. What is in a mapped file stays there.
    fn compact_if_worth_it(&mut self) {
        let mapped = self.partitions.iter().any(Partition::is_mapped);
        if !mapped && self.ids.gone.count() * COMPACT > self.stored() {
            self.compact().expect("what is in memory is not damaged");
        }
    }

    /// Compares all that is in a mapped file with checksums, as far as that has not been done.
    fn check(&self) -> Result<()> {
        self.ids.check_all()?;
        self.originals.iter().try_for_each(Originals::check_all)?;
        self.partitions.iter().try_for_each(|partition| partition.check(0..partition.len()))
    }

    /// The partition of a row, and its place there; none if the index was read from a file that no writer left behind.
    fn partition_of(&self, number: usize) -> Option<(usize, usize)> {
        let mut places = self.partitions.iter().enumerate();
        places.find_map(|(i, partition)| Some((i, partition.place(number)?)))
    }

    /// Rows whose codes are stored, those among them that have no ids yet.
    fn stored_codes(&self) -> usize {
        self.partitions.iter().map(Partition::len).sum()
    }

    /// Drops rows that were appended but not yet given ids.
    fn truncate(&mut self, rows: usize) {
        self.partitions.iter_mut().for_each(|partition| partition.truncate(rows));
        self.originals.iter_mut().for_each(|originals| originals.truncate(rows));
    }
}
