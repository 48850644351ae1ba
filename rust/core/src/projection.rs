//! The projections of a sketch: Gaussian, orthogonal, structured (docs/numerics-papers.md section 3).

use crate::haar::haar;
use crate::kernels::Level;
use crate::kernels::dense::{self, DENSE_STEP};
use crate::kernels::{dot_f32, rows};
use crate::normals::normals;
use crate::rng::derive;
use crate::rotation::Rotation;

/// Dense projections hold a matrix of two bytes a value; these keep it within 128 MiB.
pub(crate) const DENSE_MAX_DIM: usize = 4_096;
pub(crate) const DENSE_MAX_SIZE: usize = 16_384;

/// L2 norm of a row in fixed point.
const UNIT: f32 = 32_000.0;
/// First words of the streams' names; a codec's own rotations have its segments, 0 to 254, or 259 if dense.
const GAUSSIAN: u64 = 256;
const ORTHOGONAL: u64 = 257;
const HADAMARD: u64 = 258;

/// How the directions of a sketch are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ProjectionKind {
    /// Independent standard normals: the papers' own. A matrix, O(dim·size) a row.
    #[default]
    Gaussian,
    /// Rows of Haar-random orthogonal matrices: less variance at the same cost. Making them takes O(dim³).
    Orthogonal,
    /// Coordinates of the structured rotation, O(dim log dim) a row.
    Hadamard,
}

/// A projection of rows of `dim` to `size` values.
#[derive(Debug, Clone)]
pub(crate) enum Projection {
    /// A matrix in fixed point, rows padded to `width`; 1 stands for `step`.
    Dense { dim: usize, width: usize, matrix: Vec<i16>, step: f32 },
    /// The first `size` coordinates of rotations, one after another.
    Structured { dim: usize, size: usize, rotations: Vec<Rotation> },
}

impl Projection {
    pub(crate) fn new(kind: ProjectionKind, dim: usize, size: usize, seed: u64) -> Self {
        match kind {
            ProjectionKind::Gaussian => Self::gaussian(dim, size, seed),
            ProjectionKind::Orthogonal => Self::orthogonal(dim, size, seed),
            ProjectionKind::Hadamard => {
                let key = derive(seed, &[HADAMARD]);
                let rotations = (0..size.div_ceil(dim) as u64).map(|b| Rotation::new(dim, key, b)).collect();
                Self::Structured { dim, size, rotations }
            }
        }
    }

    /// Standard normal entries, rounded with one step: the longest row gets the norm 32,000.
    fn gaussian(dim: usize, size: usize, seed: u64) -> Self {
        let g = normals(derive(seed, &[GAUSSIAN]), dim * size);
        let longest = g.chunks_exact(dim).map(|row| dot_f32(row, row).sqrt()).fold(0.0, f32::max);
        let factor = UNIT / longest;
        let values: Vec<i16> = g.iter().map(|value| (value * factor).round_ties_even() as i16).collect();
        Self::dense(dim, &values, longest / UNIT)
    }

    fn orthogonal(dim: usize, size: usize, seed: u64) -> Self {
        let mut values = Vec::with_capacity(size * dim);
        for b in 0..size.div_ceil(dim) as u64 {
            let block = fixed_haar(dim, derive(seed, &[ORTHOGONAL, b]));
            values.extend(block.into_iter().take(size * dim - values.len()));
        }
        Self::dense(dim, &values, 1.0 / UNIT)
    }

    fn dense(dim: usize, values: &[i16], step: f32) -> Self {
        Self::Dense { dim, width: dim.next_multiple_of(DENSE_STEP), matrix: dense::padded(values, dim), step }
    }

    /// Projects `x`, rows of `dim` with L2 norms `norms`, to rows of `size`.
    pub(crate) fn apply(&self, level: Level, x: &[f32], norms: &[f32]) -> Vec<f32> {
        let n = norms.len();
        match self {
            Self::Dense { dim, width, matrix, step } => {
                let factors: Vec<f32> = norms.iter().map(|&n| UNIT / if n == 0.0 { 1.0 } else { n }).collect();
                let (mut fixed, size) = (vec![0; n * width], matrix.len() / width);
                rows::fixed_point(level, x, *dim, &factors, &mut fixed, *width);
                let mut exact = vec![0; n * size];
                dense::products(level, &fixed, matrix, *width, &mut exact);
                let units = norms.iter().map(|&norm| (norm / UNIT) * step);
                let rows = exact.chunks_exact(size).zip(units);
                rows.flat_map(|(row, unit)| row.iter().map(move |&sum| sum as f32 * unit)).collect()
            }
            Self::Structured { dim, size, rotations } => {
                let (mut out, mut spare) = (vec![0.0; n * size], Vec::new());
                for (b, rotation) in rotations.iter().enumerate() {
                    let mut part = x.to_vec();
                    rotation.apply(level, &mut part, &mut spare);
                    let (start, end) = (b * dim, ((b + 1) * dim).min(*size));
                    for (row, out) in part.chunks_exact(*dim).zip(out.chunks_exact_mut(*size)) {
                        out[start..end].copy_from_slice(&row[..end - start]);
                    }
                }
                out
            }
        }
    }

    /// Σ_j ±direction_j for rows of `size` signs, codes 0 (−) and 1 (+), to rows of `dim`.
    pub(crate) fn transposed(&self, level: Level, signs: &[u8]) -> Vec<f32> {
        match self {
            Self::Dense { dim, width, matrix, step } => {
                let size = matrix.len() / width;
                let mut sums = vec![0_i32; *width];
                let rows = signs.chunks_exact(size).flat_map(|signs| {
                    // A value is at most 32,200 and there are at most 16,384: below 2^30.
                    sums.fill(0);
                    for (&sign, row) in signs.iter().zip(matrix.chunks_exact(*width)) {
                        let sign = i32::from(sign) * 2 - 1;
                        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += sign * i32::from(value));
                    }
                    sums[..*dim].iter().map(|&sum| sum as f32 * step).collect::<Vec<_>>()
                });
                rows.collect()
            }
            Self::Structured { dim, size, rotations } => {
                let n = signs.len() / size;
                let (mut out, mut spare) = (vec![0.0; n * dim], Vec::new());
                for (b, rotation) in rotations.iter().enumerate() {
                    let (start, end) = (b * dim, ((b + 1) * dim).min(*size));
                    let mut part = vec![0.0; n * dim];
                    for (signs, row) in signs.chunks_exact(*size).zip(part.chunks_exact_mut(*dim)) {
                        let values = signs[start..end].iter().map(|&sign| f32::from(sign) * 2.0 - 1.0);
                        row.iter_mut().zip(values).for_each(|(out, value)| *out = value);
                    }
                    rotation.apply_inverse(level, &mut part, &mut spare);
                    out.iter_mut().zip(&part).for_each(|(sum, value)| *sum += value);
                }
                out
            }
        }
    }

    /// The matrix, rows of `dim` values, and what 1 stands for; a structured projection has none.
    pub(crate) fn matrix(&self) -> Option<(Vec<i16>, f32)> {
        match self {
            Self::Dense { dim, width, matrix, step } => {
                Some((matrix.chunks_exact(*width).flat_map(|row| &row[..*dim]).copied().collect(), *step))
            }
            Self::Structured { .. } => None,
        }
    }

    /// Bytes held.
    pub(crate) fn nbytes(&self) -> usize {
        match self {
            Self::Dense { matrix, .. } => size_of_val(&matrix[..]),
            Self::Structured { rotations, .. } => rotations.iter().map(Rotation::nbytes).sum(),
        }
    }
}

/// A Haar-random matrix in fixed point, row-major, from the stream `key`.
fn fixed_haar(dim: usize, key: u64) -> Vec<i16> {
    haar(dim, key).iter().map(|value| (value * f64::from(UNIT)).round_ties_even() as i16).collect()
}

/// A Haar-random matrix from the stream `key`, and its transpose, whose rows are unit vectors as well.
pub(crate) fn haar_pair(dim: usize, key: u64) -> [Projection; 2] {
    let rows = fixed_haar(dim, key);
    let columns: Vec<i16> = (0..dim).flat_map(|column| rows.iter().skip(column).step_by(dim).copied()).collect();
    [rows, columns].map(|values| Projection::dense(dim, &values, 1.0 / UNIT))
}

impl ProjectionKind {
    /// 1/(size·E|⟨s, k⟩|) for unit k: what a projected query's product with signs is multiplied with to be unbiased.
    pub(crate) fn sign_constant(self, dim: usize, size: usize) -> f32 {
        if self == Self::Gaussian {
            return (std::f64::consts::FRAC_PI_2.sqrt() / size as f64) as f32;
        }
        // E|u₁| of a random unit vector: c₁ = 1, c₂ = 2/π, c_{d+2} = c_d·d/(d + 1).
        let start = if dim % 2 == 1 { 1.0 } else { 2.0 / std::f64::consts::PI };
        let mean = (2 - dim % 2..dim).step_by(2).fold(start, |mean, d| mean * d as f64 / (d + 1) as f64);
        (1.0 / (size as f64 * mean)) as f32
    }
}
