//! Encoding by a fitted codec: docs/numerics.md section 11, a block of rows at a time.

use super::encode::{Outputs, Scratch, cosine};
use super::transform::{DenseScratch, Transform};
use super::{Scale, TurboQuant, prepare, row_norms, times_power};
use crate::error::{Error, Result};
use crate::kernels::Level;
use crate::kernels::assign::{Products, assign};
use crate::units;

/// What a block needs beside the buffers of a plain codec.
#[derive(Debug, Default)]
pub(super) struct FittedScratch {
    dense: DenseScratch,
    centered: Vec<f32>,
    /// Whitened, rotated coordinates and codes of each segment, all rows one after another.
    y: Vec<Vec<f32>>,
    codes: Vec<Vec<u8>>,
    trial: Vec<Vec<u8>>,
    /// Products of a segment.
    part: Vec<Products>,
}

impl TurboQuant {
    /// Encodes rows that `s` holds prepared; `x` are the rows as given.
    pub(super) fn encode_fitted(
        &self,
        level: Level,
        transform: &Transform,
        x: &[f32],
        outputs: &mut Outputs<'_>,
        unit_norm: bool,
        s: &mut Scratch,
    ) -> Result<()> {
        let dim = self.dim();
        let f = &mut s.fitted;
        // The codes of a row without a center do not depend on its norm, so unit rows are only made to take one off.
        let source = if unit_norm { &s.prepared[..] } else { x };
        let centered = transform.take_center_off(source, unit_norm.then_some(&s.total[..]), &mut f.centered);
        if centered {
            prepare(level, "x", &f.centered, dim, &mut s.tops, &mut s.exponents, &mut s.prepared)?;
            row_norms(level, &s.prepared, dim, 0, dim, &mut s.total);
        }
        let n = s.total.len();
        transform.forward(level, &s.prepared, &s.total, |i, _| transform.whiten(i), &mut f.dense, &mut f.y);
        for (segment, y) in self.segments.iter().zip(&mut f.y) {
            segment.rotation.apply(level, y, &mut s.spare);
        }
        f.codes.resize_with(self.segments.len(), Vec::new);
        f.trial.resize_with(self.segments.len(), Vec::new);
        self.assign_all(level, transform, 0, n, &f.y, &mut f.codes, &mut f.part, &mut s.products);
        for trial in 1..self.segments[0].tables.len() {
            self.assign_all(level, transform, trial, n, &f.y, &mut f.trial, &mut f.part, &mut s.trial_products);
            for (row, &products) in s.trial_products.iter().enumerate() {
                if cosine(products) > cosine(s.products[row]) {
                    s.products[row] = products;
                    for (segment, (codes, trial)) in self.segments.iter().zip(f.codes.iter_mut().zip(&f.trial)) {
                        let m = segment.segment.dim;
                        codes[row * m..][..m].copy_from_slice(&trial[row * m..][..m]);
                    }
                }
            }
        }
        let stride = self.row_bytes();
        for ((segment, codes), units) in self.segments.iter().zip(&f.codes).zip(self.spec.units(&self.spec.full())) {
            units::pack(level, codes, segment.segment.dim, &units, outputs.packed, stride);
        }
        for (row, scale) in outputs.scales.iter_mut().enumerate() {
            let k = self.fitted_k(s.products[row]);
            let whole = unit_norm && !centered;
            *scale = if whole { k } else { times_power(k * s.total[row], s.exponents[row]) };
            if !whole && !(scale.is_finite() && times_power(s.total[row], s.exponents[row]).is_finite()) {
                return Err(Error::Norm { argument: "x", row, limit: "within float32" });
            }
        }
        Ok(())
    }

    /// Assigns all segments with the boundaries of one trial; the sums are weighted by σ², in the order of the segments.
    #[allow(clippy::too_many_arguments, reason = "one block's inputs and outputs")]
    fn assign_all(
        &self,
        level: Level,
        transform: &Transform,
        trial: usize,
        n: usize,
        y: &[Vec<f32>],
        codes: &mut [Vec<u8>],
        part: &mut Vec<Products>,
        sums: &mut Vec<Products>,
    ) {
        part.resize(n, Products::default());
        sums.resize(n, Products::default());
        for (i, (segment, (y, codes))) in self.segments.iter().zip(y.iter().zip(codes)).enumerate() {
            codes.resize(y.len(), 0);
            assign(level, &segment.tables[trial], y, segment.segment.dim, codes, part);
            let weight = transform.weights[i];
            for (sum, part) in sums.iter_mut().zip(part.iter()) {
                let (yc, cc) = (weight * part.yc, weight * part.cc);
                *sum = if i == 0 { Products { yc, cc } } else { Products { yc: sum.yc + yc, cc: sum.cc + cc } };
            }
        }
    }

    /// The scale of a row of norm 1; 0 where nothing of it lies along the axes.
    fn fitted_k(&self, Products { yc, cc }: Products) -> f32 {
        match self.spec.scale {
            _ if yc == 0.0 => 0.0,
            Scale::Unbiased => 1.0 / yc,
            Scale::Mse => yc / cc,
            Scale::Matched | Scale::Paper => 1.0 / cc.sqrt(),
        }
    }
}
