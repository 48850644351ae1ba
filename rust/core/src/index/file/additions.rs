//! What chunks add to an index: read and checked as a whole, then taken, so that an error leaves the index as it was.

use std::sync::Arc;

use super::counted::Counted;
use super::layout::{Entry, Head, Kind, Record};
use super::read::section;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::index::gone::Gone;
use crate::index::names::Names;
use crate::index::originals::{Originals, Piece};
use crate::index::partition::{Partition, floats};
use crate::storage::{Array, Checks, Map, Plain, numbers_of};

/// Chunks of fewer bytes are copied into memory, with their neighbours: a search would lose more by taking each on its own than mapping saves.
const SMALL: u64 = 1 << 20;

/// The chunks of a file behind those that an index has.
pub(super) struct Additions {
    chunks: Vec<Rows>,
    /// Rows that go, among those of the index and of the chunks.
    gone: Vec<usize>,
    /// Whether ids are strings, once that is decided.
    named: Option<bool>,
    /// The largest id up to the last chunk, and whether ids ascend.
    largest: i64,
    ascending: bool,
}

/// Rows of one chunk.
struct Rows {
    group: Vec<Partition>,
    ids: Array<i64>,
    names: Option<Names>,
    originals: Option<Piece>,
}

impl Additions {
    /// Reads the chunks between what `last` counts, which is all of an index, and `record`; arrays of large ones stay in `map`.
    pub(super) fn read(
        index: &Index,
        bytes: &[u8],
        map: Option<&Arc<Map>>,
        last: &Counted,
        record: Record,
    ) -> Result<Self> {
        let (mut at, mut gone) = (last.record, last.gone.clone());
        let named = (last.largest >= 0).then(|| index.named());
        let mut new = Self { chunks: Vec::new(), gone: Vec::new(), named, largest: last.largest, ascending: true };
        let end = usize::try_from(record.end).ok().filter(|&end| end <= bytes.len());
        let end =
            end.ok_or_else(|| Error::corrupt_index(format!("{} bytes expected, cut short", record.end), bytes.len()))?;
        while at.end < record.end {
            let start = at.end as usize;
            let (head, chain) = Head::parse(&bytes[..end], start)?;
            if head.chain != at.chain || head.before != at.rows || head.sequence <= at.sequence {
                return Err(Error::corrupt_index("chunk does not follow the one before it, chunk starts", start));
            }
            let rows = at.rows.checked_add(head.rows);
            let rows = rows.ok_or_else(|| Error::corrupt_index("chunk has too many rows", start + 24))?;
            at = Record { sequence: head.sequence, end: at.end + head.len, rows, chain };
            (new.largest, new.ascending) = (head.largest, new.ascending && head.ascending);
            let map = map.filter(|_| head.len >= SMALL);
            let plain = head.plain;
            let chunk = Chunk { bytes, map, at: start, rows: head.rows, entries: head.entries.into_iter() };
            new.take_chunk(index, chunk, plain, &mut gone)?;
        }
        if (at.rows, at.chain) != (record.rows, record.chain) || at.sequence > record.sequence {
            return Err(Error::corrupt_index("commit record contradicts the chunks", record.at()));
        }
        Ok(new)
    }

    /// Reads the sections of a chunk, `plain` of whose rows are of the plain codec; `gone` are the rows before it, and then with its own.
    fn take_chunk(&mut self, index: &Index, mut chunk: Chunk<'_>, plain: u64, gone: &mut Gone) -> Result<()> {
        let too_many = || Error::corrupt_index("chunk has more rows than bytes, chunk starts", chunk.at);
        let rows = [chunk.rows, chunk.rows - plain, plain].map(usize::try_from);
        let [Ok(all), Ok(coded), Ok(plain)] = rows else { return Err(too_many()) };
        if all >= chunk.bytes.len() {
            return Err(too_many());
        }
        if plain > 0 && index.kinds == 1 {
            return Err(Error::corrupt_index("chunk has plain rows of a codec that has none, chunk starts", chunk.at));
        }
        let base = gone.rows();
        if all > 0 {
            let codecs = index.partitions[..index.kinds].iter().map(|partition| partition.codec().clone());
            let group = codecs.zip([coded, plain]).enumerate();
            let group = group.map(|(i, (codec, rows))| {
                Partition::from_chunk(codec, i, (rows, all), base, index.metric(), &mut chunk)
            });
            let group = group.collect::<Result<_>>()?;
            let ids = chunk.array(Kind::Ids, 0, 0, 8, all, Box::new(negative))?;
            self.chunks.push(Rows { group, ids, names: None, originals: None });
            gone.grow(all);
        }
        if let Some((len @ 1.., _)) = chunk.next_section(Kind::Gone) {
            let numbers: Array<u64> = chunk.array(Kind::Gone, 0, 0, 8, len / 8, Box::new(|_| None))?;
            numbers.check_all()?;
            let mut next = 0;
            for &number in &*numbers {
                let there = usize::try_from(number).ok().filter(|&row| (next..gone.rows()).contains(&row));
                let Some(row) = there.filter(|&row| gone.insert(row)) else {
                    let what =
                        format!("removed rows hold {number}, out of order, gone before or not there, chunk starts");
                    return Err(Error::corrupt_index(what, chunk.at));
                };
                self.gone.push(row);
                next = row + 1;
            }
        }
        let names = chunk.names(all)?;
        if self.named.replace(names.is_some()).is_some_and(|named| named != names.is_some()) {
            return Err(Error::corrupt_index(
                "chunk has ids of another kind than those before it, chunk starts",
                chunk.at,
            ));
        }
        if let Some(rows) = self.chunks.last_mut().filter(|_| all > 0) {
            rows.names = names;
            rows.originals = index.originals.as_ref().map(|kept| chunk.originals(all, kept)).transpose()?;
        }
        match chunk.entries.next() {
            None => Ok(()),
            Some(entry) => {
                let at = chunk.at + entry.at as usize;
                Err(Error::corrupt_index(format!("chunk has a section too many ({})", entry.kind.name()), at))
            }
        }
    }

    /// Takes all of it into the index for which it was read: rows of a chunk as a group of their own if they stay in the file, else into
    /// the last one.
    pub(super) fn take(self, index: &mut Index) -> Result<()> {
        if !self.gone.is_empty() {
            let new = self.chunks.iter().flat_map(|chunk| &chunk.group);
            index.partitions.iter().chain(new).try_for_each(Partition::check_numbers)?;
        }
        // Ids of several chunks are copied together; those of one are looked at unless they are 0, 1, 2 …. A fault is found before any is
        // taken.
        let copied = self.chunks.len() > usize::from(index.stored() == 0);
        if copied || !self.ascending {
            index.ids.check_all()?;
            self.chunks.iter().try_for_each(|chunk| chunk.ids.check_all())?;
        }
        if copied {
            self.chunks.iter().flat_map(|chunk| &chunk.names).try_for_each(Names::check)?;
        }
        for Rows { group, ids, names, originals } in self.chunks {
            let base = index.stored();
            index.ids.load(ids, names);
            if let (Some(kept), Some(new)) = (&mut index.originals, originals) {
                kept.extend(new);
            }
            if base == 0 {
                index.partitions.clear();
                index.partitions.extend(group);
            } else if group.iter().any(Partition::is_mapped) {
                index.partitions.extend(group);
            } else {
                index.last_group(base).iter_mut().zip(&group).for_each(|(last, new)| last.extend(new));
            }
        }
        index.ids.loaded(self.largest, self.ascending, self.named == Some(true))?;
        index.drop_numbers(&self.gone);
        Ok(())
    }
}

/// Looks for ids below 0.
fn negative(bytes: &[u8]) -> Option<(usize, String)> {
    let mut ids = bytes.as_chunks().0.iter().map(|&word| i64::from_le_bytes(word));
    let at = ids.clone().position(|id| id < 0)?;
    Some((8 * at, format!("{}, below 0", ids.nth(at).unwrap_or_default())))
}

/// A chunk whose sections are taken one after another.
pub(in crate::index) struct Chunk<'a> {
    bytes: &'a [u8],
    /// Where its arrays stay.
    map: Option<&'a Arc<Map>>,
    at: usize,
    rows: u64,
    entries: std::vec::IntoIter<Entry>,
}

impl Chunk<'_> {
    /// The bytes of the next section, and where it starts in the file, if it is of this kind.
    pub(in crate::index) fn next_section(&self, kind: Kind) -> Option<(usize, usize)> {
        let entry = self.entries.as_slice().first().filter(|entry| entry.kind == kind)?;
        Some((usize::try_from(entry.len).ok()?, self.at + entry.at as usize))
    }

    /// Bytes of a row in the first section of this kind that is left of a partition.
    pub(in crate::index) fn width_of(&self, kind: Kind, partition: usize) -> Option<usize> {
        let mut entries = self.entries.as_slice().iter();
        entries.find(|entry| entry.kind == kind && usize::from(entry.partition) == partition).map(|e| e.width as usize)
    }

    /// The string ids of so many rows, where ids are such.
    fn names(&mut self, rows: usize) -> Result<Option<Names>> {
        let Some((_, ends_at)) = self.next_section(Kind::NameEnds) else { return Ok(None) };
        let ends = self.array(Kind::NameEnds, 0, 0, 8, rows, Box::new(|_| None))?;
        let (len, text_at) = self.next_section(Kind::Names).unwrap_or_default();
        let text = self.array(Kind::Names, 0, 0, 1, len, Box::new(|_| None))?;
        Names::from_file(text, ends, [text_at, ends_at]).map(Some)
    }

    /// So many rows that are kept for exact scores, as `kept` says.
    fn originals(&mut self, rows: usize, kept: &Originals) -> Result<Piece> {
        let (keep, stride) = (kept.keep(), kept.stride());
        let checks: Checks = Box::new(move |bytes| keep.fault(bytes));
        let bytes = self.array(Kind::Originals, 0, 0, stride, rows * stride, checks)?;
        let scales = match keep.scales() {
            0 => Array::default(),
            _ => self.array(Kind::OriginalScales, 0, 0, 4, rows, floats(0.0, "finite and at least 0"))?,
        };
        Ok(Piece::new(rows, bytes, scales))
    }

    /// The next section, which must be this one: `elements` numbers, `width` bytes a row.
    pub(in crate::index) fn array<T: Plain>(
        &mut self,
        kind: Kind,
        partition: usize,
        stage: usize,
        width: usize,
        elements: usize,
        checks: Checks,
    ) -> Result<Array<T>> {
        let len = elements.checked_mul(size_of::<T>());
        let expected = len.map(|len| Entry::new(kind, partition, stage, width, len));
        let next = self.entries.next();
        let entry = next.filter(|entry| {
            expected.is_some_and(|expected| Entry { at: entry.at, crcs: entry.crcs.clone(), ..expected } == *entry)
        });
        let missing = || {
            Error::corrupt_index(
                format!("chunk has no such {} as its codec asks for, chunk starts", kind.name()),
                self.at,
            )
        };
        let entry = entry.ok_or_else(missing)?;
        let (at, bytes) = (self.at + entry.at as usize, entry.padded() as usize);
        let section = section(&entry, self.at, checks);
        if let Some(map) = self.map {
            return Ok(Array::mapped(Arc::clone(map), Arc::new(section), elements));
        }
        section.check_bytes(&self.bytes[at..at + bytes])?;
        Ok(numbers_of(&self.bytes[at..at + entry.len as usize]).into())
    }
}
