//! Codes of the papers' codecs, and their bytes: format version 1 (docs/format.md).

use super::polar::check_radii;
use super::spec::{MAX_LEVELS, PaperSpec};
use crate::codec::FORMAT_VERSION;
use crate::error::{Error, Result};
use crate::storage::holds;

const MAGIC: &[u8; 6] = b"TQPAPR";
/// Fields of a header before its checksums.
const FIXED: usize = 60;
/// Three checksums: packed rows, scales, header.
const END: usize = FIXED + 12;
/// Sections start at multiples of this.
const ALIGN: usize = 64;

/// n encoded vectors of QJL, TurboQuant_prod or PolarQuant: packed rows and scales, with the description of their codec.
///
/// # Examples
/// ```
/// use turboquant_rs::papers::{PaperCodec, PaperCodes, ProjectionKind, Qjl};
/// let codec = Qjl::new(8, 64, ProjectionKind::Gaussian, 0)?;
/// let codes = codec.encode(&[1.0; 24])?;
/// let bytes = codes.to_bytes();
/// assert_eq!(PaperCodes::from_bytes(&bytes)?, codes);
/// assert!(PaperCodes::from_bytes(&bytes[1..]).is_err());
/// # Ok::<(), turboquant_rs::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PaperCodes {
    spec: PaperSpec,
    packed: Vec<u8>,
    scales: Vec<f32>,
}

impl PaperCodes {
    /// Codes from their parts: packed rows, and scales row by row.
    ///
    /// # Errors
    /// [`Error::Argument`] if the parts contradict each other, a scale is not finite, or a radius is not finite or negative.
    pub fn new(spec: PaperSpec, packed: Vec<u8>, scales: Vec<f32>) -> Result<Self> {
        spec.check()?;
        check_parts(&spec, &packed, &scales)?;
        Ok(Self { spec, packed, scales })
    }

    /// Encoded vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packed.len() / self.spec.row_bytes()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// The codec's description.
    #[must_use]
    pub fn spec(&self) -> &PaperSpec {
        &self.spec
    }

    /// Packed rows, row after row.
    #[must_use]
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// Scales, row after row.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Header, packed rows, scales, each section at a multiple of 64 bytes; see docs/format.md.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let scales: Vec<u8> = self.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        let header = Header {
            spec: self.spec.clone(),
            rows: self.len(),
            packed_crc: crc32fast::hash(&self.packed),
            scales_crc: crc32fast::hash(&scales),
        };
        let mut bytes = header.to_bytes();
        bytes.extend(&self.packed);
        bytes.resize(header.scales_at(), 0);
        bytes.extend(scales);
        bytes
    }

    /// Reads [`to_bytes`](Self::to_bytes)'s bytes.
    ///
    /// # Errors
    /// [`Error::Version`] for a newer format, [`Error::Corrupt`] for anything else that is not right: every flipped bit and every
    /// missing or added byte.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let header = Header::parse(bytes)?;
        header.check_length(bytes.len())?;
        let (packed_at, scales_at) = (header.packed_at(), header.scales_at());
        let packed_end = packed_at + header.packed_len();
        let (packed, scales) = (&bytes[packed_at..packed_end], &bytes[scales_at..]);
        if let Some(at) = bytes[packed_end..scales_at].iter().position(|&byte| byte != 0) {
            return Err(Error::corrupt("padding is not zero", packed_end + at));
        }
        if !holds(packed, header.packed_crc) {
            return Err(Error::corrupt("packed codes fail their checksum, section starts", packed_at));
        }
        if !holds(scales, header.scales_crc) {
            return Err(Error::corrupt("scales fail their checksum, section starts", scales_at));
        }
        // Only these values can be faulty now: scales, or without any the radii among the packed rows.
        let values_at = if scales.is_empty() { packed_at } else { scales_at };
        let scales: Vec<f32> = scales.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        Self::new(header.spec, packed.to_vec(), scales)
            .map_err(|error| Error::corrupt(format!("no codes: {error}, section starts"), values_at))
    }
}

/// Checks the parts of codes, rows and scales in the caller's memory; returns the number of rows.
///
/// # Errors
/// As for [`PaperCodes::new`].
pub fn check_parts(spec: &PaperSpec, packed: &[u8], scales: &[f32]) -> Result<usize> {
    let (row_bytes, norms) = (spec.row_bytes(), spec.norms());
    let len = packed.len() / row_bytes;
    if !packed.len().is_multiple_of(row_bytes) || scales.len() != len * norms {
        let expected = format!("whole rows of {row_bytes} bytes with {norms} scales each");
        let got = format!("{} bytes and {} scales", packed.len(), scales.len());
        return Err(Error::argument("packed", expected, got));
    }
    if let Some(at) = scales.iter().position(|scale| !scale.is_finite()) {
        return Err(Error::argument("scales", "finite", format!("{} at row {}", scales[at], at / norms)));
    }
    check_radii(spec, packed)?;
    Ok(len)
}

/// The header of code bytes.
struct Header {
    /// The codec's description.
    spec: PaperSpec,
    /// Rows.
    rows: usize,
    /// CRC-32 of the packed rows.
    packed_crc: u32,
    /// CRC-32 of the scales.
    scales_crc: u32,
}

impl Header {
    /// Where the packed rows start.
    fn packed_at(&self) -> usize {
        END.next_multiple_of(ALIGN)
    }

    /// Bytes of the packed rows.
    fn packed_len(&self) -> usize {
        self.rows * self.spec.row_bytes()
    }

    /// Where the scales start.
    fn scales_at(&self) -> usize {
        (self.packed_at() + self.packed_len()).next_multiple_of(ALIGN)
    }

    /// Bytes of the whole.
    fn total_len(&self) -> usize {
        self.scales_at() + 4 * self.rows * self.spec.norms()
    }

    /// The header's bytes, padded to where the packed rows start.
    fn to_bytes(&self) -> Vec<u8> {
        let (kind, choice, size, bits) = self.spec.numbers();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT_VERSION.to_le_bytes());
        bytes.extend(self.spec.fingerprint().to_le_bytes());
        bytes.extend((self.rows as u64).to_le_bytes());
        bytes.extend((self.spec.dim() as u32).to_le_bytes());
        bytes.extend([kind, choice, bits.len() as u8, 0]);
        bytes.extend(self.spec.seed().to_le_bytes());
        bytes.extend((size as u32).to_le_bytes());
        bytes.extend(bits.iter().map(|&bits| bits as u8));
        bytes.resize(FIXED, 0);
        bytes.extend(self.packed_crc.to_le_bytes());
        bytes.extend(self.scales_crc.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.resize(self.packed_at(), 0);
        bytes
    }

    /// Reads a header from the start of `bytes`, which may go on after it.
    fn parse(bytes: &[u8]) -> Result<Self> {
        if !bytes.starts_with(MAGIC) {
            return Err(Error::corrupt(
                "no codes of QJL, TurboQuantProd or PolarQuant (the first bytes must be TQPAPR)",
                0,
            ));
        }
        let packed_at = END.next_multiple_of(ALIGN);
        if bytes.len() < packed_at {
            return Err(Error::corrupt("header is cut short", bytes.len()));
        }
        let version = u16::from_le_bytes([bytes[6], bytes[7]]);
        if version > FORMAT_VERSION {
            return Err(Error::Version { of: "code bytes", found: version, newest: FORMAT_VERSION });
        }
        if !holds(&bytes[..END - 4], u32_at(bytes, END - 4)) {
            return Err(Error::corrupt("header fails its checksum", END - 4));
        }
        if let Some(at) = bytes[END..packed_at].iter().position(|&byte| byte != 0) {
            return Err(Error::corrupt("header's padding is not zero", END + at));
        }
        // From here on the checksum holds, so a contradiction is a faulty writer's.
        let (dim, count, size) = (u32_at(bytes, 24) as usize, usize::from(bytes[30]), u32_at(bytes, 40) as usize);
        let no_codec = || Error::corrupt("header holds no codec", 24);
        let bits: Vec<u32> = bytes[44..FIXED].iter().map(|&bits| u32::from(bits)).collect();
        if count > MAX_LEVELS || bytes[31] != 0 || bits[count..].iter().any(|&bits| bits != 0) {
            return Err(no_codec());
        }
        let spec = PaperSpec::from_numbers(bytes[28], dim, bytes[29], size, &bits[..count], u64_at(bytes, 32));
        let spec = spec.ok_or_else(no_codec)?;
        if spec.fingerprint() != u64_at(bytes, 8) {
            return Err(Error::corrupt("header's fields contradict each other", 8));
        }
        let rows = usize::try_from(u64_at(bytes, 16)).ok();
        let rows = rows.filter(|&rows| rows.checked_mul(spec.row_bytes() + 4 * spec.norms() + 1).is_some());
        Ok(Self {
            rows: rows.ok_or_else(|| Error::corrupt("header holds an impossible number of rows", 16))?,
            spec,
            packed_crc: u32_at(bytes, FIXED),
            scales_crc: u32_at(bytes, FIXED + 4),
        })
    }

    /// Checks the length of the whole.
    fn check_length(&self, len: usize) -> Result<()> {
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

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
