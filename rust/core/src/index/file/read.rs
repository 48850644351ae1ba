//! Reading an index from a file or from bytes.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::home::Home;
use super::layout::{CODEC_AT, Entry, Head, Header, Kind, Record, check_zero};
use crate::codec::TurboQuant;
use crate::codes::Header as CodecHeader;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::index::partition::Partition;
use crate::storage::{Array, Checks, Map, Plain, Section, holds, numbers_of};

/// Chunks of fewer bytes are copied into memory, with their neighbours: a search would lose more by taking each on its own than mapping saves.
const SMALL: u64 = 1 << 20;

/// Opens a file.
pub(super) fn open(path: &Path, map: bool) -> Result<Index> {
    let failed = |error: io::Error| Error::file(path.display(), "cannot be read", &error);
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_dir() {
        let error = io::Error::from(io::ErrorKind::IsADirectory);
        return Err(Error::file(path.display(), "is a folder, not an index file", &error));
    }
    if about.len() == 0 {
        return Err(Error::corrupt("no index file (it is empty)", 0)).map_err(|error| error.of_path(path));
    }
    let len = usize::try_from(about.len()).map_err(|_| failed(io::Error::from(io::ErrorKind::FileTooLarge)))?;
    let mapped = Arc::new(Map::of(&file, len).map_err(failed)?);
    let keep = (map && cfg!(target_endian = "little")).then_some(&mapped);
    let (mut index, record, repair) = self::index(mapped.bytes(), keep).map_err(|error| error.of_path(path))?;
    index.home = Home::opened(path, &file, record, repair).map_err(failed)?;
    Ok(index)
}

/// Reads an index from a file's bytes: those of `map`, if its arrays are to stay there. Returns what counts, too, and whether
/// its commit record has to be written again.
pub(super) fn index(bytes: &[u8], map: Option<&Arc<Map>>) -> Result<(Index, Record, bool)> {
    let header = Header::parse(bytes)?;
    let codec = Arc::new(codec(bytes, &header)?);
    let (record, repair) = counted(bytes, &header)?;
    let mut index = Index::new(codec, header.metric);
    let (mut last, mut largest, mut ascending) = (Record::none(&header), -1, true);
    let end = usize::try_from(record.end).ok().filter(|&end| end <= bytes.len());
    let end = end.ok_or_else(|| Error::corrupt(format!("{} bytes expected, cut short", record.end), bytes.len()))?;
    while last.end < record.end {
        let at = last.end as usize;
        let (head, chain) = Head::parse(&bytes[..end], at)?;
        if head.chain != last.chain || head.before != last.rows || head.sequence <= last.sequence {
            return Err(Error::corrupt("chunk does not follow the one before it, chunk starts", at));
        }
        last = Record {
            sequence: head.sequence,
            end: last.end + head.len,
            rows: last.rows.checked_add(head.rows).ok_or_else(|| Error::corrupt("chunk has too many rows", at + 24))?,
            chain,
        };
        (largest, ascending) = (head.largest, ascending && head.ascending);
        let map = map.filter(|_| head.len >= SMALL);
        let chunk = Chunk { bytes, map, at, rows: head.rows as usize, entries: head.entries.into_iter() };
        add_chunk(&mut index, chunk, head.rows - head.plain, head.plain)?;
    }
    if (last.rows, last.chain) != (record.rows, record.chain) || last.sequence > record.sequence {
        return Err(Error::corrupt("commit record contradicts the chunks", record.at()));
    }
    index.ids.loaded(largest, ascending)?;
    Ok((index, record, repair))
}

/// Up to where a file counts.
///
/// A commit's chunk is on the device before its record is written. So where one record is damaged, the file counts up to the chunk behind
/// the other, if that is there as a whole; such a record may be torn. Any other damaged record is an error.
fn counted(bytes: &[u8], header: &Header) -> Result<(Record, bool)> {
    let damaged = |number| Error::corrupt("commit record is damaged, record starts", 512 * (1 + number));
    let last = match Record::both(bytes, header) {
        [Some(even), Some(odd)] if even.sequence.abs_diff(odd.sequence) == 1 => {
            return Ok((if even.sequence > odd.sequence { even } else { odd }, false));
        }
        [Some(_), Some(_)] => {
            return Err(Error::corrupt("commit records contradict each other, the first starts", 512));
        }
        [Some(record), None] | [None, Some(record)] => record,
        [None, None] => return Err(damaged(0)),
    };
    let other = damaged(1 - (last.sequence % 2) as usize);
    let at = usize::try_from(last.end).map_err(|_| other.clone())?;
    let Ok((head, chain)) = Head::parse(bytes, at) else { return Err(other) };
    if head.chain != last.chain || head.sequence != last.sequence + 1 || head.before != last.rows {
        return Err(other);
    }
    for entry in &head.entries {
        section(entry, at, Box::new(|_| None))
            .check_bytes(&bytes[at + entry.at as usize..][..entry.padded() as usize])?;
    }
    let (end, rows) = (last.end + head.len, last.rows.checked_add(head.rows).ok_or(other)?);
    Ok((Record { sequence: head.sequence, end, rows, chain }, true))
}

/// The codec that a header describes.
fn codec(bytes: &[u8], header: &Header) -> Result<TurboQuant> {
    let end = CODEC_AT + header.codec_len;
    if bytes.len() < header.end() {
        return Err(Error::corrupt("codec is cut short", bytes.len()));
    }
    let described = &bytes[CODEC_AT..end];
    if !holds(described, header.codec_crc) {
        return Err(Error::corrupt("codec fails its checksum, codec starts", CODEC_AT));
    }
    check_zero(bytes, end..header.end(), "codec's padding")?;
    let parsed = CodecHeader::parse(described).and_then(|parsed| {
        parsed.check_length(described.len())?;
        if parsed.rows > 0 || parsed.keep != parsed.spec.full() {
            return Err(Error::corrupt("codec has rows or is cut", 0));
        }
        TurboQuant::from_spec(parsed.spec)
    });
    parsed.map_err(|error| match error {
        Error::Corrupt { what, offset } => Error::Corrupt { what, offset: CODEC_AT + offset },
        error => error,
    })
}

/// Takes the rows of a chunk into an index: as a group of its own if they stay in the file, else into the last one.
fn add_chunk(index: &mut Index, mut chunk: Chunk<'_>, coded: u64, plain: u64) -> Result<()> {
    let (base, metric) = (index.len(), index.metric());
    let too_many = || Error::corrupt("chunk has more rows than bytes, chunk starts", chunk.at);
    let rows = [coded, plain].map(|rows| usize::try_from(rows).ok().filter(|&rows| rows < chunk.bytes.len()));
    let [Some(coded), Some(plain)] = rows else { return Err(too_many()) };
    if plain > 0 && index.kinds == 1 {
        return Err(Error::corrupt("chunk has plain rows of a codec that has none, chunk starts", chunk.at));
    }
    let codecs: Vec<_> = index.partitions[..index.kinds].iter().map(|partition| partition.codec().clone()).collect();
    let group = codecs.into_iter().zip([coded, plain]).enumerate();
    let group = group.map(|(i, (codec, rows))| Partition::from_chunk(codec, i, rows, base, metric, &mut chunk));
    let group: Vec<_> = group.collect::<Result<_>>()?;
    let ids = chunk.array(Kind::Ids, 0, 0, 8, chunk.rows, Box::new(negative))?;
    if let Some(entry) = chunk.entries.next() {
        let at = chunk.at + entry.at as usize;
        return Err(Error::corrupt(format!("chunk has a section too many ({})", entry.kind.name()), at));
    }
    index.ids.load(ids)?;
    if base == 0 {
        index.partitions.clear();
        index.partitions.extend(group);
        return Ok(());
    }
    if group.iter().any(Partition::is_mapped) {
        index.partitions.extend(group);
    } else {
        index.last_group(base).iter_mut().zip(&group).for_each(|(last, new)| last.extend(new));
    }
    Ok(())
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
    rows: usize,
    entries: std::vec::IntoIter<Entry>,
}

impl Chunk<'_> {
    /// Its rows, of all partitions.
    pub(in crate::index) fn rows(&self) -> usize {
        self.rows
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
            Error::corrupt(format!("chunk has no such {} as its codec asks for, chunk starts", kind.name()), self.at)
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

/// What a section's blocks are compared with.
fn section(entry: &Entry, chunk: usize, checks: Checks) -> Section {
    let (at, bytes, content) = (chunk + entry.at as usize, entry.padded() as usize, entry.len as usize);
    Section::new(entry.kind.name(), at, bytes, content, entry.crcs.clone(), checks)
}
