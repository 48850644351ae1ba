//! What a codec is: its segments and choices, and the fingerprint that codes carry.

use std::sync::Arc;

use super::Options;
use super::fitted::Fitted;
use super::outliers::Outliers;
use crate::error::{Error, Result};
use crate::kernels::units::unit_bytes;
use crate::projection::DENSE_MAX_DIM;
use crate::rng::{derive, digest};
use crate::units::{MOST_UNITS, Unit, row_bytes, stage_ends, units_of};

/// Version of the code bytes that this build writes: frozen, so that any other layout is another version (docs/format.md). Version 0, from
/// before the first release, is laid out alike and read as well.
pub const FORMAT_VERSION: u16 = 1;

/// The first word of fingerprints. It stays while codes mean what they mean, whatever version their bytes are: codecs of version 0
/// are those of version 1.
pub(crate) const MEANING: u64 = 0;

/// The largest dimension.
pub const MAX_DIM: usize = 65_536;

/// The most segments: their number is one byte of a header.
pub(crate) const MAX_SEGMENTS: usize = 255;

/// How a codec's scale is chosen from the same codes (docs/numerics.md section 7). Credit: DRIVE, EDEN, RaBitQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scale {
    /// n·√d/⟨y,c⟩: inner products with the decoded row are unbiased. For search and keys. Not the scale of least error.
    #[default]
    Unbiased,
    /// n·⟨y,c⟩/(√d·|c|²): least squared error. For reconstruction and values.
    Mse,
    /// n/|c|: the decoded row keeps the norm.
    Matched,
    /// n/√d: the paper's own, the norm alone.
    Paper,
}

impl Scale {
    const NAMES: [(&'static str, Scale); 4] =
        [("unbiased", Scale::Unbiased), ("mse", Scale::Mse), ("matched", Scale::Matched), ("paper", Scale::Paper)];

    /// The scale called `name`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that is not "unbiased", "mse", "matched" or "paper".
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, scale)| *scale)
            .ok_or_else(|| Error::argument("scale", r#""unbiased", "mse", "matched" or "paper""#, format!("{name:?}")))
    }

    /// The scale's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::NAMES.get(usize::from(number)).map(|(_, scale)| *scale)
    }
}

/// How a codec rotates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RotationKind {
    /// Rounds of signs and Walsh–Hadamard, O(d log d).
    #[default]
    Hadamard,
    /// The paper's own, a dense Haar-random matrix: segments up to 4,096 coordinates, O(d²) a row, O(d³) to make.
    Dense,
}

impl RotationKind {
    const NAMES: [(&'static str, RotationKind); 2] = [("hadamard", Self::Hadamard), ("dense", Self::Dense)];

    /// The rotation called `name`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that is not "hadamard" or "dense".
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        found.ok_or_else(|| Error::argument("rotation", r#""hadamard" or "dense""#, format!("{name:?}")))
    }

    /// The rotation's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::NAMES.get(usize::from(number)).map(|(_, kind)| *kind)
    }
}

/// A run of coordinates with one bit width, rotated on its own. Plain TurboQuant is one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Segment {
    /// First coordinate.
    pub start: usize,
    /// Coordinates.
    pub dim: usize,
    /// Bits a coordinate, 1 to 8.
    pub bits: u32,
}

/// Everything that decides what a code means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CodecSpec {
    /// The segments, in order, covering all coordinates, or all axes of a fitted codec.
    pub segments: Vec<Segment>,
    /// Seed of all randomness.
    pub seed: u64,
    /// The rotation.
    pub rotation: RotationKind,
    /// The scale.
    pub scale: Scale,
    /// Trial scales an encoder tries: 0 (none), 8, 16 or 32. Chooses codes, not their meaning.
    pub refine: u8,
    /// What a fit has found; a plain codec has none.
    pub fitted: Option<Arc<Fitted>>,
    /// The channels of the first of two segments, of a codec whose channels are split.
    pub outliers: Option<Arc<Outliers>>,
}

impl CodecSpec {
    /// A codec of one segment.
    ///
    /// # Errors
    /// [`Error::Argument`] if `dim` is not 1 to 65,536 (4,096 with a dense rotation), `bits` not 1 to 8, or `refine` not 0, 8, 16 or 32.
    pub fn plain(dim: usize, bits: u32, seed: u64, rotation: RotationKind, scale: Scale, refine: u8) -> Result<Self> {
        let segments = vec![Segment { start: 0, dim, bits }];
        let spec = Self { segments, seed, rotation, scale, refine, fitted: None, outliers: None };
        spec.check().map(|()| spec)
    }

    /// A codec of two segments: the `outliers`, in any order, at the first number of bits, the other channels at the second.
    ///
    /// # Errors
    /// As for [`plain`](Self::plain); [`Error::Argument`] if an outlier is not one of the `dim` channels or given twice, if they are none
    /// or all of them, or if the first number of bits is the smaller one.
    pub fn split(dim: usize, bits: [u32; 2], outliers: &[usize], options: Options) -> Result<Self> {
        if !(1..=MAX_DIM).contains(&dim) {
            return Err(Error::argument("dim", format!("between 1 and {MAX_DIM}"), dim));
        }
        let Options { seed, rotation, scale, refine } = options;
        let (outliers, count) = (Outliers::new(dim, outliers)?, outliers.len());
        let parts = [(0, count, bits[0]), (count, dim - count, bits[1])];
        let segments = parts.map(|(start, dim, bits)| Segment { start, dim, bits }).to_vec();
        let outliers = Some(Arc::new(outliers));
        let spec = Self { segments, seed, rotation, scale, refine, fitted: None, outliers };
        spec.check().map(|()| spec)
    }

    /// Checks that this describes a codec.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no segment or more than 255, they do not follow one another from 0, the dims add up to more
    /// than 65,536, there are several neither fitted nor split in two by outliers, or a dim, a number of bits or `refine` is out of range (dims beyond 4,096 with a dense rotation); for a fitted codec also
    /// if its parts belong to other segments, or with the paper's scale or a dense rotation.
    pub fn check(&self) -> Result<()> {
        if !(1..=MAX_SEGMENTS).contains(&self.segments.len()) {
            return Err(Error::argument("segments", "between 1 and 255", self.segments.len()));
        }
        let mut end = 0;
        for segment in &self.segments {
            if segment.start != end {
                let expected = format!("runs that follow one another (here from {end})");
                return Err(Error::argument("segments", expected, segment.start));
            }
            if !(1..=MAX_DIM - end).contains(&segment.dim) {
                return Err(Error::argument("dim", format!("between 1 and {}", MAX_DIM - end), segment.dim));
            }
            if !(1..=8).contains(&segment.bits) {
                return Err(Error::argument("bits", "between 1 and 8", segment.bits));
            }
            end += segment.dim;
        }
        match (&self.outliers, &self.fitted, &self.segments[..]) {
            (None, Some(_), _) | (None, None, [_]) => {}
            (Some(outliers), None, &[first, second])
                if outliers.channels().len() == first.dim && outliers.order().len() == end =>
            {
                if first.bits < second.bits {
                    let got = format!("{} and {}", first.bits, second.bits);
                    return Err(Error::argument("bits", "not smaller for the outliers than for the others", got));
                }
            }
            (outliers, fitted, segments) => {
                let kind = match (outliers, fitted) {
                    (Some(_), Some(_)) => "without outliers if fitted",
                    (Some(_), None) => "two, of the outliers and of the others",
                    _ => "one, unless fitted or split",
                };
                return Err(Error::argument("segments", kind, segments.len()));
            }
        }
        if self.rotation == RotationKind::Dense {
            if self.fitted.is_some() {
                return Err(Error::argument("rotation", r#""hadamard" for a fitted codec"#, r#""dense""#));
            }
            if let Some(segment) = self.segments.iter().find(|segment| segment.dim > DENSE_MAX_DIM) {
                let expected = format!(r#"between 1 and {DENSE_MAX_DIM} with rotation "dense""#);
                return Err(Error::argument("dim", expected, segment.dim));
            }
        }
        if !matches!(self.refine, 0 | 8 | 16 | 32) {
            return Err(Error::argument("refine", "0 (off), 8, 16 or 32", self.refine));
        }
        if let Some(fitted) = &self.fitted {
            if self.scale == Scale::Paper {
                let expected = r#""unbiased", "mse" or "matched" for a fitted codec"#;
                return Err(Error::argument("scale", expected, r#""paper""#));
            }
            if self.segment_parts() != fitted.segments() {
                let expected = format!("those of the fitted parts {:?}", fitted.segments());
                return Err(Error::argument("segments", expected, format!("{:?}", self.segment_parts())));
            }
        }
        Ok(())
    }

    /// (coordinates, bits) of each segment.
    pub(crate) fn segment_parts(&self) -> Vec<(usize, u32)> {
        self.segments.iter().map(|segment| (segment.dim, segment.bits)).collect()
    }

    /// Coordinates of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.fitted.as_ref().map_or_else(|| self.axes(), |fitted| fitted.dim())
    }

    /// Coordinates of all segments: `dim`, or the axes of a fitted codec.
    pub(crate) fn axes(&self) -> usize {
        self.segments.iter().map(|segment| segment.dim).sum()
    }

    /// Norms (scales) a vector: one a segment; a fitted codec has one for all.
    #[must_use]
    pub fn norms(&self) -> usize {
        if self.fitted.is_some() { 1 } else { self.segments.len() }
    }

    /// Bits of every segment, in full.
    #[must_use]
    pub fn full(&self) -> Vec<u32> {
        self.segments.iter().map(|segment| segment.bits).collect()
    }

    /// Bytes of a packed row that keeps `keep` bits of each segment.
    #[must_use]
    pub fn row_bytes(&self, keep: &[u32]) -> usize {
        let bytes = |(segment, &keep): (&Segment, &u32)| match self.fitted {
            Some(_) => keep as usize * segment.dim.div_ceil(8),
            None => row_bytes(segment.dim, segment.bits, keep),
        };
        self.segments.iter().zip(keep).map(bytes).sum()
    }

    /// The bits of each segment in the longest prefix of a fitted codec's units with at most `row_bits` bits or as many bytes as those
    /// take (the two differ where a segment has no whole bytes); of a plain codec, none.
    #[must_use]
    pub fn prefix(&self, row_bits: usize) -> Vec<u32> {
        let (mut keep, mut bits, mut bytes) = (vec![0; self.segments.len()], 0, 0);
        for segment in self.fitted.iter().flat_map(|fitted| fitted.order()).map(|&i| usize::from(i)) {
            bits += self.segments[segment].dim;
            bytes += self.segments[segment].dim.div_ceil(8);
            if bits > row_bits && bytes > row_bits.div_ceil(8) {
                break;
            }
            keep[segment] += 1;
        }
        keep
    }

    /// The units of each segment in packed rows that keep `keep` bits of it, most significant first.
    pub(crate) fn units(&self, keep: &[u32]) -> Vec<Vec<Unit>> {
        let Some(fitted) = &self.fitted else {
            // By the unit's index first, then by segment: so a prefix of a row is a code.
            let mut units: Vec<Vec<Unit>> = vec![Vec::new(); self.segments.len()];
            let mut start = 0;
            for i in 0..MOST_UNITS {
                for ((segment, &keep), units) in self.segments.iter().zip(keep).zip(&mut units) {
                    if let Some((width, shift, _)) = units_of(segment.dim, segment.bits, keep).nth(i) {
                        units.push(Unit { width, shift, offset: start });
                        start += unit_bytes(segment.dim, width);
                    }
                }
            }
            return units;
        };
        let mut units: Vec<Vec<Unit>> = vec![Vec::new(); self.segments.len()];
        let mut offset = 0;
        for &i in &fitted.order()[..keep.iter().map(|&keep| keep as usize).sum()] {
            let (segment, units) = (self.segments[usize::from(i)], &mut units[usize::from(i)]);
            units.push(Unit { width: 1, shift: segment.bits - 1 - units.len() as u32, offset });
            offset += segment.dim.div_ceil(8);
        }
        units
    }

    /// Refuses `keep` unless it ends a stage: whole units of every segment, and a prefix of the units of a fitted codec.
    pub(crate) fn check_keep(&self, keep: &[u32]) -> Result<()> {
        let segments = &self.segments;
        let valid = keep.len() == segments.len()
            && match &self.fitted {
                Some(fitted) => fitted.is_prefix(keep),
                None => segments.iter().zip(keep).all(|(s, keep)| stage_ends(s.bits).contains(keep)),
            };
        if valid {
            return Ok(());
        }
        let expected = match &self.fitted {
            Some(_) => "what some first units keep of every segment",
            None => "the end of a stage for every segment",
        };
        Err(Error::argument("keep", expected, format!("{keep:?}")))
    }

    /// The dimension whose codebook a segment takes: fitted segments take the Gaussian one at any length.
    pub(crate) fn table_dim(&self, segment: &Segment) -> usize {
        if self.fitted.is_some() { MAX_DIM } else { segment.dim }
    }

    /// The 64-bit identity of the codec: equal for codecs whose codes mean the same.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut words = vec![
            MEANING,
            self.dim() as u64,
            self.rotation as u64,
            self.seed,
            self.scale as u64,
            self.segments.len() as u64,
        ];
        words.extend(self.segments.iter().flat_map(|s| [s.dim as u64, u64::from(s.bits)]));
        words.extend(self.fitted.iter().map(|fitted| fitted.digest()));
        words.extend(self.outliers.iter().map(|outliers| digest(&outliers.to_bytes())));
        derive(0x5455_5242_4F51_5541, &words)
    }
}
