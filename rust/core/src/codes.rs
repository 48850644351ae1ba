//! Encoded vectors, and their bytes: format version 0 (docs/format.md).

use crate::codec::{CodecSpec, FORMAT_VERSION, RotationKind, Scale, Segment, TurboQuant};
use crate::error::{Error, Result};
use crate::units::stage_ends;

const MAGIC: &[u8; 6] = b"TQCODE";
/// Fixed fields of a header, before the segments.
const FIXED: usize = 40;
/// Bytes of a segment's entry.
const SEGMENT: usize = 8;
/// Three checksums after the segments: packed rows, scales, header.
const CHECKSUMS: usize = 12;
/// Sections start at multiples of this.
const ALIGN: usize = 64;
/// n encoded vectors: packed rows and scales, with the description of their codec.
///
/// # Examples
/// ```
/// use turboquant_rs::{Codes, Options, TurboQuant};
/// let codec = TurboQuant::new(8, 2, Options::default())?;
/// let codes = codec.encode(&[1.0; 24])?;
/// let bytes = codes.to_bytes();
/// assert_eq!(Codes::from_bytes(&bytes)?, codes);
/// assert!(Codes::from_bytes(&bytes[1..]).is_err());
/// # Ok::<(), turboquant_rs::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Codes {
    spec: CodecSpec,
    keep: Vec<u32>,
    packed: Vec<u8>,
    scales: Vec<f32>,
}

impl Codes {
    /// Codes from their parts: `packed` rows that keep `keep` bits of each segment, and `scales`, one a segment and row.
    ///
    /// # Errors
    /// [`Error::Argument`] if the parts contradict each other.
    pub fn new(spec: CodecSpec, keep: Vec<u32>, packed: Vec<u8>, scales: Vec<f32>) -> Result<Self> {
        check_parts(&spec, &keep, &packed, &scales)?;
        Ok(Self { spec, keep, packed, scales })
    }

    /// A view of all rows.
    #[must_use]
    pub fn view(&self) -> CodesView<'_> {
        CodesView {
            fingerprint: self.fingerprint(),
            keep: &self.keep,
            packed: &self.packed,
            scales: &self.scales,
            row_bytes: self.row_bytes(),
            len: self.len(),
        }
    }

    /// Encoded vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scales.len() / self.spec.norms()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// The codec's description.
    #[must_use]
    pub fn spec(&self) -> &CodecSpec {
        &self.spec
    }

    /// The codec's identity.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.spec.fingerprint()
    }

    /// Bits present of each segment; less than the codec's after [`truncate`](crate::TurboQuant::truncate).
    #[must_use]
    pub fn keep(&self) -> &[u32] {
        &self.keep
    }

    /// Packed rows, [`row_bytes`](Self::row_bytes) each.
    #[must_use]
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// Scales, one a segment and row.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Bytes of one packed row, scales apart.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.spec.row_bytes(&self.keep)
    }

    /// Bytes of packed rows and scales.
    #[must_use]
    pub fn nbytes(&self) -> usize {
        self.packed.len() + size_of_val(&self.scales[..])
    }

    /// Header, packed rows, scales, each section at a multiple of 64 bytes; see docs/format.md.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let scales: Vec<u8> = self.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        let header = Header {
            spec: self.spec.clone(),
            keep: self.keep.clone(),
            rows: self.len(),
            packed_crc: crc32fast::hash(&self.packed),
            scales_crc: crc32fast::hash(&scales),
        };
        let mut bytes = header.to_bytes();
        bytes.extend_from_slice(&self.packed);
        bytes.resize(header.scales_at(), 0);
        bytes.extend_from_slice(&scales);
        bytes
    }

    /// Reads [`to_bytes`](Self::to_bytes)'s bytes. Every flipped bit and every truncation is reported.
    ///
    /// # Errors
    /// [`Error::Version`] for a newer format, [`Error::Corrupt`] with section and offset for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let header = Header::parse(bytes)?;
        header.check_length(bytes.len())?;
        let (packed_end, scales_at) = (header.packed_at() + header.packed_len(), header.scales_at());
        if let Some(at) = bytes[packed_end..scales_at].iter().position(|&byte| byte != 0) {
            return Err(Error::corrupt("padding is not zero", packed_end + at));
        }
        let (packed, scales) = (&bytes[header.packed_at()..packed_end], &bytes[scales_at..]);
        for (what, section, crc, at) in [
            ("packed codes fail their checksum, section starts", packed, header.packed_crc, header.packed_at()),
            ("scales fail their checksum, section starts", scales, header.scales_crc, scales_at),
        ] {
            if crc32fast::hash(section) != crc {
                return Err(Error::corrupt(what, at));
            }
        }
        let scales: Vec<_> = scales.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
        if let Some(at) = scales.iter().position(|scale| !scale.is_finite()) {
            return Err(Error::corrupt(format!("scales hold {}", scales[at]), scales_at + 4 * at));
        }
        Self::new(header.spec, header.keep, packed.to_vec(), scales)
    }
}

/// Encoded vectors in somebody's memory: what decoding, scoring and adding take. [`Codes::view`] makes one.
///
/// # Examples
/// ```
/// use turboquant_rs::{CodesView, Options, TurboQuant};
/// let codec = TurboQuant::new(16, 4, Options::default())?;
/// let codes = codec.encode(&[0.5; 16])?;
/// let view = CodesView::new(&codec, &[4], codes.packed(), codes.scales())?;
/// assert_eq!(codec.decode(view)?, codec.decode(&codes)?);
/// # Ok::<(), turboquant_rs::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct CodesView<'a> {
    pub(crate) fingerprint: u64,
    pub(crate) keep: &'a [u32],
    pub(crate) packed: &'a [u8],
    pub(crate) scales: &'a [f32],
    pub(crate) row_bytes: usize,
    pub(crate) len: usize,
}

impl<'a> CodesView<'a> {
    /// Codes of `codec` in the caller's memory: packed rows with `keep` bits of each segment, and scales, one a segment and row.
    ///
    /// # Errors
    /// [`Error::Argument`] if the parts contradict each other.
    pub fn new(codec: &TurboQuant, keep: &'a [u32], packed: &'a [u8], scales: &'a [f32]) -> Result<Self> {
        let (row_bytes, len) = check_parts(codec.spec(), keep, packed, scales)?;
        Ok(Self { fingerprint: codec.fingerprint(), keep, packed, scales, row_bytes, len })
    }

    /// Encoded vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<'a> From<&'a Codes> for CodesView<'a> {
    fn from(codes: &'a Codes) -> Self {
        codes.view()
    }
}

/// Checks the parts of codes against each other; returns bytes a row and rows.
fn check_parts(spec: &CodecSpec, keep: &[u32], packed: &[u8], scales: &[f32]) -> Result<(usize, usize)> {
    spec.check()?;
    check_keep(spec, keep)?;
    let (row_bytes, norms) = (spec.row_bytes(keep), spec.norms());
    let len = scales.len() / norms;
    if !scales.len().is_multiple_of(norms) || packed.len() != len * row_bytes {
        let expected = format!("{row_bytes} bytes for each of the {len} rows of scales");
        return Err(Error::argument("packed", expected, format!("{} bytes", packed.len())));
    }
    if let Some(at) = scales.iter().position(|scale| !scale.is_finite()) {
        return Err(Error::argument("scales", "finite", format!("{} at row {}", scales[at], at / norms)));
    }
    Ok((row_bytes, len))
}

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
        (FIXED + SEGMENT * self.spec.segments.len() + CHECKSUMS).next_multiple_of(ALIGN)
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

    /// The header's bytes, padded to where the packed rows start.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let spec = &self.spec;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT_VERSION.to_le_bytes());
        bytes.extend(spec.fingerprint().to_le_bytes());
        bytes.extend((self.rows as u64).to_le_bytes());
        bytes.extend((spec.dim() as u32).to_le_bytes());
        bytes.extend([spec.scale as u8, spec.refine, spec.rotation as u8, spec.segments.len() as u8]);
        bytes.extend(spec.seed.to_le_bytes());
        for (segment, &keep) in spec.segments.iter().zip(&self.keep) {
            bytes.extend((segment.dim as u32).to_le_bytes());
            bytes.extend([segment.bits as u8, keep as u8, 0, 0]);
        }
        bytes.extend(self.packed_crc.to_le_bytes());
        bytes.extend(self.scales_crc.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.resize(self.packed_at(), 0);
        bytes
    }

    /// Reads a header from the start of `bytes`, which may go on after it.
    ///
    /// # Errors
    /// [`Error::Version`] for a newer format, [`Error::Corrupt`] if this is no header or a damaged one.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
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
        let count = usize::from(bytes[31]);
        let end = FIXED + SEGMENT * count + CHECKSUMS;
        if bytes.len() < end.next_multiple_of(ALIGN) {
            return Err(Error::corrupt("header is cut short", bytes.len()));
        }
        if crc32fast::hash(&bytes[..end - 4]) != u32_at(bytes, end - 4) {
            return Err(Error::corrupt("header fails its checksum", end - 4));
        }
        if let Some(at) = bytes[end..end.next_multiple_of(ALIGN)].iter().position(|&byte| byte != 0) {
            return Err(Error::corrupt("header's padding is not zero", end + at));
        }
        // From here on the checksum holds, so a contradiction is a faulty writer's.
        let header = Self::fields(bytes, count)?;
        if header.spec.fingerprint() != u64_at(bytes, 8) || header.spec.dim() != u32_at(bytes, 24) as usize {
            return Err(Error::corrupt("header's fields contradict each other", 8));
        }
        Ok(header)
    }

    fn fields(bytes: &[u8], count: usize) -> Result<Self> {
        let unknown = |what, at| Error::corrupt(format!("header holds an unknown {what}"), at);
        let scale = Scale::from_number(bytes[28]).ok_or_else(|| unknown("scale", 28))?;
        let rotation = RotationKind::from_number(bytes[30]).ok_or_else(|| unknown("rotation", 30))?;
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
        let spec = CodecSpec { segments, seed: u64_at(bytes, 32), rotation, scale, refine: bytes[29] };
        spec.check().map_err(|error| Error::corrupt(format!("header holds no codec: {error}"), FIXED))?;
        check_keep(&spec, &keep).map_err(|_| unknown("number of kept bits", FIXED))?;
        let rows = usize::try_from(u64_at(bytes, 16)).ok();
        let rows = rows.filter(|&rows| rows.checked_mul(spec.row_bytes(&keep) + 4 * count + 1).is_some());
        let end = FIXED + SEGMENT * count;
        Ok(Self {
            rows: rows.ok_or_else(|| Error::corrupt("header holds an impossible number of rows", 16))?,
            spec,
            keep,
            packed_crc: u32_at(bytes, end),
            scales_crc: u32_at(bytes, end + 4),
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

fn check_keep(spec: &CodecSpec, keep: &[u32]) -> Result<()> {
    let segments = &spec.segments;
    if keep.len() == segments.len() && segments.iter().zip(keep).all(|(s, keep)| stage_ends(s.bits).contains(keep)) {
        return Ok(());
    }
    Err(Error::argument("keep", "the end of a stage for every segment", format!("{keep:?}")))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    fn sample() -> Codes {
        let codec = TurboQuant::new(33, 3, Options { seed: 9, ..Options::default() }).unwrap();
        codec.encode(&crate::kernels::testing::floats(33 * 5, 4)).unwrap()
    }

    #[test]
    fn every_flipped_bit_is_reported() {
        let bytes = sample().to_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(Codes::from_bytes(&damaged).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn every_other_length_is_reported() {
        let mut bytes = sample().to_bytes();
        for len in 0..bytes.len() {
            assert!(Codes::from_bytes(&bytes[..len]).is_err(), "{len} bytes");
        }
        bytes.push(0);
        assert!(Codes::from_bytes(&bytes).is_err(), "one byte too many");
    }
}
