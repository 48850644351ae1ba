//! Writing the rows of an index: as a whole file, or as a chunk that follows others.

use super::counted::Counted;
use super::layout::{ALIGN, CODEC_AT, Entry, Head, Header, Kind, Record};
use crate::codes::Header as CodecHeader;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::index::partition::{Pieces, numbers};
use crate::storage::{BLOCK_BYTES, Disk};

/// Bytes that are collected before they are written.
const BUFFER: usize = 1 << 20;

/// The bytes that describe the codec of an index: a file of codes without rows.
pub(super) fn codec_bytes(index: &Index) -> Vec<u8> {
    let spec = index.codec().spec();
    CodecHeader { spec: spec.clone(), keep: spec.full(), rows: 0, packed_crc: 0, scales_crc: 0 }.to_bytes()
}

/// Writes a whole file of one commit; nothing is synchronised.
pub(super) fn whole(index: &Index, disk: &mut dyn Disk) -> Result<Counted> {
    let codec = codec_bytes(index);
    let (codec_len, codec_crc) = (codec.len(), crc32fast::hash(&codec));
    let header = Header { metric: index.metric(), keep: index.keep(), codec_len, codec_crc };
    let mut bytes = header.to_bytes();
    bytes.resize(CODEC_AT, 0);
    bytes.extend(codec);
    bytes.resize(header.end(), 0);
    disk.write_at(0, &bytes).map_err(written)?;
    let mut counted = Counted::none(&header);
    if counted.is_all_of(index) {
        counted.record.sequence += 1;
    } else {
        counted = chunk(index, disk, &counted)?;
    }
    disk.write_at(counted.record.at() as u64, &counted.record.to_bytes()).map_err(written)?;
    Ok(counted)
}

/// Writes what of an index `last` does not count as the chunk behind it; returns what the file counts with it.
pub(super) fn chunk(index: &Index, disk: &mut dyn Disk, last: &Counted) -> Result<Counted> {
    let gone = index.ids.gone.since(&last.gone);
    let last = last.record;
    let sequence = last.sequence + 1;
    let before = last.rows as usize;
    let rows = index.stored() - before;
    let kinds = (0..index.kinds).map(|kind| {
        let partitions = index.partitions.iter().skip(kind).step_by(index.kinds);
        Pieces::from_number(partitions, before)
    });
    let kinds: Vec<_> = kinds.collect();
    let mut entries: Vec<_> = kinds.iter().enumerate().flat_map(|(i, pieces)| pieces.entries(i, rows)).collect();
    if rows > 0 {
        entries.push(Entry::new(Kind::Ids, 0, 0, 8, 8 * rows));
    }
    if !gone.is_empty() {
        entries.push(Entry::new(Kind::Gone, 0, 0, 8, 8 * gone.len()));
    }
    index.ids.check_all()?;
    let names = index.ids.names().map(|names| names.since_row(before));
    if let Some((text, ends)) = &names {
        entries.push(Entry::new(Kind::NameEnds, 0, 0, 8, 8 * ends.len()));
        entries.push(Entry::new(Kind::Names, 0, 0, 1, text.len()));
    }
    let originals = index.originals.as_ref().filter(|_| rows > 0);
    if let Some(originals) = originals {
        let stride = originals.stride();
        entries.push(Entry::new(Kind::Originals, 0, 0, stride, stride * rows));
        if originals.keep().scales() > 0 {
            entries.push(Entry::new(Kind::OriginalScales, 0, 0, 4, 4 * rows));
        }
    }
    let head_len = Head::len_of(&entries) as u64;
    let mut writer =
        Writer { disk, at: last.end + head_len, waiting: Vec::new(), crcs: Vec::new(), block: Block::new() };
    for entry in &mut entries {
        entry.at = writer.at + writer.waiting.len() as u64 - last.end;
        let mut out = |bytes: &[u8]| writer.push(bytes);
        match entry.kind {
            Kind::Ids => numbers(&index.ids.all()[before..], &mut out)?,
            Kind::Gone => numbers(&gone, &mut out)?,
            Kind::NameEnds => numbers(&names.as_ref().expect("listed above").1, &mut out)?,
            Kind::Names => out(names.as_ref().expect("listed above").0)?,
            Kind::Originals | Kind::OriginalScales => {
                let originals = originals.expect("listed above");
                originals.write(before, entry.kind == Kind::OriginalScales, &mut out)?;
            }
            _ => kinds[usize::from(entry.partition)].write(entry, before, &mut out)?,
        }
        entry.crcs = writer.finish()?;
    }
    let end = writer.flush()?;
    let plain = kinds.get(1).map_or(0, Pieces::rows) as u64;
    let (rows, before) = (rows as u64, last.rows);
    let (ascending, largest) = (index.ids.in_order(), index.ids.largest());
    let head =
        Head { sequence, len: end - last.end, rows, before, plain, chain: last.chain, ascending, largest, entries };
    let (bytes, chain) = head.to_bytes();
    disk.write_at(last.end, &bytes).map_err(written)?;
    let record = Record { sequence, end, rows: before + rows, chain };
    Ok(Counted { record, gone: index.ids.gone.clone(), largest })
}

/// What the system says of a write, before the path is known.
pub(super) fn written(error: std::io::Error) -> Error {
    Error::file("", "cannot be written", &error)
}

/// The block of a section that is being written.
struct Block {
    crc: crc32fast::Hasher,
    bytes: usize,
}

impl Block {
    fn new() -> Self {
        Self { crc: crc32fast::Hasher::new(), bytes: 0 }
    }
}

/// Writes sections one after another, and computes the checksums of their blocks.
struct Writer<'a> {
    disk: &'a mut dyn Disk,
    /// Where the waiting bytes belong.
    at: u64,
    waiting: Vec<u8>,
    /// Checksums of the whole blocks of the section.
    crcs: Vec<u32>,
    block: Block,
}

impl Writer<'_> {
    fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.block.bytes));
            self.block.crc.update(now);
            self.block.bytes += now.len();
            if self.block.bytes == BLOCK_BYTES {
                self.end_block();
            }
            self.waiting.extend_from_slice(now);
            if self.waiting.len() >= BUFFER {
                self.flush()?;
            }
            bytes = later;
        }
        Ok(())
    }

    fn end_block(&mut self) {
        self.crcs.push(std::mem::replace(&mut self.block, Block::new()).crc.finalize());
    }

    /// Fills the section up to the next; returns its checksums.
    fn finish(&mut self) -> Result<Vec<u32>> {
        let len = self.block.bytes;
        self.push(&[0; ALIGN][..len.next_multiple_of(ALIGN) - len])?;
        if self.block.bytes > 0 {
            self.end_block();
        }
        Ok(std::mem::take(&mut self.crcs))
    }

    /// Writes what waits; returns where it ends.
    fn flush(&mut self) -> Result<u64> {
        self.disk.write_at(self.at, &self.waiting).map_err(written)?;
        self.at += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(self.at)
    }
}
