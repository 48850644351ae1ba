//! The paper's own rotation, a dense Haar-random matrix in fixed point (TurboQuant, arXiv 2504.19874, Algorithm 1 line 2).
//!
//! For fidelity: O(m²) a row where the structured one takes O(m log m), and no better on any input that was tried.

use std::sync::OnceLock;

use crate::kernels::Level;
use crate::kernels::dense::DENSE_STEP;
use crate::kernels::rows::square_sums;
use crate::projection::{Projection, haar_pair};
use crate::rng::derive;
use crate::rotation::Rotation;

/// First word of a matrix's stream, beside those of the projections; the segment follows.
const ROTATION: u64 = 259;

/// The rotation of one segment: structured, or a dense matrix.
#[derive(Debug, Clone)]
pub(crate) enum SegmentRotation {
    Structured(Rotation),
    Dense(DenseRotation),
}

/// A Haar-random matrix and its transpose, made when they are first needed: at 4,096 coordinates that takes most of a minute, which
/// whoever only reads a file's description does not pay.
#[derive(Debug, Clone)]
pub(crate) struct DenseRotation {
    dim: usize,
    key: u64,
    matrices: OnceLock<[Projection; 2]>,
}

impl SegmentRotation {
    /// Rotates `rows` in place; `spare` is overwritten.
    pub(crate) fn apply(&self, level: Level, rows: &mut [f32], spare: &mut Vec<f32>) {
        match self {
            Self::Structured(rotation) => rotation.apply(level, rows, spare),
            Self::Dense(rotation) => rows.copy_from_slice(&rotation.multiply(level, 0, rows, spare)),
        }
    }

    /// Undoes [`apply`](Self::apply) up to rounding.
    pub(crate) fn apply_inverse(&self, level: Level, rows: &mut [f32], spare: &mut Vec<f32>) {
        match self {
            Self::Structured(rotation) => rotation.apply_inverse(level, rows, spare),
            Self::Dense(rotation) => rows.copy_from_slice(&rotation.multiply(level, 1, rows, spare)),
        }
    }

    /// A dense rotation's matrix, row-major, and what 1 stands for; a structured one has none.
    pub(crate) fn matrix(&self) -> Option<(Vec<i16>, f32)> {
        match self {
            Self::Structured(_) => None,
            Self::Dense(rotation) => rotation.matrices()[0].matrix(),
        }
    }

    /// Bytes held, those of a matrix that is yet to be made included.
    pub(crate) fn nbytes(&self) -> usize {
        match self {
            Self::Structured(rotation) => rotation.nbytes(),
            Self::Dense(rotation) => 2 * 2 * rotation.dim * rotation.dim.next_multiple_of(DENSE_STEP),
        }
    }
}

impl DenseRotation {
    pub(crate) fn new(dim: usize, seed: u64, segment: u64) -> Self {
        Self { dim, key: derive(seed, &[ROTATION, segment]), matrices: OnceLock::new() }
    }

    fn matrices(&self) -> &[Projection; 2] {
        self.matrices.get_or_init(|| haar_pair(self.dim, self.key))
    }

    /// Rows times the matrix, or its transpose.
    fn multiply(&self, level: Level, which: usize, rows: &[f32], norms: &mut Vec<f32>) -> Vec<f32> {
        let matrices = self.matrices();
        norms.resize(rows.len() / self.dim, 0.0);
        square_sums(level, rows, self.dim, 0, self.dim, norms);
        norms.iter_mut().for_each(|norm| *norm = norm.sqrt());
        matrices[which].apply(level, rows, norms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, other_levels};

    #[test]
    fn it_is_undone_and_keeps_norms_on_every_level() {
        for dim in [1, 2, 3, 31, 64, 100] {
            let rotation = SegmentRotation::Dense(DenseRotation::new(dim, 5, 1));
            let x = floats(dim * 7, 3);
            let mut wanted: Option<[Vec<f32>; 2]> = None;
            for level in [vec![Level::Scalar], other_levels()].concat() {
                let (mut rows, mut spare) = (x.clone(), Vec::new());
                rotation.apply(level, &mut rows, &mut spare);
                let rotated = rows.clone();
                rotation.apply_inverse(level, &mut rows, &mut spare);
                for ((x, y), back) in x.chunks(dim).zip(rotated.chunks(dim)).zip(rows.chunks(dim)) {
                    let norm = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                    // Rounding to int16 errs by at most ½ in each of dim values of rows of norm 32,000, on both sides of a product.
                    let worst = norm(x) * (dim as f64).sqrt() / 32_000.0 + 1e-6;
                    assert!((norm(x) - norm(y)).abs() < worst, "dim {dim}: {} {}", norm(x), norm(y));
                    let error: Vec<f32> = x.iter().zip(back).map(|(x, back)| x - back).collect();
                    assert!(norm(&error) < 2.0 * worst, "dim {dim}: {}", norm(&error));
                }
                let found = [rotated, rows];
                assert_eq!(wanted.get_or_insert_with(|| found.clone()), &found, "{}", level.name());
            }
        }
    }
}
