//! The header of code bytes, with the section that describes a fitted codec (docs/format.md).

use std::sync::Arc;

use crate::codec::{
    CodecSpec, FORMAT_VERSION, Fitted, Has, MAX_DIM, MAX_SEGMENTS, RotationKind, Scale, Segment, section_len,
};
use crate::error::{Error, Result};

const MAGIC: &[u8; 6] = b"TQCODE";
/// Fixed fields of a header, before the segments.
const FIXED: usize = 40;
/// Bytes of a segment's entry.
const SEGMENT: usize = 8;
/// Bytes of a checksum.
const CRC: usize = 4;
/// Sections start at multiples of this.
const ALIGN: usize = 64;
/// Bits of the rotation's byte: the codec is fitted, has a center, has a dual.
const FITTED: u8 = 128;
const CENTERED: u8 = 64;
const DUAL: u8 = 32;

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
        let section_at = end_of(spec.segments.len(), spec.fitted.is_some()).next_multiple_of(ALIGN);
        let section = spec.fitted.as_ref().map(|fitted| section_len(fitted.dim(), &spec.segment_parts(), fitted.has()));
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
        if spec.fitted.is_some() {
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
        let mut fitted = None;
        if let Some(len) = start.section {
            let end = section_at + len;
            if bytes.len() < end.next_multiple_of(ALIGN) {
                return Err(Error::corrupt("codec section is cut short", bytes.len()));
            }
            let section = &bytes[section_at..end];
            if crc32fast::hash(section) != u32_at(bytes, start.end - 2 * CRC) {
                return Err(Error::corrupt("codec section fails its checksum, section starts", section_at));
            }
            check_padding(bytes, end, "codec section's padding")?;
            let parts: Vec<_> = start.segments.iter().map(|s| (s.dim, s.bits)).collect();
            let made = Fitted::from_bytes(section, u32_at(bytes, 24) as usize, &parts, has(bytes[30]));
            let made = made.map_err(|error| Error::corrupt(format!("header holds no codec: {error}"), section_at))?;
            fitted = Some(Arc::new(made));
        }
        let header = Self::fields(bytes, start, fitted)?;
        if header.spec.fingerprint() != u64_at(bytes, 8) || header.spec.dim() != u32_at(bytes, 24) as usize {
            return Err(Error::corrupt("header's fields contradict each other", 8));
        }
        Ok(header)
    }

    fn fields(bytes: &[u8], start: Start, fitted: Option<Arc<Fitted>>) -> Result<Self> {
        let scale = Scale::from_number(bytes[28]).ok_or_else(|| unknown("scale", 28))?;
        let kind = bytes[30] & !(FITTED | CENTERED | DUAL);
        let rotation = RotationKind::from_number(kind).ok_or_else(|| unknown("rotation", 30))?;
        let Start { segments, keep, .. } = start;
        let count = segments.len();
        let spec = CodecSpec { segments, seed: u64_at(bytes, 32), rotation, scale, refine: bytes[29], fitted };
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
    /// Bytes of a fitted codec's section.
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
        if version != FORMAT_VERSION {
            return Err(Error::Version { found: version, newest: FORMAT_VERSION });
        }
        let (count, fitted) = (usize::from(bytes[31]), bytes[30] & FITTED != 0);
        let end = end_of(count, fitted);
        if bytes.len() < end.next_multiple_of(ALIGN) {
            return Err(Error::corrupt("header is cut short", bytes.len()));
        }
        if crc32fast::hash(&bytes[..end - CRC]) != u32_at(bytes, end - CRC) {
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
        if !fitted && has(bytes[30]) != (Has { center: false, dual: false }) {
            return Err(unknown("rotation", 30));
        }
        let dim = u32_at(bytes, 24) as usize;
        if fitted && (dim > MAX_DIM || start > dim) {
            return Err(unknown("number of axes", 24));
        }
        let parts: Vec<_> = segments.iter().map(|s| (s.dim, s.bits)).collect();
        let section = fitted.then(|| section_len(dim, &parts, has(bytes[30])));
        Ok(Self { end, segments, keep, section })
    }
}

/// The end of a header's checksums: packed rows, scales, the codec's section if fitted, the header itself.
const fn end_of(segments: usize, fitted: bool) -> usize {
    FIXED + SEGMENT * segments + CRC * (3 + fitted as usize)
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
