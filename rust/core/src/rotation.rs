//! The random rotation: rounds of signs and Walsh–Hadamard, any dimension (docs/numerics.md section 4).
//!
//! TurboQuant (arXiv 2504.19874, Algorithm 1) draws a dense Haar matrix; three or four structured rounds act like it, one-hot rows
//! included, in O(m log m). Where m is no power of two, two overlapping blocks cover the segment and a permutation between rounds
//! carries energy across, so nothing is padded.

use crate::kernels::Level;
use crate::kernels::hadamard::{Direction, transform};
use crate::kernels::lines::Lines;
use crate::kernels::shuffle::{Order, shuffle};
use crate::rng::{derive, is_negative, permutation};

/// A short power of two has one block a round, and sparse rows stay on a coarse lattice after three.
const FOUR_ROUNDS_UP_TO: usize = 512;

#[derive(Debug, Clone)]
enum Step {
    /// Multiply from `offset` by the factors (±p^−½), then Walsh–Hadamard.
    Block { offset: usize, factors: Lines },
    /// y[i] = x[source[i]].
    Shuffle(Order),
}

/// The rotation of one segment.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    dim: usize,
    steps: Vec<Step>,
}

impl Rotation {
    pub(crate) fn new(dim: usize, seed: u64, segment: u64) -> Self {
        let log = dim.ilog2();
        let p = 1_usize << log;
        let odd = if log % 2 == 1 { std::f32::consts::FRAC_1_SQRT_2 } else { 1.0 };
        let scale = odd / (1_u64 << (log / 2)) as f32;
        let block = |offset, stream| {
            let key = derive(seed, &[segment, stream]);
            let factors = (0..p as u64).map(|i| if is_negative(key, i) { -scale } else { scale }).collect();
            Step::Block { offset, factors }
        };
        let rounds = if p == dim && dim <= FOUR_ROUNDS_UP_TO { 4 } else { 3 };
        let mut steps = Vec::new();
        for round in 0..rounds {
            steps.push(block(0, 3 * round));
            if p != dim {
                steps.push(block(dim - p, 3 * round + 1));
                if round + 1 < rounds {
                    let source = permutation(derive(seed, &[segment, 3 * round + 2]), dim);
                    steps.push(Step::Shuffle(Order::new(source)));
                }
            }
        }
        Self { dim, steps }
    }

    /// Rotates `rows` (rows of `dim`) in place; `spare` is overwritten.
    pub(crate) fn apply(&self, level: Level, rows: &mut [f32], spare: &mut Vec<f32>) {
        for step in &self.steps {
            match step {
                Step::Block { offset, factors } => {
                    transform(level, Direction::Forward, rows, self.dim, *offset, factors.values());
                }
                Step::Shuffle(order) => shuffle(level, order, rows, spare),
            }
        }
    }

    /// Undoes [`Rotation::apply`] up to rounding.
    pub(crate) fn apply_inverse(&self, level: Level, rows: &mut [f32], spare: &mut Vec<f32>) {
        for step in self.steps.iter().rev() {
            match step {
                Step::Block { offset, factors } => {
                    transform(level, Direction::Inverse, rows, self.dim, *offset, factors.values());
                }
                Step::Shuffle(order) => {
                    for row in rows.chunks_exact_mut(self.dim) {
                        spare.clear();
                        spare.extend_from_slice(row);
                        spare.iter().zip(order.source()).for_each(|(&value, &to)| row[to as usize] = value);
                    }
                }
            }
        }
    }

    /// Bytes held.
    pub(crate) fn nbytes(&self) -> usize {
        let bytes = |step: &Step| match step {
            Step::Block { factors, .. } => size_of_val(factors.values()),
            Step::Shuffle(order) => size_of_val(order.source()),
        };
        self.steps.iter().map(bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stay_orthonormal_and_inverse_undoes() {
        let level = Level::default_level().unwrap();
        for dim in (1..=70).chain([97, 128, 200]) {
            let rotation = Rotation::new(dim, 11, 0);
            let identity: Vec<f32> = (0..dim * dim).map(|i| f32::from(u8::from(i % (dim + 1) == 0))).collect();
            let (mut rows, mut spare) = (identity.clone(), Vec::new());
            rotation.apply(level, &mut rows, &mut spare);
            for a in 0..dim {
                for b in 0..dim {
                    let (x, y) = (&rows[a * dim..][..dim], &rows[b * dim..][..dim]);
                    let dot: f32 = x.iter().zip(y).map(|(x, y)| x * y).sum();
                    // A sum of dim products of float32 unit rows: rounding stays below dim·2^-24 by far.
                    assert!((dot - f32::from(u8::from(a == b))).abs() < 2e-6, "rows {a}, {b} at dim {dim}: {dot}");
                }
            }
            rotation.apply_inverse(level, &mut rows, &mut spare);
            let worst = rows.iter().zip(&identity).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-6, "dim {dim}: {worst}");
        }
    }
}
