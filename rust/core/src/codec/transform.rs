//! What a fitted codec does before its segments and after them: center, fixed point, axes (docs/numerics.md section 11).

use std::sync::Arc;

use super::{CodecSpec, Fitted, prepare, row_norms};
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
    /// Tᵀ, rows padded.
    backward: Vec<i16>,
    /// First axis of every segment, then their number.
    starts: Vec<usize>,
    /// 1/(32,000²·σ) of each segment: products to whitened coordinates.
    whiten: Vec<f32>,
    /// σ² of each segment.
    pub(super) weights: Vec<f32>,
}

/// Buffers of a task, reused from block to block.
#[derive(Debug, Default)]
pub(crate) struct DenseScratch {
    factors: Vec<f32>,
    fixed: Vec<i16>,
    products: Vec<i32>,
}

impl Transform {
    pub(super) fn new(fitted: &Arc<Fitted>, spec: &CodecSpec) -> Self {
        let (dim, axes) = (fitted.dim(), spec.axes());
        let mut transposed = vec![0; dim * axes];
        for (axis, row) in fitted.transform().chunks_exact(dim).enumerate() {
            transposed.iter_mut().skip(axis).step_by(axes).zip(row).for_each(|(to, &value)| *to = value);
        }
        Self {
            axes,
            forward: dense::padded(fitted.transform(), dim),
            backward: dense::padded(&transposed, axes),
            starts: spec.segments.iter().map(|segment| segment.start).chain([axes]).collect(),
            whiten: fitted.sigmas().iter().map(|sigma| 1.0 / (UNIT * sigma)).collect(),
            weights: fitted.sigmas().iter().map(|sigma| sigma * sigma).collect(),
            fitted: Arc::clone(fitted),
        }
    }

    /// Bytes held, the description's included.
    pub(super) fn nbytes(&self) -> usize {
        2 * (self.forward.len() + self.backward.len()) + 8 * self.whiten.len() + self.fitted.nbytes()
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

    /// Multiplies prepared rows of the given norms with the axes and puts segment `i` of all rows to `parts[i]`, times `scale(i, row)`.
    pub(crate) fn forward(
        &self,
        level: Level,
        prepared: &[f32],
        norms: &[f32],
        scale: impl Fn(usize, usize) -> f32,
        s: &mut DenseScratch,
        parts: &mut Vec<Vec<f32>>,
    ) {
        s.multiply(level, prepared, self.fitted.dim(), norms, &self.forward, self.axes);
        parts.resize_with(self.whiten.len(), Vec::new);
        for (i, part) in parts.iter_mut().enumerate() {
            part.clear();
            for (row, products) in s.products.chunks_exact(self.axes).enumerate() {
                let factor = scale(i, row);
                part.extend(products[self.starts[i]..self.starts[i + 1]].iter().map(|&t| t as f32 * factor));
            }
        }
    }

    /// The factor from products to whitened coordinates of segment `i`.
    pub(super) fn whiten(&self, i: usize) -> f32 {
        self.whiten[i]
    }

    /// The factor from products of a query of norm `norm` to coordinates times σ.
    pub(crate) fn query_factor(&self, i: usize, norm: f32) -> f32 {
        (norm / UNIT) * self.fitted.sigmas()[i]
    }

    /// ⟨row, center⟩ of prepared rows; none without a center.
    pub(crate) fn center_products(&self, prepared: &[f32]) -> Option<Vec<f32>> {
        let center = self.fitted.center()?;
        Some(prepared.chunks_exact(center.len()).map(|row| dot_f32(row, center)).collect())
    }

    /// Rows of axes back to rows of `dim` values: Tᵀ·v, times `scales`, plus the center.
    pub(super) fn backward(
        &self,
        level: Level,
        v: &[f32],
        scales: &[f32],
        s: &mut DenseScratch,
        out: &mut [f32],
    ) -> Result<()> {
        let (dim, axes) = (self.fitted.dim(), self.axes);
        let (mut tops, mut exponents, mut prepared, mut norms) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        prepare(level, "codes", v, axes, &mut tops, &mut exponents, &mut prepared)?;
        row_norms(level, &prepared, axes, 0, axes, &mut norms);
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
