//! What a codec of the papers is, and the fingerprint that its codes carry.

use super::polar::string_bits;
use crate::codec::{MAX_DIM, MEANING};
use crate::error::{Error, Result};
use crate::projection::{DENSE_MAX_DIM, DENSE_MAX_SIZE, ProjectionKind};
use crate::rng::derive;
use crate::units;

/// Most levels of a polar codec: dimensions go up to 2^16.
pub(crate) const MAX_LEVELS: usize = 16;

impl ProjectionKind {
    const NAMES: [(&'static str, ProjectionKind); 3] =
        [("gaussian", Self::Gaussian), ("orthogonal", Self::Orthogonal), ("hadamard", Self::Hadamard)];

    /// The projection called `name`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that is not "gaussian", "orthogonal" or "hadamard".
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        let expected = r#""gaussian", "orthogonal" or "hadamard""#;
        found.ok_or_else(|| Error::argument("projection", expected, format!("{name:?}")))
    }

    /// The projection's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }
}

/// How a polar codec stores radii.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Radius {
    /// Two bytes, the papers' own: magnitudes from 6·10⁻⁸ to 65,504.
    #[default]
    Float16,
    /// Four bytes.
    Float32,
}

impl Radius {
    const NAMES: [(&'static str, Radius); 2] = [("float16", Self::Float16), ("float32", Self::Float32)];

    /// The format called `name`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that is not "float16" or "float32".
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, radius)| *radius);
        found.ok_or_else(|| Error::argument("radius", r#""float16" or "float32""#, format!("{name:?}")))
    }

    /// The format's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    /// Bytes of a radius.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Float16 => 2,
            Self::Float32 => 4,
        }
    }
}

/// Everything that decides what a code of the papers' codecs means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PaperSpec {
    /// QJL: `sketch_dim` signs of a projection and the norm.
    Qjl {
        /// Coordinates of a vector.
        dim: usize,
        /// Signs.
        sketch_dim: usize,
        /// How the directions are drawn.
        projection: ProjectionKind,
        /// Seed of all randomness.
        seed: u64,
    },
    /// TurboQuant_prod: levels at `bits` − 1, a sketch of the residual.
    Prod {
        /// Coordinates of a vector.
        dim: usize,
        /// Bits a coordinate, 1 to 8.
        bits: u32,
        /// How the sketch's directions are drawn.
        projection: ProjectionKind,
        /// Seed of all randomness.
        seed: u64,
    },
    /// PolarQuant: angles of a recursive polar transform, and radii.
    Polar {
        /// Coordinates of a vector, a multiple of 2^levels.
        dim: usize,
        /// Bits of an angle of each level, from the first level on.
        bits: Vec<u32>,
        /// How radii are stored.
        radius: Radius,
        /// Seed of the rotation.
        seed: u64,
    },
}

impl PaperSpec {
    /// Checks that this describes a codec.
    ///
    /// # Errors
    /// [`Error::Argument`] if a number is out of range. Dense projections (Gaussian, orthogonal) go up to dim 4,096 and 16,384 signs.
    pub fn check(&self) -> Result<()> {
        match *self {
            Self::Qjl { dim, sketch_dim, projection, .. } => {
                check_dim(dim, projection)?;
                let most = if projection == ProjectionKind::Hadamard { MAX_DIM } else { DENSE_MAX_SIZE };
                check("sketch_dim", sketch_dim, most)
            }
            Self::Prod { dim, bits, projection, .. } => {
                check_dim(dim, projection)?;
                check("bits", bits as usize, 8)
            }
            Self::Polar { dim, ref bits, .. } => {
                check("levels", bits.len(), MAX_LEVELS)?;
                bits.iter().try_for_each(|&bits| check("bits", bits as usize, 8))?;
                check("dim", dim, MAX_DIM)?;
                let unit = 1 << bits.len();
                if dim % unit == 0 {
                    return Ok(());
                }
                Err(Error::argument("dim", format!("a multiple of {unit} (2^levels)"), dim))
            }
        }
    }

    /// Coordinates of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        match *self {
            Self::Qjl { dim, .. } | Self::Prod { dim, .. } | Self::Polar { dim, .. } => dim,
        }
    }

    /// Seed of all randomness.
    #[must_use]
    pub fn seed(&self) -> u64 {
        match *self {
            Self::Qjl { seed, .. } | Self::Prod { seed, .. } | Self::Polar { seed, .. } => seed,
        }
    }

    /// Scales a row: of the levels, where there are any, and of the sketch; polar rows hold their radii.
    #[must_use]
    pub fn norms(&self) -> usize {
        match self {
            Self::Qjl { .. } | Self::Prod { bits: 1, .. } => 1,
            Self::Prod { .. } => 2,
            Self::Polar { .. } => 0,
        }
    }

    /// Bytes of a packed row, scales apart.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        match *self {
            Self::Qjl { sketch_dim, .. } => sketch_dim.div_ceil(8),
            Self::Prod { dim, bits, .. } => coarse_bytes(dim, bits) + dim.div_ceil(8),
            Self::Polar { dim, ref bits, radius, .. } => {
                radius.bytes() * (dim >> bits.len()) + string_bits(dim, bits).div_ceil(8)
            }
        }
    }

    /// The numbers that describe the codec: kind, choice, signs, bits.
    pub(crate) fn numbers(&self) -> (u8, u8, usize, Vec<u32>) {
        match *self {
            Self::Qjl { sketch_dim, projection, .. } => (0, projection as u8, sketch_dim, vec![1]),
            Self::Prod { dim, bits, projection, .. } => (1, projection as u8, dim, vec![bits]),
            Self::Polar { ref bits, radius, .. } => (2, radius as u8, 0, bits.clone()),
        }
    }

    /// The codec with these numbers, if there is one.
    pub(crate) fn from_numbers(
        kind: u8,
        dim: usize,
        choice: u8,
        size: usize,
        bits: &[u32],
        seed: u64,
    ) -> Option<PaperSpec> {
        let projection = ProjectionKind::NAMES.get(usize::from(choice)).map(|(_, kind)| *kind);
        let spec = match (kind, bits) {
            (0, [1]) => Self::Qjl { dim, sketch_dim: size, projection: projection?, seed },
            (1, &[bits]) if size == dim => Self::Prod { dim, bits, projection: projection?, seed },
            (2, _) if size == 0 => {
                let radius = Radius::NAMES.get(usize::from(choice))?.1;
                Self::Polar { dim, bits: bits.to_vec(), radius, seed }
            }
            _ => return None,
        };
        spec.check().is_ok().then_some(spec)
    }

    /// The 64-bit identity of the codec: equal for codecs whose codes mean the same.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let (kind, choice, size, bits) = self.numbers();
        let mut words = vec![MEANING, u64::from(kind), self.dim() as u64, u64::from(choice)];
        words.extend([size as u64, self.seed(), bits.len() as u64]);
        words.extend(bits.iter().map(|&bits| u64::from(bits)));
        derive(0x5455_5242_5041_5052, &words)
    }
}

/// Bytes of the levels of a prod row, before its signs.
pub(crate) fn coarse_bytes(dim: usize, bits: u32) -> usize {
    if bits == 1 { 0 } else { units::row_bytes(dim, bits - 1, bits - 1) }
}

fn check_dim(dim: usize, projection: ProjectionKind) -> Result<()> {
    check("dim", dim, if projection == ProjectionKind::Hadamard { MAX_DIM } else { DENSE_MAX_DIM })
}

fn check(argument: &'static str, value: usize, most: usize) -> Result<()> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::argument(argument, format!("between 1 and {most}"), value))
}
