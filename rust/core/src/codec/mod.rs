//! TurboQuant_mse (arXiv 2504.19874, Algorithm 1) with a per-vector scale.
//!
//! ```text
//! x → power of two, norm → rotation → codebook → codes → scale        (encode)
//! codes → levels → inverse rotation → scale                           (decode)
//! ```
//! A fitted codec goes through its [`Transform`] first, and back through it last.

mod decode;
mod encode;
mod encode_fitted;
mod fitted;
mod outliers;
mod spec;
mod transform;
mod trial_ranges;
mod truncate;
mod truncate_fitted;

pub use encode::EncodeOptions;
pub(crate) use encode::{L2_NORM_LIMIT, flush, prepare, row_norms, times_power};
pub use fitted::{DualParts, Fitted, FittedParts};
pub(crate) use fitted::{Has, section_len};
pub use outliers::Outliers;
pub use spec::{CodecSpec, FORMAT_VERSION, MAX_DIM, RotationKind, Scale, Segment};
pub(crate) use spec::{MAX_SEGMENTS, MEANING};

use crate::codebook::{IntegerLevels, boundaries, integer_levels, levels, one_byte};
use crate::codes::CodesView;
use crate::dense_rotation::{DenseRotation, SegmentRotation};
use crate::error::{Error, Result};
use crate::kernels::assign::Table;
use crate::rotation::Rotation;
use transform::Transform;

/// Choices of a codec beyond its dimension and bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Seed of all randomness; the same seed gives the same bytes everywhere.
    pub seed: u64,
    /// The rotation.
    pub rotation: RotationKind,
    /// The scale.
    pub scale: Scale,
    /// Trial scales before rounding: 0 (none), 8, 16 or 32. Less distortion for more encoding time; decoding is the same.
    pub refine: u8,
}

/// Encodes vectors to 1–8 bits a coordinate without training, and computes on the codes.
///
/// Immutable and `Send + Sync`; all methods take `&self`. Every result is the same on every processor and any number of threads.
///
/// # Examples
/// ```
/// use turboquant_rs::{Options, TurboQuant};
/// let codec = TurboQuant::new(64, 4, Options::default())?;
/// let x: Vec<f32> = (0..128).map(|i| (i as f32 * 0.37).sin()).collect(); // two rows
/// let codes = codec.encode(&x)?;
/// assert_eq!((codes.len(), codes.packed().len(), codes.scales().len()), (2, 64, 2));
/// let back = codec.decode(&codes)?;
/// assert_eq!(back.len(), x.len());
/// # Ok::<(), turboquant_rs::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TurboQuant {
    spec: CodecSpec,
    fingerprint: u64,
    pub(crate) segments: Vec<SegmentCodec>,
    /// What a fitted codec does before its segments; a plain one has none.
    pub(crate) transform: Option<Transform>,
}

/// What encoding and decoding a segment needs.
#[derive(Debug, Clone)]
pub(crate) struct SegmentCodec {
    pub(crate) segment: Segment,
    pub(crate) rotation: SegmentRotation,
    /// The dimension whose codebook the segment takes.
    pub(crate) table_dim: usize,
    /// One table a trial scale; the first is of scale 1. A fitted codec's segments have equally many.
    tables: Vec<Table>,
    /// √dim.
    root: f32,
}

/// Segments that are scored as one: they have one codebook and one query scale.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Indices and coordinates of the segments.
    pub(crate) segments: Vec<(usize, usize)>,
    bits: u32,
    pub(crate) keep: u32,
    table_dim: usize,
    /// Coordinates of all of them.
    pub(crate) dim: usize,
    fitted: bool,
}

impl Group {
    /// Whether integer levels and queries take one byte.
    pub(crate) fn one_byte(&self) -> bool {
        one_byte(self.keep, self.fitted)
    }

    /// Integer levels by code.
    pub(crate) fn levels(&self) -> IntegerLevels {
        integer_levels(self.bits, self.keep, self.table_dim, self.fitted)
    }
}

impl TurboQuant {
    /// A codec for vectors of `dim` (1 to 65,536) coordinates at `bits` (1 to 8) a coordinate.
    ///
    /// # Errors
    /// [`Error::Argument`] if an argument is out of range.
    pub fn new(dim: usize, bits: u32, options: Options) -> Result<Self> {
        let Options { seed, rotation, scale, refine } = options;
        Self::from_spec(CodecSpec::plain(dim, bits, seed, rotation, scale, refine)?)
    }

    /// A codec of two segments with their own rotation, scale and codebook: the channels `outliers` at the first number of bits, the other
    /// ones at the second. The paper's 2.5- and 3.5-bit scheme; bytes hold two scales a row.
    ///
    /// # Examples
    /// ```
    /// use turboquant_rs::{Options, TurboQuant};
    /// let codec = TurboQuant::split(16, [3, 2], &[0, 5, 6, 11], Options::default())?;
    /// let codes = codec.encode(&[1.0; 32])?;
    /// // 4 channels of 3 bits and 12 of 2 bits, in units of whole bytes: 1 + 1 and 2 + 2.
    /// assert_eq!((codes.row_bytes(), codes.scales().len()), (6, 4));
    /// # Ok::<(), turboquant_rs::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`CodecSpec::split`].
    pub fn split(dim: usize, bits: [u32; 2], outliers: &[usize], options: Options) -> Result<Self> {
        Self::from_spec(CodecSpec::split(dim, bits, outliers, options)?)
    }

    /// A fitted codec from the parts that a fit has found (docs/numerics.md section 11). Codes and bytes of codes carry all of them.
    ///
    /// # Examples
    /// ```
    /// use turboquant_rs::{Exec, FittedParts, Options, TurboQuant};
    /// // Two coordinates that vary much get three bits, the others one; an axis is a coordinate here.
    /// let transform: Vec<i16> = (0..16 * 16).map(|i| if i % 17 == 0 { 32_000 } else { 0 }).collect();
    /// let parts = FittedParts {
    ///     dim: 16,
    ///     center: None,
    ///     transform: &transform,
    ///     sigmas: &[0.6, 0.1],
    ///     segments: &[(2, 3), (14, 1)],
    ///     order: &[0, 0, 1, 0],
    ///     dual: None,
    /// };
    /// let codec = TurboQuant::from_parts(parts, Options::default())?;
    /// let x: Vec<f32> = (0..16).map(|i| if i < 2 { 3.0 } else { (i as f32).sin() }).collect();
    /// let codes = codec.encode(&x)?;
    /// assert_eq!(codes.row_bytes(), 1 + 1 + 2 + 1); // a unit of one bit takes whole bytes
    /// let short = codec.truncate_to(&codes, 2 + 2, Exec::default())?;
    /// assert_eq!(short.keep(), [2, 0]);
    /// # Ok::<(), turboquant_rs::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`CodecSpec::fitted`].
    pub fn from_parts(parts: FittedParts<'_>, options: Options) -> Result<Self> {
        Self::from_spec(CodecSpec::fitted(parts, options)?)
    }

    /// The codec that codes with this description came from (see [`Codes::spec`](crate::Codes::spec)).
    ///
    /// # Errors
    /// As for [`CodecSpec::check`].
    pub fn from_spec(spec: CodecSpec) -> Result<Self> {
        spec.check()?;
        let segments = spec.segments.iter().enumerate();
        let segments = segments.map(|(i, &segment)| SegmentCodec::new(segment, &spec, i as u64)).collect();
        let transform = spec.fitted.as_ref().map(|fitted| Transform::new(fitted, &spec));
        Ok(Self { fingerprint: spec.fingerprint(), spec, segments, transform })
    }

    /// The codec's description.
    #[must_use]
    pub fn spec(&self) -> &CodecSpec {
        &self.spec
    }

    /// The 64-bit identity that this codec's codes carry.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Coordinates of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.spec.dim()
    }

    /// Bytes of one packed row, scales apart.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.spec.row_bytes(&self.spec.full())
    }

    /// Bytes that the codec itself holds (rotation and tables, and what a fit has found).
    #[must_use]
    pub fn nbytes(&self) -> usize {
        let tables = |s: &SegmentCodec| s.tables.len() * 12 * (1 << s.segment.bits);
        let segments: usize = self.segments.iter().map(|s| s.rotation.nbytes() + tables(s)).sum();
        let order = self.spec.outliers.as_ref().map_or(0, |outliers| size_of_val(outliers.order()));
        segments + order + self.transform.as_ref().map_or(0, Transform::nbytes)
    }

    /// The matrix of a dense rotation in fixed point, row-major, and what 1 stands for (docs/numerics.md section 4); None for
    /// structured rotations, and for codecs of several segments.
    #[must_use]
    pub fn rotation_matrix(&self) -> Option<(Vec<i16>, f32)> {
        match &self.segments[..] {
            [segment] if self.transform.is_none() => segment.rotation.matrix(),
            _ => None,
        }
    }

    /// Rows of a block: few enough for the first-level cache, whole quads for the permutations of rotations, and many enough to pay for
    /// reading the transform of a fitted codec, or a dense rotation, once a block.
    fn rows_per_block(&self) -> usize {
        if self.transform.is_some() || self.spec.rotation == RotationKind::Dense {
            64
        } else {
            (4_096 / self.dim() / 4 * 4).clamp(4, 64)
        }
    }

    /// The runs of segments that are scored together for `keep` bits of each: segments of a fitted codec that stand side by side with the
    /// same bits, kept and in full. Segments without any kept bit are left out.
    pub(crate) fn groups(&self, keep: &[u32]) -> Vec<Group> {
        let (mut groups, fitted): (Vec<Group>, _) = (Vec::new(), self.transform.is_some());
        for (i, (segment, &keep)) in self.segments.iter().zip(keep).enumerate().filter(|(_, (_, keep))| **keep > 0) {
            let Segment { dim, bits, .. } = segment.segment;
            match groups.last_mut() {
                Some(last)
                    if fitted
                        && (last.bits, last.keep) == (bits, keep)
                        && last.segments.last().is_some_and(|&(before, _)| before + 1 == i) =>
                {
                    last.segments.push((i, dim));
                    last.dim += dim;
                }
                _ => {
                    let table_dim = segment.table_dim;
                    groups.push(Group { segments: vec![(i, dim)], bits, keep, table_dim, dim, fitted });
                }
            }
        }
        groups
    }

    /// Refuses codes of another codec.
    pub(crate) fn check_codes(&self, codes: &CodesView<'_>) -> Result<()> {
        let got = codes.fingerprint;
        if got == self.fingerprint { Ok(()) } else { Err(Error::OtherCodec { expected: self.fingerprint, got }) }
    }

    /// Rows of a flat slice of vectors.
    pub(crate) fn rows_of(&self, argument: &'static str, values: &[f32]) -> Result<usize> {
        let dim = self.dim();
        if !values.len().is_multiple_of(dim) {
            let expected = format!("whole rows of {dim} values (the codec's dim)");
            return Err(Error::argument(argument, expected, format!("{} values", values.len())));
        }
        Ok(values.len() / dim)
    }
}

impl SegmentCodec {
    fn new(segment: Segment, spec: &CodecSpec, index: u64) -> Self {
        let table_dim = spec.table_dim(&segment);
        let level = levels(segment.bits, segment.bits, table_dim);
        let bounds = boundaries(&level);
        let trials = match spec.fitted {
            // One trial scale for all segments of a row: that of the average width.
            Some(_) if spec.segments[0].bits > 1 => {
                let (axes, bits) = (spec.axes(), spec.segments.iter().map(|s| s.dim * s.bits as usize).sum::<usize>());
                let average = (2 * bits + axes) / (2 * axes);
                trial_ranges::trial_scales(average.max(2) as u32, axes, spec.refine)
            }
            Some(_) => vec![1.0],
            None => trial_ranges::trial_scales(segment.bits, segment.dim, spec.refine),
        };
        let rotation = match spec.rotation {
            RotationKind::Hadamard => SegmentRotation::Structured(Rotation::new(segment.dim, spec.seed, index)),
            RotationKind::Dense => SegmentRotation::Dense(DenseRotation::new(segment.dim, spec.seed, index)),
        };
        let table = |t: f32| Table::new(&level, &bounds.iter().map(|b| b / t).collect::<Vec<_>>());
        Self {
            segment,
            rotation,
            table_dim,
            tables: trials.into_iter().map(table).collect(),
            root: (segment.dim as f32).sqrt(),
        }
    }
}
