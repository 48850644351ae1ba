//! Reading an index from a file or from bytes.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::additions::Additions;
use super::counted::Counted;
use super::home::Home;
use super::layout::{CODEC_AT, Entry, Head, Header, Record, check_zero};
use crate::codec::TurboQuant;
use crate::codes::Header as CodecHeader;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::storage::{Checks, Map, Section, holds};

/// Opens a file.
pub(super) fn open(path: &Path, map: bool) -> Result<Index> {
    let failed = |error: io::Error| Error::file(path.display(), "cannot be read", &error);
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        let error = io::Error::from(io::ErrorKind::IsADirectory);
        return Err(Error::file(path.display(), "is a folder, not an index file", &error));
    }
    let (mut index, counted, repair) = of_all(&file, path, |mapped| self::index(mapped.bytes(), stays(mapped, map)))?;
    index.home = Home::opened(path, &file, map, counted, repair).map_err(failed)?;
    Ok(index)
}

/// Where the arrays of a mapped file stay, if they are to stay there and are in this machine's order of bytes.
pub(super) fn stays(mapped: &Arc<Map>, map: bool) -> Option<&Arc<Map>> {
    (map && cfg!(target_endian = "little")).then_some(mapped)
}

/// Opens several files as one index.
pub(super) fn open_all(paths: &[&Path], map: bool) -> Result<Index> {
    let Some((first, others)) = paths.split_first() else {
        return Err(Error::argument("paths", "at least one path", "none"));
    };
    let mut index = open(first, map)?;
    if !others.is_empty() {
        index.home = Home::default();
    }
    for path in others {
        index.join(open(path, map)?).map_err(|error| match error {
            Error::Corrupt { .. } => error,
            error => {
                let expected = "index files of one codec, metric and keep, with distinct ids of one kind";
                Error::argument("paths", expected, format!("{}: {error}", path.display()))
            }
        })?;
    }
    Ok(index)
}

/// What `read` makes of all of a file that may be appended to meanwhile: its records are then of a later moment than its length.
pub(super) fn of_all<R>(file: &File, path: &Path, read: impl Fn(&Arc<Map>) -> Result<R>) -> Result<R> {
    let failed = |error: io::Error| Error::file(path.display(), "cannot be read", &error);
    let length = || {
        let len = file.metadata().map_err(failed)?.len();
        usize::try_from(len).map_err(|_| failed(io::Error::from(io::ErrorKind::FileTooLarge)))
    };
    let mut len = length()?;
    loop {
        if len == 0 {
            return Err(Error::corrupt_index("no index file (it is empty)", 0).of_path(path));
        }
        let mapped = Arc::new(Map::of(file, len).map_err(failed)?);
        match read(&mapped) {
            Err(error @ Error::Corrupt { .. }) => {
                let now = length()?;
                if now <= len {
                    return Err(error.of_path(path));
                }
                len = now;
            }
            result => return result.map_err(|error| error.of_path(path)),
        }
    }
}

/// Reads an index from a file's bytes: those of `map`, if its arrays are to stay there. Returns what counts, too, and whether
/// its commit record has to be written again.
pub(super) fn index(bytes: &[u8], map: Option<&Arc<Map>>) -> Result<(Index, Counted, bool)> {
    let header = Header::parse(bytes)?;
    let codec = Arc::new(codec(bytes, &header)?);
    let (record, repair) = counted(bytes, &header)?;
    let mut index = match header.keep {
        None => Index::new(codec, header.metric),
        Some(keep) => Index::keeping(codec, header.metric, keep),
    };
    let none = Counted::none(&header);
    Additions::read(&index, bytes, map, &none, record)?.take(&mut index)?;
    index.ids.check_distinct(map.is_some())?;
    let counted = Counted::of(&index, record);
    Ok((index, counted, repair))
}

/// Up to where a file counts.
///
/// A commit's chunk is on the device before its record is written. So where one record is damaged, the file counts up to the chunk behind
/// the other, if that is there as a whole; such a record may be torn. Any other damaged record is an error.
pub(super) fn counted(bytes: &[u8], header: &Header) -> Result<(Record, bool)> {
    let damaged = |number| Error::corrupt_index("commit record is damaged, record starts", 512 * (1 + number));
    let last = match Record::both(bytes, header) {
        [Some(even), Some(odd)] if even.sequence.abs_diff(odd.sequence) == 1 => {
            return Ok((if even.sequence > odd.sequence { even } else { odd }, false));
        }
        [Some(_), Some(_)] => {
            return Err(Error::corrupt_index("commit records contradict each other, the first starts", 512));
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
        return Err(Error::corrupt_index("codec is cut short", bytes.len()));
    }
    let described = &bytes[CODEC_AT..end];
    if !holds(described, header.codec_crc) {
        return Err(Error::corrupt_index("codec fails its checksum, codec starts", CODEC_AT));
    }
    check_zero(bytes, end..header.end(), "codec's padding")?;
    let parsed = CodecHeader::parse(described).and_then(|parsed| {
        parsed.check_length(described.len())?;
        if parsed.rows > 0 || parsed.keep != parsed.spec.full() {
            return Err(Error::corrupt_index("codec has rows or is cut", 0));
        }
        TurboQuant::from_spec(parsed.spec)
    });
    parsed.map_err(|error| match error {
        Error::Corrupt { what, offset, .. } => Error::corrupt_index(what, CODEC_AT + offset),
        error => error,
    })
}

/// What a section's blocks are compared with.
pub(super) fn section(entry: &Entry, chunk: usize, checks: Checks) -> Section {
    let (at, bytes, content) = (chunk + entry.at as usize, entry.padded() as usize, entry.len as usize);
    Section::new(entry.kind.name(), at, bytes, content, entry.crcs.clone(), checks)
}
