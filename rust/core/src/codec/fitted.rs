//! The description of a fitted codec: center, transform, deviations, order of units (docs/numerics.md section 11).
//!
//! Everything that a fit finds is stored in the form in which codes are computed and never derived again, so a fit may use any
//! linear algebra and any machine. Spending bits where the variance is: SAQ (arXiv 2509.12086).

use std::hash::{Hash, Hasher};

use super::Options;
use super::spec::{CodecSpec, MAX_DIM, MAX_SEGMENTS, Segment};
use crate::error::{Error, Result};
use crate::kernels::dense::NORM_LIMIT;
use crate::rng::digest;

/// A coordinate of a center is 0 or of a magnitude in this range: no difference or product with it is subnormal, and taking it
/// off a finite value leaves a finite value.
const CENTERS: std::ops::RangeInclusive<f32> = 1.0 / (1_u128 << 80) as f32..=(1_u64 << 60) as f32;
/// Deviations of coordinates of unit vectors along an axis.
const SIGMAS: std::ops::RangeInclusive<f32> = 1.0 / (1_u64 << 40) as f32..=2.0;

/// The parts of a fitted codec, as [`TurboQuant::from_parts`](super::TurboQuant::from_parts) takes them.
#[derive(Debug, Clone, Copy)]
pub struct FittedParts<'a> {
    /// Coordinates of a vector.
    pub dim: usize,
    /// What is taken off every row, `dim` values: each 0 or between 2^−80 and 2^60 in magnitude.
    pub center: Option<&'a [f32]>,
    /// Axes, at most `dim` rows of `dim` values: 32,000 times unit vectors that are about orthogonal, rounded.
    pub transform: &'a [i16],
    /// The deviation along the axes of each segment, of unit vectors; 2^−40 to 2.
    pub sigmas: &'a [f32],
    /// (axes, bits) of each segment, in non-increasing width.
    pub segments: &'a [(usize, u32)],
    /// The segment of every unit of one bit, in the order of the bytes.
    pub order: &'a [u8],
}

/// What a fitted codec has beyond its segments, whose coordinates are *axes*: rows of a transform. Checked; immutable.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    dim: usize,
    /// (axes, bits) of the segments that the rest belongs to.
    segments: Vec<(usize, u32)>,
    center: Option<Vec<f32>>,
    transform: Vec<i16>,
    sigmas: Vec<f32>,
    order: Vec<u8>,
    digest: u64,
}

// No number in it is NaN.
impl Eq for Fitted {}

impl Hash for Fitted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl Fitted {
    fn new(parts: FittedParts<'_>) -> Result<Self> {
        let FittedParts { dim, center, transform, sigmas, segments, order } = parts;
        let fitted = Self {
            dim,
            segments: segments.to_vec(),
            center: center.map(<[f32]>::to_vec),
            transform: transform.to_vec(),
            sigmas: sigmas.to_vec(),
            order: order.to_vec(),
            digest: 0,
        };
        fitted.check()?;
        let mut bytes = fitted.to_bytes();
        bytes.push(u8::from(center.is_some()));
        Ok(Self { digest: digest(&bytes), ..fitted })
    }

    /// Checks the parts against one another and the limits of docs/numerics.md section 11.
    fn check(&self) -> Result<()> {
        let Self { dim, segments, transform, sigmas, order, .. } = self;
        let (dim, count) = (*dim, segments.len());
        if !(1..=MAX_DIM).contains(&dim) {
            return Err(Error::argument("dim", format!("between 1 and {MAX_DIM}"), dim));
        }
        if !(1..=MAX_SEGMENTS).contains(&count) {
            return Err(Error::argument("segments", format!("between 1 and {MAX_SEGMENTS}"), count));
        }
        if let Some((axes, bits)) = segments.iter().find(|(axes, bits)| *axes == 0 || !(1..=8).contains(bits)) {
            let got = format!("{axes} axes of {bits} bits");
            return Err(Error::argument("segments", "of at least 1 axis and 1 to 8 bits", got));
        }
        if let Some(pair) = segments.windows(2).find(|pair| pair[0].1 < pair[1].1) {
            let got = format!("{} bits before {}", pair[0].1, pair[1].1);
            return Err(Error::argument("segments", "in non-increasing width", got));
        }
        let axes = segments.iter().try_fold(0_usize, |sum, (axes, _)| sum.checked_add(*axes)).unwrap_or(usize::MAX);
        if axes > dim {
            return Err(Error::argument("segments", format!("of at most {dim} axes together (dim)"), axes));
        }
        if transform.len() != axes * dim {
            let expected = format!("{axes} rows of {dim} values");
            return Err(Error::argument("transform", expected, format!("{} values", transform.len())));
        }
        let square = |value: i16| i64::from(value) * i64::from(value);
        let limit = NORM_LIMIT * NORM_LIMIT;
        let mut columns = vec![0_i64; dim];
        for (axis, row) in transform.chunks_exact(dim).enumerate() {
            columns.iter_mut().zip(row).for_each(|(column, &value)| *column += square(value));
            if row.iter().map(|&value| square(value)).sum::<i64>() > limit {
                let expected = format!("rows of norms up to {NORM_LIMIT}");
                return Err(Error::argument("transform", expected, format!("a larger one at axis {axis}")));
            }
        }
        if let Some(column) = columns.iter().position(|&square| square > limit) {
            let expected = format!("columns of norms up to {NORM_LIMIT}");
            return Err(Error::argument("transform", expected, format!("a larger one at column {column}")));
        }
        if sigmas.len() != count {
            return Err(Error::argument("sigmas", format!("one a segment ({count})"), sigmas.len()));
        }
        if let Some(at) = sigmas.iter().position(|sigma| !SIGMAS.contains(sigma)) {
            return Err(Error::argument("sigmas", "between 2^-40 and 2", format!("{} at {at}", sigmas[at])));
        }
        if let Some(center) = &self.center {
            if center.len() != dim {
                return Err(Error::argument("center", format!("{dim} values (dim)"), center.len()));
            }
            if let Some(at) = center.iter().position(|value| *value != 0.0 && !CENTERS.contains(&value.abs())) {
                let got = format!("{} at {at}", center[at]);
                return Err(Error::argument("center", "0 or between 2^-80 and 2^60 in magnitude", got));
            }
        }
        let mut left: Vec<_> = segments.iter().map(|(_, bits)| *bits).collect();
        for &segment in order {
            match left.get_mut(usize::from(segment)) {
                Some(left @ 1..) => *left -= 1,
                _ => return Err(Error::argument("order", "each segment once a bit", format!("{segment} once more"))),
            }
        }
        if let Some(segment) = left.iter().position(|&left| left > 0) {
            let got = format!("segment {segment} {} times less", left[segment]);
            return Err(Error::argument("order", "each segment once a bit", got));
        }
        Ok(())
    }

    /// (axes, bits) of the segments that this belongs to.
    pub(super) fn segments(&self) -> &[(usize, u32)] {
        &self.segments
    }

    /// Coordinates of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// What is taken off every row.
    #[must_use]
    pub fn center(&self) -> Option<&[f32]> {
        self.center.as_deref()
    }

    /// The axes, rows of `dim` values: unit vectors times 32,000, rounded.
    #[must_use]
    pub fn transform(&self) -> &[i16] {
        &self.transform
    }

    /// The deviation along the axes of each segment, of unit vectors.
    #[must_use]
    pub fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    /// The segment of every unit of one bit, in the order of the bytes; a segment's units come most significant first.
    #[must_use]
    pub fn order(&self) -> &[u8] {
        &self.order
    }

    /// What the fingerprint takes in: every stored number.
    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    /// Whether some prefix of the units keeps exactly these bits of each segment; the empty one does not count.
    pub(super) fn is_prefix(&self, keep: &[u32]) -> bool {
        let units = keep.iter().fold(0_usize, |sum, &keep| sum.saturating_add(keep as usize));
        units > 0 && units <= self.order.len() && keep == self.prefix(keep.len(), units)
    }

    /// The bits that the first `units` units keep of each segment.
    pub(super) fn prefix(&self, segments: usize, units: usize) -> Vec<u32> {
        let mut keep = vec![0; segments];
        self.order[..units].iter().for_each(|&segment| keep[usize::from(segment)] += 1);
        keep
    }

    /// The codec section of docs/format.md.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes =
            Vec::with_capacity(4 * self.dim + 4 * self.sigmas.len() + self.order.len() + 2 * self.transform.len());
        bytes.extend(self.center.iter().flatten().flat_map(|value| value.to_le_bytes()));
        bytes.extend(self.sigmas.iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend(&self.order);
        bytes.extend(self.transform.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    /// Reads a codec section of [`section_len`] bytes.
    ///
    /// # Errors
    /// As for [`CodecSpec::fitted`].
    pub(crate) fn from_bytes(bytes: &[u8], dim: usize, segments: &[(usize, u32)], centered: bool) -> Result<Self> {
        let floats = |bytes: &[u8]| -> Vec<f32> {
            bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
        };
        let (center, rest) = bytes.split_at(if centered { 4 * dim } else { 0 });
        let (sigmas, rest) = rest.split_at(4 * segments.len());
        let (order, transform) = rest.split_at(segments.iter().map(|(_, bits)| *bits as usize).sum());
        let (center, sigmas) = (floats(center), floats(sigmas));
        let transform: Vec<_> = transform.as_chunks::<2>().0.iter().map(|&word| i16::from_le_bytes(word)).collect();
        let center = centered.then_some(&center[..]);
        Self::new(FittedParts { dim, center, transform: &transform, sigmas: &sigmas, segments, order })
    }

    /// Bytes held.
    pub(super) fn nbytes(&self) -> usize {
        4 * (self.center.as_ref().map_or(0, Vec::len) + self.sigmas.len()) + self.order.len() + 2 * self.transform.len()
    }
}

/// Bytes of a codec section.
pub(crate) fn section_len(dim: usize, segments: &[(usize, u32)], centered: bool) -> usize {
    let (axes, units) = segments.iter().fold((0, 0), |(axes, units), (m, bits)| (axes + m, units + *bits as usize));
    4 * dim * usize::from(centered) + 4 * segments.len() + units + 2 * axes * dim
}

impl CodecSpec {
    /// The description of a fitted codec.
    ///
    /// # Errors
    /// [`Error::Argument`] for parts that contradict one another or pass a limit of docs/numerics.md section 11, for the paper's scale, and
    /// for `refine` other than 0, 8, 16 or 32.
    pub fn fitted(parts: FittedParts<'_>, options: Options) -> Result<Self> {
        let fitted = Fitted::new(parts)?;
        let mut start = 0;
        let segments = parts.segments.iter().map(|&(dim, bits)| {
            start += dim;
            Segment { start: start - dim, dim, bits }
        });
        let Options { seed, rotation, scale, refine } = options;
        let segments = segments.collect();
        let spec = Self { segments, seed, rotation, scale, refine, fitted: Some(std::sync::Arc::new(fitted)) };
        spec.check().map(|()| spec)
    }
}
