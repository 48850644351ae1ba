//! The header of code bytes, with the section that describes a fitted codec or the outliers of a split one (docs/format.md).

use std::sync::Arc;

use crate::codec::{
    CodecSpec, FORMAT_VERSION, Fitted, Has, MAX_DIM, MAX_SEGMENTS, Outliers, RotationKind, Scale, Segment, section_len,
};
use crate::error::{Error, Result};
use crate::storage::holds;

const MAGIC: &[u8; 6] = b"TQCODE";
/// Fixed fields of a header, before the segments.
const FIXED: usize = 40;
/// Bytes of a segment's entry.
const SEGMENT: usize = 8;
/// Bytes of a checksum.
const CRC: usize = 4;
/// Sections start at multiples of this.
const ALIGN: usize = 64;
/// Bits of the rotation's byte: the codec is fitted, has a center, has a dual; or its channels are split.
const FITTED: u8 = 128;
const CENTERED: u8 = 64;
const DUAL: u8 = 32;
const SPLIT: u8 = 16;

/// The header of code bytes: what a writer that streams sections, or a reader that maps them, needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The codec's description.
    pub spec: CodecSpec,
    /// Bits present of each segment.
    pub keep: Vec<u32>,
    /// Rows.
    pub rows: usize,
    /// CRC-32 of the packed rows.
    pub packed_crc: u32,
    /// CRC-32 of the scales.
    pub scales_crc: u32,
}

impl Header {
    /// Where the packed rows start.
    #[must_use]
    pub fn packed_at(&self) -> usize {
        let spec = &self.spec;
        let section = match (&spec.fitted, &spec.outliers) {
            (Some(fitted), _) => Some(section_len(fitted.dim(), &spec.segment_parts(), fitted.has())),
            (None, Some(_)) => Some(Outliers::section_len(spec.dim())),
            (None, None) => None,
        };
        let section_at = end_of(spec.segments.len(), section.is_some()).next_multiple_of(ALIGN);
        section_at + section.unwrap_or(0).next_multiple_of(ALIGN)
    }

    /// Bytes of the packed rows.
    #[must_use]
    pub fn packed_len(&self) -> usize {
        self.rows * self.spec.row_bytes(&self.keep)
    }

    /// Where the scales start.
    #[must_use]
    pub fn scales_at(&self) -> usize {
        (self.packed_at() + self.packed_len()).next_multiple_of(ALIGN)
    }

    /// Bytes of the whole.
    #[must_use]
    pub fn total_len(&self) -> usize {
        self.scales_at() + 4 * self.rows * self.spec.norms()
    }

    /// The header's bytes, with the section of a fitted codec, padded to where the packed rows start.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let spec = &self.spec;
        let (mut flags, mut section) = (0, Vec::new());
        if let Some(fitted) = &spec.fitted {
            let has = fitted.has();
            flags = FITTED + CENTERED * u8::from(has.center) + DUAL * u8::from(has.dual);
            section = fitted.to_bytes();
        } else if let Some(outliers) = &spec.outliers {
            flags = SPLIT;
            section = outliers.to_bytes();
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT_VERSION.to_le_bytes());
        bytes.extend(spec.fingerprint().to_le_bytes());
        bytes.extend((self.rows as u64).to_le_bytes());
        bytes.extend((spec.dim() as u32).to_le_bytes());
        bytes.extend([spec.scale as u8, spec.refine, spec.rotation as u8 + flags, spec.segments.len() as u8]);
        bytes.extend(spec.seed.to_le_bytes());
        for (segment, &keep) in spec.segments.iter().zip(&self.keep) {
            bytes.extend((segment.dim as u32).to_le_bytes());
            bytes.extend([segment.bits as u8, keep as u8, 0, 0]);
        }
        bytes.extend(self.packed_crc.to_le_bytes());
        bytes.extend(self.scales_crc.to_le_bytes());
        if !section.is_empty() {
            bytes.extend(crc32fast::hash(&section).to_le_bytes());
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        bytes.extend(section);
        bytes.resize(self.packed_at(), 0);
        bytes
    }

    /// Bytes from the start that [`parse`](Self::parse) reads, told by the first ones: [`Header::LONGEST`] are always enough to tell.
    ///
    /// # Errors
    /// As for [`parse`](Self::parse).
    pub fn len_of(bytes: &[u8]) -> Result<usize> {
        let start = Start::read(bytes)?;
        Ok(start.end.next_multiple_of(ALIGN) + start.section.unwrap_or(0).next_multiple_of(ALIGN))
    }

    /// The longest header, the section of a fitted codec apart.
    pub const LONGEST: usize = end_of(MAX_SEGMENTS, true).next_multiple_of(ALIGN);

    /// Reads a header, with the section of a fitted codec, from the start of `bytes`, which may go on after it.
    ///
    /// # Errors
    /// [`Error::Version`] for a newer format, [`Error::Corrupt`] if this is no header or a damaged one.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let start = Start::read(bytes)?;
        let section_at = start.end.next_multiple_of(ALIGN);
        let (mut fitted, mut outliers) = (None, None);
        if let Some(len) = start.section {
            let end = section_at + len;
            if bytes.len() < end.next_multiple_of(ALIGN) {
                return Err(Error::corrupt("codec section is cut short", bytes.len()));
            }
            let section = &bytes[section_at..end];
            if !holds(section, u32_at(bytes, start.end - 2 * CRC)) {
                return Err(Error::corrupt("codec section fails its checksum, section starts", section_at));
            }
            check_padding(bytes, end, "codec section's padding")?;
            let dim = u32_at(bytes, 24) as usize;
            let damaged = |error| Error::corrupt(format!("header holds no codec: {error}"), section_at);
            if bytes[30] & FITTED == 0 {
                outliers = Some(Arc::new(Outliers::from_bytes(section, dim).map_err(damaged)?));
            } else {
                let parts: Vec<_> = start.segments.iter().map(|s| (s.dim, s.bits)).collect();
                fitted = Some(Arc::new(Fitted::from_bytes(section, dim, &parts, has(bytes[30])).map_err(damaged)?));
            }
        }
        let header = Self::fields(bytes, start, fitted, outliers)?;
        if header.spec.fingerprint() != u64_at(bytes, 8) || header.spec.dim() != u32_at(bytes, 24) as usize {
            return Err(Error::corrupt("header's fields contradict each other", 8));
        }
        Ok(header)
    }

    fn fields(
        bytes: &[u8],
        start: Start,
        fitted: Option<Arc<Fitted>>,
        outliers: Option<Arc<Outliers>>,
    ) -> Result<Self> {
        let scale = Scale::from_number(bytes[28]).ok_or_else(|| unknown("scale", 28))?;
        let kind = bytes[30] & !(FITTED | CENTERED | DUAL | SPLIT);
        let rotation = RotationKind::from_number(kind).ok_or_else(|| unknown("rotation", 30))?;
        let Start { segments, keep, .. } = start;
        let count = segments.len();
        let (seed, refine) = (u64_at(bytes, 32), bytes[29]);
        let spec = CodecSpec { segments, seed, rotation, scale, refine, fitted, outliers };
        spec.check().map_err(|error| Error::corrupt(format!("header holds no codec: {error}"), FIXED))?;
        spec.check_keep(&keep).map_err(|_| unknown("number of kept bits", FIXED))?;
        let rows = usize::try_from(u64_at(bytes, 16)).ok();
        let rows = rows.filter(|&rows| rows.checked_mul(spec.row_bytes(&keep) + 4 * count + 1).is_some());
        let end = FIXED + SEGMENT * count;
        Ok(Self {
            rows: rows.ok_or_else(|| Error::corrupt("header holds an impossible number of rows", 16))?,
            spec,
            keep,
            packed_crc: u32_at(bytes, end),
            scales_crc: u32_at(bytes, end + CRC),
        })
    }

    /// Checks the length of the whole.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is not what the header asks for.
    pub fn check_length(&self, len: usize) -> Result<()> {
        let expected = self.total_len();
        match len.cmp(&expected) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Less => Err(Error::corrupt(format!("{expected} bytes expected, cut short"), len)),
            std::cmp::Ordering::Greater => {
                Err(Error::corrupt(format!("{expected} bytes expected, more follow"), expected))
            }
        }
    }
}

/// The part of a header that tells where everything else is, checksum and padding checked.
struct Start {
    /// End of the last checksum.
    end: usize,
    segments: Vec<Segment>,
    keep: Vec<u32>,
    /// Bytes of the section of a fitted or split codec.
    section: Option<usize>,
}

impl Start {
    fn read(bytes: &[u8]) -> Result<Self> {
        if !bytes.starts_with(MAGIC) {
            return Err(Error::corrupt("no turboquant codes (the first bytes must be TQCODE)", 0));
        }
        if bytes.len() < FIXED {
            return Err(Error::corrupt("header is cut short", bytes.len()));
        }
        let version = u16::from_le_bytes([bytes[6], bytes[7]]);
        if version > FORMAT_VERSION {
            return Err(Error::Version { of: "code bytes", found: version, newest: FORMAT_VERSION });
        }
        let count = usize::from(bytes[31]);
        let (fitted, split) = (bytes[30] & FITTED != 0, bytes[30] & SPLIT != 0);
        let end = end_of(count, fitted || split);
        if bytes.len() < end.next_multiple_of(ALIGN) {
            return Err(Error::corrupt("header is cut short", bytes.len()));
        }
        if !holds(&bytes[..end - CRC], u32_at(bytes, end - CRC)) {
            return Err(Error::corrupt("header fails its checksum", end - CRC));
        }
        check_padding(bytes, end, "header's padding")?;
        // From here on the checksum holds, so a contradiction is a faulty writer's.
        let (mut segments, mut keep, mut start) = (Vec::new(), Vec::new(), 0);
        for i in 0..count {
            let at = FIXED + SEGMENT * i;
            let (dim, bits) = (u32_at(bytes, at) as usize, u32::from(bytes[at + 4]));
            if bytes[at + 6..at + 8] != [0, 0] {
                return Err(unknown("segment", at + 6));
            }
            segments.push(Segment { start, dim, bits });
            keep.push(u32::from(bytes[at + 5]));
            start += dim;
        }
        if (fitted && split) || !fitted && has(bytes[30]) != (Has { center: false, dual: false }) {
            return Err(unknown("rotation", 30));
        }
        let dim = u32_at(bytes, 24) as usize;
        if (fitted || split) && (dim > MAX_DIM || start > dim) {
            return Err(unknown("number of axes", 24));
        }
        let parts: Vec<_> = segments.iter().map(|s| (s.dim, s.bits)).collect();
        let section = match (fitted, split) {
            (true, _) => Some(section_len(dim, &parts, has(bytes[30]))),
            (false, true) => Some(Outliers::section_len(dim)),
            (false, false) => None,
        };
        Ok(Self { end, segments, keep, section })
    }
}

/// The end of a header's checksums: packed rows, scales, the codec's section if it has one, the header itself.
const fn end_of(segments: usize, section: bool) -> usize {
    FIXED + SEGMENT * segments + CRC * (3 + section as usize)
}

fn check_padding(bytes: &[u8], end: usize, what: &str) -> Result<()> {
    match bytes[end..end.next_multiple_of(ALIGN)].iter().position(|&byte| byte != 0) {
        Some(at) => Err(Error::corrupt(format!("{what} is not zero"), end + at)),
        None => Ok(()),
    }
}

fn has(flags: u8) -> Has {
    Has { center: flags & CENTERED != 0, dual: flags & DUAL != 0 }
}

fn unknown(what: &str, at: usize) -> Error {
    Error::corrupt(format!("header holds an unknown {what}"), at)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
