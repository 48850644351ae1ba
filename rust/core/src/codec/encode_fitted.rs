//! Encoding by a fitted codec: docs/numerics.md section 11, a block of rows at a time.

use std::cmp::Ordering::{Equal, Less};

use super::encode::{Outputs, Scratch, cosine};
use super::transform::{DenseScratch, Transform};
use super::{CodecSpec, Options, Scale, TurboQuant, prepare, times_power};
use crate::error::{Error, Result};
use crate::kernels::Level;
use crate::kernels::assign::{Products, assign};
use crate::kernels::rows;
use crate::units;

/// The plain codec's error |x − x̂|²/|x|² of least squares, by bits: equation 4's distortion of a Gaussian coordinate.
const PLAIN_ERRORS: [f32; 8] =
    [0.36338, 0.117_482, 0.034_547_8, 0.009_501, 0.002_504_67, 0.000_644_24, 0.000_163_478, 4.118_51e-5];

/// What a block needs beside the buffers of a plain codec.
#[derive(Debug, Default)]
pub(super) struct FittedScratch {
    dense: DenseScratch,
    centered: Vec<f32>,
    /// Whitened, rotated coordinates and codes of each segment, all rows one after another.
    y: Vec<Vec<f32>>,
    codes: Vec<Vec<u8>>,
    trial: Vec<Vec<u8>>,
    /// Products of each segment.
    parts: Vec<Vec<Products>>,
    /// Norms without the center, relative to those with it.
    ratios: Vec<f32>,
    /// T(y²) of a segment, and the weighted sum of all: the energy along the axes.
    squares: Vec<f32>,
    energy: Vec<f32>,
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
        let source = if unit_norm { s.prepared.values() } else { x };
        let centered = transform.take_center_off(source, unit_norm.then_some(&s.total[..]), &mut f.centered);
        f.ratios.clear();
        f.ratios.resize(s.total.len(), 1.0);
        if centered {
            let before: Vec<_> = s.total.iter().copied().zip(s.exponents.iter().copied()).collect();
            prepare(level, "x", &f.centered, dim, &mut s.tops, &mut s.exponents, s.prepared.of(x.len()), &mut s.total)?;
            let after = s.total.iter().zip(&s.exponents);
            for (ratio, ((&norm, &exponent), (whole, power))) in f.ratios.iter_mut().zip(after.zip(before)) {
                *ratio =
                    if unit_norm { times_power(norm, exponent) } else { times_power(norm / whole, exponent - power) };
            }
        }
        let n = s.total.len();
        transform.whitened(level, s.prepared.values(), &s.total, &mut f.dense, &mut f.y);
        f.energy.clear();
        f.energy.resize(n, 0.0);
        f.squares.resize(n, 0.0);
        for (i, (segment, y)) in self.segments.iter().zip(&mut f.y).enumerate() {
            segment.rotation.apply(level, y, &mut s.spare);
            rows::square_sums(level, y, segment.segment.dim, 0, segment.segment.dim, &mut f.squares);
            let weight = transform.weights[i];
            // 0 + the first term is that term: none is −0.
            f.energy.iter_mut().zip(&f.squares).for_each(|(energy, square)| *energy += weight * square);
        }
        f.codes.resize_with(self.segments.len(), Vec::new);
        f.trial.resize_with(self.segments.len(), Vec::new);
        self.assign_all(level, transform, 0, n, &f.y, &mut f.codes, &mut f.parts, &mut s.products);
        for trial in 1..self.segments[0].tables.len() {
            self.assign_all(level, transform, trial, n, &f.y, &mut f.trial, &mut f.parts, &mut s.trial_products);
            for (row, &products) in s.trial_products.iter().enumerate() {
                if cosine(products) > cosine(s.products[row]) {
                    s.products[row] = products;
                    for (segment, (codes, trial)) in self.segments.iter().zip(f.codes.iter_mut().zip(&f.trial)) {
                        let m = segment.segment.dim;
                        if segment.segment.bits == 1 {
                            continue;
                        }
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
            let k = self.fitted_k(s.products[row], f.energy[row]);
            let whole = unit_norm && !centered;
            *scale = if whole { k } else { times_power(k * s.total[row], s.exponents[row]) };
            let norm = if whole { 0.0 } else { times_power(s.total[row], s.exponents[row]) };
            if !scale.is_finite() || !norm.is_finite() {
                return Err(Error::Norm { argument: "x", row, limit: "within float32" });
            }
        }
        if let (Some(badly), Some(bits)) = (&mut outputs.badly, self.plain_bits()) {
            for ((badly, products), ratio) in badly.iter_mut().zip(&s.products).zip(&f.ratios) {
                let error = (1.0 - (products.yc * products.yc) / products.cc) * (ratio * ratio);
                // Not a number where a row is nothing but its center: coded badly.
                *badly = !matches!(error.partial_cmp(&PLAIN_ERRORS[bits as usize - 1]), Some(Less | Equal));
            }
        } else if let Some(badly) = &mut outputs.badly {
            badly.fill(false);
        }
        Ok(())
    }

    /// The codec of rows that a fitted codec codes badly, since they are unlike its sample: of the next lower whole number of bits, with
    /// the same choices. None of a plain codec, below one bit, and of one that was fitted to queries.
    #[must_use]
    pub fn plain(&self) -> Option<TurboQuant> {
        let CodecSpec { seed, rotation, scale, refine, .. } = self.spec;
        let options = Options { seed, rotation, scale, refine };
        Some(
            TurboQuant::new(self.dim(), self.plain_bits()?, options)
                .expect("a fitted codec's choices are a plain one's"),
        )
    }

    fn plain_bits(&self) -> Option<u32> {
        let fitted = self.transform.as_ref().filter(|transform| transform.fitted.dual().is_none());
        let bits = self.spec.segments.iter().map(|s| s.dim * s.bits as usize).sum::<usize>() / self.dim();
        fitted.and(Some(bits as u32)).filter(|&bits| bits > 0)
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
        parts: &mut Vec<Vec<Products>>,
        sums: &mut Vec<Products>,
    ) {
        parts.resize_with(self.segments.len(), Vec::new);
        sums.resize(n, Products::default());
        for (i, (segment, (y, codes))) in self.segments.iter().zip(y.iter().zip(codes)).enumerate() {
            let part = &mut parts[i];
            // No scale moves the only boundary of one bit, which is 0: its codes and products are those of before.
            if trial == 0 || segment.segment.bits > 1 {
                codes.resize(y.len(), 0);
                part.resize(n, Products::default());
                assign(level, &segment.tables[trial], y, segment.segment.dim, codes, part);
            }
            let weight = transform.weights[i];
            for (sum, part) in sums.iter_mut().zip(part.iter()) {
                let (yc, cc) = (weight * part.yc, weight * part.cc);
                *sum = if i == 0 { Products { yc, cc } } else { Products { yc: sum.yc + yc, cc: sum.cc + cc } };
            }
        }
    }

    /// The scale of a row of norm 1, whose energy along the axes is `yy`; 0 where it has none.
    fn fitted_k(&self, Products { yc, cc }: Products, yy: f32) -> f32 {
        match self.spec.scale {
            _ if yc == 0.0 || yy == 0.0 => 0.0,
            Scale::Unbiased => yy / yc,
            Scale::Mse => yc / cc,
            Scale::Matched | Scale::Paper => (yy / cc).sqrt(),
        }
    }
}
