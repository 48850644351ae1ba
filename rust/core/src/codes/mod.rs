//! Encoded vectors, and their bytes: format version 1 (docs/format.md).

mod header;

pub use header::Header;

use crate::codec::{CodecSpec, TurboQuant};
use crate::error::{Error, Result};
use crate::storage::holds;

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
            if !holds(section, crc) {
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
    spec.check_keep(keep)?;
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
