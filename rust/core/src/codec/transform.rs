//! What a fitted codec does before its segments and after them: center, fixed point, axes (docs/numerics.md section 11).

use std::sync::Arc;

use super::{CodecSpec, Fitted, prepare};
use crate::error::Result;
use crate::kernels::Level;
use crate::kernels::dense::{self, DENSE_STEP};
use crate::kernels::{dot_f32, rows};

/// L2 norm of a row in fixed point, rounding aside.
const REACH: f32 = 32_000.0;
/// What the product of two such rows is divided by; exact in float32.
const UNIT: f32 = REACH * REACH;

/// Matrices in the form in which kernels take them, and the factors of each segment.
#[derive(Debug, Clone)]
pub(crate) struct Transform {
    pub(super) fitted: Arc<Fitted>,
    axes: usize,
    /// T, rows padded.
    forward: Vec<i16>,
    /// The dual, rows padded; without one queries go forward, too.
    scoring: Option<Vec<i16>>,
    /// The transpose of the dual, or of T, rows padded.
    backward: Vec<i16>,
    /// First axis of every segment, then their number.
    starts: Vec<usize>,
    /// For each axis: from products to coordinates of unit variance, 1/(32,000²·σ).
    whiten: Vec<f32>,
    /// For each axis: from there to products with queries, σ.
    gains: Vec<f32>,
    /// σ² of each segment.
    pub(super) weights: Vec<f32>,
}

/// Buffers of a task, reused from block to block.
#[derive(Debug, Default)]
pub(super) struct DenseScratch {
    factors: Vec<f32>,
    fixed: Vec<i16>,
    products: Vec<i32>,
}

impl Transform {
    pub(super) fn new(fitted: &Arc<Fitted>, spec: &CodecSpec) -> Self {
        let (dim, axes) = (fitted.dim(), spec.axes());
        let dual = fitted.dual();
        let mut transposed = vec![0; dim * axes];
        for (axis, row) in dual.map_or(fitted.transform(), |dual| dual.matrix).chunks_exact(dim).enumerate() {
            transposed.iter_mut().skip(axis).step_by(axes).zip(row).for_each(|(to, &value)| *to = value);
        }
        let sigmas = spec.segments.iter().zip(fitted.sigmas());
        let sigmas: Vec<f32> = sigmas.flat_map(|(segment, &sigma)| vec![sigma; segment.dim]).collect();
        Self {
            axes,
            forward: dense::padded(fitted.transform(), dim),
            backward: dense::padded(&transposed, axes),
            starts: spec.segments.iter().map(|segment| segment.start).chain([axes]).collect(),
            scoring: dual.map(|dual| dense::padded(dual.matrix, dim)),
            whiten: match dual {
                Some(dual) => dual.row_gains.iter().map(|gain| gain / UNIT).collect(),
                None => sigmas.iter().map(|sigma| 1.0 / (UNIT * sigma)).collect(),
            },
            gains: dual.map_or(sigmas, |dual| dual.query_gains.to_vec()),
            weights: fitted.sigmas().iter().map(|sigma| sigma * sigma).collect(),
            fitted: Arc::clone(fitted),
        }
    }

    /// σ² of each segment.
    pub(crate) fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Bytes held, the description's included.
    pub(super) fn nbytes(&self) -> usize {
        let matrices = self.forward.len() + self.backward.len() + self.scoring.as_ref().map_or(0, Vec::len);
        2 * matrices + 8 * self.whiten.len() + self.fitted.nbytes()
    }

    /// Takes the center off rows; `norms` are those to divide by first, if any. False without a center.
    pub(super) fn take_center_off(&self, x: &[f32], norms: Option<&[f32]>, out: &mut Vec<f32>) -> bool {
        let Some(center) = self.fitted.center() else { return false };
        out.clear();
        let mut push = |row: &[f32], divide: &dyn Fn(f32) -> f32| {
            let values = row.iter().zip(center);
            // A coordinate without a center keeps its bits, subnormal ones too.
            out.extend(values.map(|(&x, &mean)| if mean == 0.0 { divide(x) } else { divide(x) - mean }));
        };
        for (i, row) in x.chunks_exact(center.len()).enumerate() {
            match norms.map(|norms| norms[i]) {
                Some(norm) => {
                    let norm = if norm == 0.0 { 1.0 } else { norm };
                    push(row, &|x| x / norm);
                }
                None => push(row, &|x| x),
            }
        }
        true
    }

    /// Coordinates of unit variance of prepared rows of the given norms: those of segment `i` of all rows go to `parts[i]`.
    pub(super) fn whitened(
        &self,
        level: Level,
        prepared: &[f32],
        norms: &[f32],
        s: &mut DenseScratch,
        parts: &mut Vec<Vec<f32>>,
    ) {
        s.multiply(level, prepared, self.fitted.dim(), norms, &self.forward, self.axes);
        self.split(&s.products, parts, |_| 1.0, &self.whiten);
    }

    /// Queries likewise, in the coordinates in which they meet levels.
    pub(crate) fn queries(&self, level: Level, prepared: &[f32], norms: &[f32]) -> Vec<Vec<f32>> {
        let (mut s, mut parts) = (DenseScratch::default(), Vec::new());
        let matrix = self.scoring.as_ref().unwrap_or(&self.forward);
        s.multiply(level, prepared, self.fitted.dim(), norms, matrix, self.axes);
        self.split(&s.products, &mut parts, |row| norms[row] / UNIT, &self.gains);
        parts
    }

    /// Puts the products of each segment to its part, times (unit of the row · factor of the axis).
    fn split(&self, products: &[i32], parts: &mut Vec<Vec<f32>>, unit: impl Fn(usize) -> f32, factors: &[f32]) {
        parts.resize_with(self.starts.len() - 1, Vec::new);
        for (part, ends) in parts.iter_mut().zip(self.starts.windows(2)) {
            part.clear();
            let factors = &factors[ends[0]..ends[1]];
            for (row, products) in products.chunks_exact(self.axes).enumerate() {
                let unit = unit(row);
                let products = products[ends[0]..ends[1]].iter().zip(factors);
                part.extend(products.map(|(&t, factor)| t as f32 * (unit * factor)));
            }
        }
    }

    /// What decoded coordinates of segment `i` are multiplied with.
    pub(super) fn gains(&self, i: usize) -> &[f32] {
        &self.gains[self.starts[i]..self.starts[i + 1]]
    }

    /// ⟨row, center⟩ of prepared rows; none without a center.
    pub(crate) fn center_products(&self, prepared: &[f32]) -> Option<Vec<f32>> {
        let center = self.fitted.center()?;
        Some(prepared.chunks_exact(center.len()).map(|row| dot_f32(row, center)).collect())
    }

    /// Rows of axes back to rows of `dim` values: Tᵀ·v (the dual's if there is one), times `scales`, plus the center.
    pub(super) fn backward(
        &self,
        level: Level,
        v: &[f32],
        scales: &[f32],
        s: &mut DenseScratch,
        out: &mut [f32],
    ) -> Result<()> {
        let (dim, axes) = (self.fitted.dim(), self.axes);
        let (mut tops, mut exponents, mut prepared, mut norms) =
            (Vec::new(), Vec::new(), vec![0.0; v.len()], Vec::new());
        prepare(level, "codes", v, axes, &mut tops, &mut exponents, &mut prepared, &mut norms)?;
        s.multiply(level, &prepared, axes, &norms, &self.backward, dim);
        let rows = out.chunks_exact_mut(dim).zip(s.products.chunks_exact(dim));
        for ((row, products), ((&norm, &exponent), &scale)) in rows.zip(norms.iter().zip(&exponents).zip(scales)) {
            let factor = super::times_power((norm / UNIT) * scale, exponent);
            match self.fitted.center() {
                None => row.iter_mut().zip(products).for_each(|(out, &t)| *out = t as f32 * factor),
                Some(center) => {
                    let values = row.iter_mut().zip(products).zip(center);
                    values.for_each(|((out, &t), mean)| *out = t as f32 * factor + mean);
                }
            }
        }
        Ok(())
    }
}

impl DenseScratch {
    /// Products of rows, in fixed point, with the `k` rows of a padded matrix.
    fn multiply(&mut self, level: Level, prepared: &[f32], dim: usize, norms: &[f32], matrix: &[i16], k: usize) {
        let width = dim.next_multiple_of(DENSE_STEP);
        self.factors.clear();
        self.factors.extend(norms.iter().map(|&norm| REACH / if norm == 0.0 { 1.0 } else { norm }));
        self.fixed.resize(norms.len() * width, 0);
        rows::fixed_point(level, prepared, dim, &self.factors, &mut self.fixed, width);
        self.products.resize(norms.len() * k, 0);
        dense::products(level, &self.fixed, matrix, width, &mut self.products);
    }
}
