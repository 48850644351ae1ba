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

/// Gains of a dual, and a row's gain times its segment's deviation, which is 1 without one: no sum of products is subnormal while a
/// row has anything along the axes.
const GAINS: std::ops::RangeInclusive<f32> = 1.0 / (1_u64 << 40) as f32..=(1_u64 << 40) as f32;
const GAIN_PRODUCTS: std::ops::RangeInclusive<f32> = 1.0 / (1_u64 << 24) as f32..=(1_u64 << 24) as f32;

/// A second matrix of a codec that was fitted to queries, for queries and decoding: errors of scores count other than those of rows.
#[derive(Debug, Clone, Copy)]
pub struct DualParts<'a> {
    /// As many rows of `dim` values as the transform, in its place for queries and decoding.
    pub matrix: &'a [i16],
    /// What a row's product with each axis is multiplied with, in place of 1/σ.
    pub row_gains: &'a [f32],
    /// What a query's product, or a decoded coordinate, is multiplied with, in place of σ.
    pub query_gains: &'a [f32],
}

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
    /// What a codec that was fitted to queries has beside.
    pub dual: Option<DualParts<'a>>,
}

/// [`DualParts`], owned.
#[derive(Debug, Clone, PartialEq)]
struct Dual {
    matrix: Vec<i16>,
    row_gains: Vec<f32>,
    query_gains: Vec<f32>,
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
    dual: Option<Dual>,
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
        let FittedParts { dim, center, transform, sigmas, segments, order, dual } = parts;
        let fitted = Self {
            dim,
            segments: segments.to_vec(),
            center: center.map(<[f32]>::to_vec),
            transform: transform.to_vec(),
            sigmas: sigmas.to_vec(),
            order: order.to_vec(),
            dual: dual.map(|dual| Dual {
                matrix: dual.matrix.to_vec(),
                row_gains: dual.row_gains.to_vec(),
                query_gains: dual.query_gains.to_vec(),
            }),
            digest: 0,
        };
        fitted.check()?;
        let mut bytes = fitted.to_bytes();
        bytes.push(u8::from(center.is_some()) + 2 * u8::from(dual.is_some()));
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
        check_norms("transform", transform, dim, self.dual.is_none())?;
        if sigmas.len() != count {
            return Err(Error::argument("sigmas", format!("one a segment ({count})"), sigmas.len()));
        }
        if let Some(at) = sigmas.iter().position(|sigma| !SIGMAS.contains(sigma)) {
            return Err(Error::argument("sigmas", "between 2^-40 and 2", format!("{} at {at}", sigmas[at])));
        }
        if let Some(dual) = &self.dual {
            dual.check(self, axes)?;
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

    /// The second matrix of a codec that was fitted to queries.
    #[must_use]
    pub fn dual(&self) -> Option<DualParts<'_>> {
        let Dual { matrix, row_gains, query_gains } = self.dual.as_ref()?;
        Some(DualParts { matrix, row_gains, query_gains })
    }

    /// Whether it has a center, and a dual.
    pub(crate) fn has(&self) -> Has {
        Has { center: self.center.is_some(), dual: self.dual.is_some() }
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
        let mut bytes = Vec::with_capacity(section_len(self.dim, &self.segments, self.has()));
        let mut floats = |values: &[f32]| bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.center.iter().for_each(|center| floats(center));
        floats(&self.sigmas);
        if let Some(dual) = &self.dual {
            floats(&dual.row_gains);
            floats(&dual.query_gains);
        }
        bytes.extend(&self.order);
        for matrix in [&self.transform].into_iter().chain(self.dual.as_ref().map(|dual| &dual.matrix)) {
            bytes.extend(matrix.iter().flat_map(|value| value.to_le_bytes()));
        }
        bytes
    }

    /// Reads a codec section of [`section_len`] bytes.
    ///
    /// # Errors
    /// As for [`CodecSpec::fitted`].
    pub(crate) fn from_bytes(mut bytes: &[u8], dim: usize, segments: &[(usize, u32)], has: Has) -> Result<Self> {
        let (axes, units) = totals(segments);
        let mut take = |len: usize| bytes.split_off(..len).expect("the section has the length that its parts have");
        let floats = |bytes: &[u8]| -> Vec<f32> {
            bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
        };
        let integers = |bytes: &[u8]| -> Vec<i16> {
            bytes.as_chunks::<2>().0.iter().map(|&word| i16::from_le_bytes(word)).collect()
        };
        let center = has.center.then(|| floats(take(4 * dim)));
        let sigmas = floats(take(4 * segments.len()));
        let gains = has.dual.then(|| (floats(take(4 * axes)), floats(take(4 * axes))));
        let (order, transform) = (take(units), integers(take(2 * axes * dim)));
        let matrix = integers(take(if has.dual { 2 * axes * dim } else { 0 }));
        let dual = gains.as_ref().map(|(row_gains, query_gains)| DualParts { matrix: &matrix, row_gains, query_gains });
        let center = center.as_deref();
        Self::new(FittedParts { dim, center, transform: &transform, sigmas: &sigmas, segments, order, dual })
    }

    /// Bytes held.
    pub(super) fn nbytes(&self) -> usize {
        section_len(self.dim, &self.segments, self.has())
    }
}

impl Dual {
    fn check(&self, fitted: &Fitted, axes: usize) -> Result<()> {
        if self.matrix.len() != fitted.transform.len() {
            let expected = format!("{axes} rows of {} values, like transform", fitted.dim);
            return Err(Error::argument("dual", expected, format!("{} values", self.matrix.len())));
        }
        check_norms("dual", &self.matrix, fitted.dim, true)?;
        for (argument, gains) in [("row_gains", &self.row_gains), ("query_gains", &self.query_gains)] {
            if gains.len() != axes {
                return Err(Error::argument(argument, format!("one an axis ({axes})"), gains.len()));
            }
            if let Some(at) = gains.iter().position(|gain| !GAINS.contains(gain)) {
                return Err(Error::argument(argument, "between 2^-40 and 2^40", format!("{} at {at}", gains[at])));
            }
        }
        let sigmas = fitted.segments.iter().zip(&fitted.sigmas).flat_map(|((axes, _), sigma)| vec![*sigma; *axes]);
        let mut products = self.row_gains.iter().zip(sigmas).map(|(gain, sigma)| gain * sigma);
        if let Some(at) = products.position(|product| !GAIN_PRODUCTS.contains(&product)) {
            let expected = "between 2^-24 and 2^24 when multiplied with the segment's sigma";
            return Err(Error::argument("row_gains", expected, format!("{} at {at}", self.row_gains[at])));
        }
        Ok(())
    }
}

/// Which of the parts that need not be there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Has {
    pub(crate) center: bool,
    pub(crate) dual: bool,
}

/// Bytes of a codec section.
pub(crate) fn section_len(dim: usize, segments: &[(usize, u32)], has: Has) -> usize {
    let (axes, units) = totals(segments);
    let dual = if has.dual { 8 * axes + 2 * axes * dim } else { 0 };
    4 * dim * usize::from(has.center) + 4 * segments.len() + units + 2 * axes * dim + dual
}

/// Axes and units of all segments.
fn totals(segments: &[(usize, u32)]) -> (usize, usize) {
    segments.iter().fold((0, 0), |(axes, units), (m, bits)| (axes + m, units + *bits as usize))
}

/// Refuses a matrix with rows, or columns, that are too long for exact products.
fn check_norms(argument: &'static str, matrix: &[i16], dim: usize, columns_too: bool) -> Result<()> {
    let square = |value: i16| i64::from(value) * i64::from(value);
    let limit = NORM_LIMIT * NORM_LIMIT;
    let mut columns = vec![0_i64; dim];
    for (axis, row) in matrix.chunks_exact(dim).enumerate() {
        columns.iter_mut().zip(row).for_each(|(column, &value)| *column += square(value));
        if row.iter().map(|&value| square(value)).sum::<i64>() > limit {
            let expected = format!("rows of norms up to {NORM_LIMIT}");
            return Err(Error::argument(argument, expected, format!("a larger one at axis {axis}")));
        }
    }
    if let Some(column) = columns.iter().position(|&square| columns_too && square > limit) {
        let expected = format!("columns of norms up to {NORM_LIMIT}");
        return Err(Error::argument(argument, expected, format!("a larger one at column {column}")));
    }
    Ok(())
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
        let (segments, fitted) = (segments.collect(), Some(std::sync::Arc::new(fitted)));
        let spec = Self { segments, seed, rotation, scale, refine, fitted, outliers: None };
        spec.check().map(|()| spec)
    }
}
