//! The fixed parts of an index file: its header with two commit records, and the heads of chunks (docs/format.md).

use crate::error::{Error, Result};
use crate::index::Keep;
use crate::metric::Metric;
use crate::storage::{BLOCK_BYTES, holds};

pub(super) const MAGIC: &[u8; 6] = b"TQINDX";
const CHUNK_MAGIC: &[u8; 6] = b"TQCHNK";
/// The version of index files.
pub const INDEX_VERSION: u16 = 1;
/// Sections start at multiples of this.
pub(super) const ALIGN: usize = 64;
/// The header's fields and either commit record stand in sectors of their own, so that writing one cannot tear another.
const SECTOR: usize = 512;
/// Where the codec's bytes start: after the header's fields and two records.
pub(super) const CODEC_AT: usize = 3 * SECTOR;
/// Bytes of the header's fields, and of a record.
const FIELDS: usize = 32;
const RECORD: usize = 64;
/// Bytes of a chunk's head before its table, and of a table's entry.
const HEAD: usize = 64;
const ENTRY: usize = 32;

/// What stands at the start of a file and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) metric: Metric,
    pub(super) keep: Option<Keep>,
    pub(super) codec_len: usize,
    pub(super) codec_crc: u32,
}

const METRICS: [Metric; 3] = [Metric::InnerProduct, Metric::Cosine, Metric::L2];
const KEEPS: [Option<Keep>; 5] =
    [None, Some(Keep::Float32), Some(Keep::Float16), Some(Keep::BFloat16), Some(Keep::Int8)];

impl Header {
    /// Where chunks start.
    pub(super) fn end(&self) -> usize {
        (CODEC_AT + self.codec_len).next_multiple_of(ALIGN)
    }

    /// The header's checksum, with which the chain of chunks starts.
    pub(super) fn crc(&self) -> u32 {
        u32_at(&self.to_bytes(), FIELDS - 4)
    }

    /// Its sector.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(INDEX_VERSION.to_le_bytes());
        bytes.extend((self.codec_len as u64).to_le_bytes());
        bytes.extend(self.codec_crc.to_le_bytes());
        bytes.push(METRICS.iter().position(|&metric| metric == self.metric).expect("one of three") as u8);
        bytes.push(KEEPS.iter().position(|&keep| keep == self.keep).expect("one of five") as u8);
        bytes.resize(FIELDS - 4, 0);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.resize(SECTOR, 0);
        bytes
    }

    /// Reads it from the start of a file's bytes.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        if !bytes.starts_with(MAGIC) {
            return Err(Error::corrupt_index("no index file (the first bytes must be TQINDX)", 0));
        }
        if bytes.len() < CODEC_AT {
            return Err(Error::corrupt_index("header is cut short", bytes.len()));
        }
        let version = u16::from_le_bytes([bytes[6], bytes[7]]);
        if version != INDEX_VERSION {
            return Err(Error::Version { of: "index file", found: version, newest: INDEX_VERSION });
        }
        if !holds(&bytes[..FIELDS - 4], u32_at(bytes, FIELDS - 4)) {
            return Err(Error::corrupt_index("header fails its checksum", FIELDS - 4));
        }
        check_zero(bytes, FIELDS..SECTOR, "header's padding")?;
        check_zero(bytes, 22..FIELDS - 4, "header's unused bytes")?;
        let metric = METRICS.get(usize::from(bytes[20])).copied();
        let metric = metric.ok_or_else(|| Error::corrupt_index("header holds an unknown metric", 20))?;
        let keep = KEEPS.get(usize::from(bytes[21])).copied();
        let keep = keep.ok_or_else(|| Error::corrupt_index("header holds an unknown form of originals", 21))?;
        let codec_len = usize::try_from(u64_at(bytes, 8)).ok().filter(|&len| len < 1 << 40);
        let codec_len = codec_len.ok_or_else(|| Error::corrupt_index("header holds an impossible codec length", 8))?;
        Ok(Self { metric, keep, codec_len, codec_crc: u32_at(bytes, 16) })
    }
}

/// A commit record: up to where a file counts. The record of commit s is number s mod 2, so that the one before outlives a torn write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    /// The number of the commit; 0 stands for none.
    pub(crate) sequence: u64,
    /// Bytes of the file that count.
    pub(crate) end: u64,
    /// Rows in them.
    pub(crate) rows: u64,
    /// Checksum of the last chunk's head; of the header without chunks.
    pub(crate) chain: u32,
}

impl Record {
    /// The state of a file without any commit.
    pub(super) fn none(header: &Header) -> Self {
        Self { sequence: 0, end: header.end() as u64, rows: 0, chain: header.crc() }
    }

    /// Where it stands in the file.
    pub(super) fn at(&self) -> usize {
        SECTOR * (1 + (self.sequence % 2) as usize)
    }

    /// Its sector.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SECTOR);
        [self.sequence, self.end, self.rows].iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes.extend(self.chain.to_le_bytes());
        bytes.resize(RECORD - 4, 0);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.resize(SECTOR, 0);
        bytes
    }

    /// Reads record `number` of a file: `None` if it is damaged.
    fn parse(bytes: &[u8], header: &Header, number: usize) -> Option<Self> {
        let sector = &bytes[SECTOR * (1 + number)..][..SECTOR];
        if sector.iter().all(|&byte| byte == 0) {
            return (number == 0).then(|| Self::none(header));
        }
        let [sequence, end, rows] = [0, 8, 16].map(|at| u64_at(sector, at));
        let record = Self { sequence, end, rows, chain: u32_at(sector, 24) };
        let right = holds(&sector[..RECORD - 4], u32_at(sector, RECORD - 4));
        let zero = sector[28..RECORD - 4].iter().chain(&sector[RECORD..]).all(|&byte| byte == 0);
        (right && zero && sequence > 0 && sequence % 2 == number as u64 && end >= header.end() as u64).then_some(record)
    }

    /// Both records of a file.
    pub(super) fn both(bytes: &[u8], header: &Header) -> [Option<Self>; 2] {
        [0, 1].map(|number| Self::parse(bytes, header, number))
    }
}

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first stage in files from before `Blocks`, in blocks of 64 rows instead of 16.
    LongBlocks = 1,
    /// A stage, row-major.
    Stage = 2,
    /// Bounds of the first stage of plain codecs, 4 bytes a row; of fitted ones in files from before `FittedBounds`.
    Bounds = 3,
    /// Scales, float32.
    Scales = 4,
    /// Squared norms, float32.
    Squares = 5,
    /// Numbers of the rows among those of the chunk, 8 bytes each.
    Numbers = 6,
    /// Ids, 8 bytes each.
    Ids = 7,
    /// Numbers of rows that are gone, among those of all chunks so far, 8 bytes each.
    Gone = 8,
    /// Where each string id ends among those of the chunk, 8 bytes each.
    NameEnds = 9,
    /// String ids, UTF-8, one after another.
    Names = 10,
    /// Rows that are kept for exact scores.
    Originals = 11,
    /// Scales of kept rows, float32.
    OriginalScales = 12,
    /// Bounds of the first stage of fitted codecs, 4 bytes a row.
    FittedBounds = 13,
    /// The first stage in blocks of 16 rows, column by column: the first byte of 16 rows, then the second.
    Blocks = 14,
}

impl Kind {
    /// Its name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Blocks | Self::LongBlocks => "planes of the first stage",
            Self::Stage => "codes",
            Self::Bounds | Self::FittedBounds => "bounds",
            Self::Scales => "scales",
            Self::Squares => "squared norms",
            Self::Numbers => "row numbers",
            Self::Ids => "ids",
            Self::Gone => "removed rows",
            Self::NameEnds => "ends of string ids",
            Self::Names => "string ids",
            Self::Originals => "originals",
            Self::OriginalScales => "scales of originals",
        }
    }

    fn of(number: u16) -> Option<Self> {
        use Kind::{
            Blocks, Bounds, FittedBounds, Gone, Ids, LongBlocks, NameEnds, Names, Numbers, OriginalScales, Originals,
            Scales, Squares, Stage,
        };
        let arrays = [LongBlocks, Blocks, Stage, Bounds, FittedBounds, Scales, Squares, Numbers];
        let others = [Ids, Gone, NameEnds, Names, Originals, OriginalScales];
        arrays.into_iter().chain(others).find(|kind| *kind as u16 == number)
    }
}

/// A section of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// 0 for rows of the codec, 1 for those of its plain codec.
    pub(crate) partition: u8,
    /// Which stage, from 0; 0 in other sections.
    pub(crate) stage: u8,
    /// Bytes of a row.
    pub(crate) width: u32,
    /// Bytes of the content.
    pub(crate) len: u64,
    /// Its first byte, counted from the chunk's.
    pub(crate) at: u64,
    /// CRC-32 of every block of the section, padding included.
    pub(crate) crcs: Vec<u32>,
}

impl Entry {
    /// A section that is to be written.
    pub(crate) fn new(kind: Kind, partition: usize, stage: usize, width: usize, len: usize) -> Self {
        let (partition, stage, width, len) = (partition as u8, stage as u8, width as u32, len as u64);
        Self { kind, partition, stage, width, len, at: 0, crcs: Vec::new() }
    }

    /// Bytes up to the next section.
    pub(crate) fn padded(&self) -> u64 {
        self.len.next_multiple_of(ALIGN as u64)
    }
}

/// The head of a chunk: what one commit has added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) sequence: u64,
    /// Bytes of the chunk, head included.
    pub(super) len: u64,
    /// Rows of the chunk, and before it.
    pub(super) rows: u64,
    pub(super) before: u64,
    /// Rows of the chunk that are in the plain partition.
    pub(super) plain: u64,
    /// Checksum of the head before it, or of the header.
    pub(super) chain: u32,
    /// Whether ids ascend, in this chunk and all before it.
    pub(super) ascending: bool,
    /// The largest id up to and with this chunk.
    pub(super) largest: i64,
    pub(super) entries: Vec<Entry>,
}

impl Head {
    /// Bytes of a head whose sections have these lengths.
    pub(super) fn len_of(entries: &[Entry]) -> usize {
        let blocks: usize = entries.iter().map(|entry| blocks_of(entry.padded()) as usize).sum();
        (HEAD + ENTRY * entries.len() + 4 * blocks + 4).next_multiple_of(ALIGN)
    }

    /// The head's bytes and its checksum.
    pub(super) fn to_bytes(&self) -> (Vec<u8>, u32) {
        let mut bytes = CHUNK_MAGIC.to_vec();
        bytes.extend((self.entries.len() as u16).to_le_bytes());
        let words = [self.sequence, self.len, self.rows, self.before, self.plain];
        words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes.extend(self.chain.to_le_bytes());
        bytes.extend(u32::from(self.ascending).to_le_bytes());
        bytes.extend(self.largest.to_le_bytes());
        for entry in &self.entries {
            bytes.extend((entry.kind as u16).to_le_bytes());
            bytes.extend([entry.partition, entry.stage]);
            bytes.extend(entry.width.to_le_bytes());
            bytes.extend(entry.at.to_le_bytes());
            bytes.extend(entry.len.to_le_bytes());
            bytes.extend([0; 8]);
        }
        self.entries.iter().flat_map(|entry| &entry.crcs).for_each(|crc| bytes.extend(crc.to_le_bytes()));
        let crc = crc32fast::hash(&bytes);
        bytes.extend(crc.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        (bytes, crc)
    }

    /// Reads the head of the chunk that starts at byte `at` of a file of which `bytes` count, and its checksum.
    pub(super) fn parse(bytes: &[u8], at: usize) -> Result<(Self, u32)> {
        let cut = || Error::corrupt_index("chunk's head is cut short", bytes.len());
        let chunk = bytes.get(at..).filter(|chunk| chunk.len() >= HEAD).ok_or_else(cut)?;
        if !chunk.starts_with(CHUNK_MAGIC) {
            return Err(Error::corrupt_index("no chunk starts (its first bytes must be TQCHNK)", at));
        }
        let count = usize::from(u16::from_le_bytes([chunk[6], chunk[7]]));
        let table = HEAD..HEAD + ENTRY * count;
        let entries = chunk.get(table.clone()).ok_or_else(cut)?.chunks_exact(ENTRY);
        // Nothing is believed before the checksum but where it stands; a length that is wrong leads out of the chunk or to a wrong one.
        let blocks = entries.clone().try_fold(0_u64, |sum, entry| sum.checked_add(blocks_of(u64_at(entry, 16))));
        let blocks = blocks.filter(|&blocks| blocks < chunk.len() as u64 / 4).ok_or_else(cut)? as usize;
        let end = table.end + 4 * blocks;
        let crc = u32_at(chunk.get(end..end + 4).ok_or_else(cut)?, 0);
        if !holds(&chunk[..end], crc) {
            return Err(Error::corrupt_index("chunk's head fails its checksum, chunk starts", at));
        }
        let head_len = (end + 4).next_multiple_of(ALIGN);
        if chunk.len() < head_len {
            return Err(cut());
        }
        check_zero(bytes, at + end + 4..at + head_len, "padding of a chunk's head")?;
        let [sequence, len, rows, before, plain] = [8, 16, 24, 32, 40].map(|at| u64_at(chunk, at));
        if len < head_len as u64 || len > chunk.len() as u64 || !len.is_multiple_of(ALIGN as u64) || plain > rows {
            return Err(Error::corrupt_index("chunk's head holds impossible numbers", at + 16));
        }
        let mut crcs = chunk[table.end..end].as_chunks().0.iter().map(|&crc| u32::from_le_bytes(crc));
        let mut next = head_len as u64;
        let mut parsed = Vec::with_capacity(count);
        for (i, entry) in entries.enumerate() {
            let place = at + HEAD + ENTRY * i;
            let kind = Kind::of(u16::from_le_bytes([entry[0], entry[1]]));
            let kind = kind.ok_or_else(|| Error::corrupt_index("chunk holds an unknown kind of section", place))?;
            let len = u64_at(entry, 16);
            let crcs = crcs.by_ref().take(blocks_of(len) as usize).collect();
            let [partition, stage] = [entry[2], entry[3]];
            let entry = Entry { kind, partition, stage, width: u32_at(entry, 4), len, at: u64_at(entry, 8), crcs };
            if entry.at != next {
                return Err(Error::corrupt_index("chunk's sections do not follow one another", place + 8));
            }
            next = next
                .checked_add(entry.padded())
                .ok_or_else(|| Error::corrupt_index("section is too long", place + 16))?;
            parsed.push(entry);
        }
        let (ascending, largest) = (u32_at(chunk, 52), u64_at(chunk, 56) as i64);
        if ascending > 1 || largest < 0 {
            return Err(Error::corrupt_index("chunk's head holds impossible ids", at + 52));
        }
        if next != len {
            return Err(Error::corrupt_index("chunk's length contradicts its sections", at + 16));
        }
        let (chain, ascending) = (u32_at(chunk, 48), ascending == 1);
        Ok((Self { sequence, len, rows, before, plain, chain, ascending, largest, entries: parsed }, crc))
    }
}

/// Blocks of a section of `len` bytes, which a checksum covers each.
fn blocks_of(len: u64) -> u64 {
    len.div_ceil(ALIGN as u64).div_ceil((BLOCK_BYTES / ALIGN) as u64)
}

/// Refuses bytes that must be 0 and are not.
pub(super) fn check_zero(bytes: &[u8], range: std::ops::Range<usize>, what: &str) -> Result<()> {
    match bytes[range.clone()].iter().position(|&byte| byte != 0) {
        Some(at) => Err(Error::corrupt_index(format!("{what} is not zero"), range.start + at)),
        None => Ok(()),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
