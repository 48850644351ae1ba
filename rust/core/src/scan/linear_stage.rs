//! The first stage of a fitted code: its first units as a linear function of their bits (docs/numerics.md section 12).
//!
//! A unit's bits are worth ± a constant each, so a query's estimate is a sum over bits like that of a sign plane.

use std::collections::HashMap;
use std::rc::Rc;

use crate::codebook::{levels, masses};
use crate::codec::{Segment, TurboQuant};
use crate::kernels::Level;
use crate::kernels::rows::square_sums;
use crate::units::{Unit, unpack};

/// The k-th best of many scores is about `NEAR` of their deviations above the mean (ten of 100,000). The stage is the shortest for which a
/// row survives only if the sum over its bits, raised by `RAISED` deviations of its error, reaches `RARE`.
const NEAR: f64 = 3.75;
const RARE: f64 = 2.7;
const RAISED: f64 = 3.0;
/// Integer levels of a row's bounds in one unit of a coordinate, and units of a bound in 1.
const FINE: f64 = 4096.0;
pub(super) const BOUND: f64 = 8192.0;
/// Least expected residual of a coordinate, far below any.
pub(super) const LEAST: f64 = 1.0 / (1_u64 << 40) as f64;

/// The first stage of a fitted codec.
#[derive(Debug)]
pub(super) struct LinearStage {
    /// Bytes of a row.
    pub(super) size: usize,
    /// Segment of each of its units, and what a bit is worth there.
    units: Vec<(usize, f32)>,
    segments: Vec<SegmentStage>,
    /// Σ share · coordinates · residual.
    total: f64,
    /// What the rounding of entries adds to the squared residual, in squared units of an entry.
    rounding: f32,
}

#[derive(Debug)]
struct SegmentStage {
    segment: Segment,
    /// The units of the whole code.
    units: Vec<Unit>,
    weight: f64,
    /// How a squared residual counts: the squared deviation of queries like rows.
    share: f64,
    /// What is expected of the squared residual of a coordinate.
    residual: f64,
    /// By code: squares of its integer level, its product with the stage's value, squares of that.
    products: Box<[[i64; 4]; 256]>,
}

impl LinearStage {
    /// The first stage of a fitted codec; none if its codes are a single unit, and of plain codecs.
    pub(super) fn new(codec: &TurboQuant) -> Option<Self> {
        let (spec, transform) = (codec.spec(), codec.transform.as_ref()?);
        let order = spec.fitted.as_ref()?.order();
        let (_, before_last) = order.split_last()?;
        let segments = codec.segments.iter().zip(transform.weights());
        let segments: Vec<_> = segments.map(|(s, &weight)| (s.segment, s.table_dim, f64::from(weight))).collect();
        let (mut size, mut order_of_units) = (0, Vec::new());
        let mut known = HashMap::new();
        let mut worth = |(segment, table_dim, _): (Segment, usize, f64), keep| -> Rc<Worth> {
            let made = || Rc::new(Worth::new(segment.bits, keep, table_dim));
            Rc::clone(known.entry((segment.bits, keep)).or_insert_with(made))
        };
        let mut worths: Vec<_> = segments.iter().map(|&segment| worth(segment, 0)).collect();
        let mut expected = None;
        for &i in before_last {
            let i = usize::from(i);
            let kept = worths[i].values.len();
            order_of_units.push((i, kept));
            worths[i] = worth(segments[i], kept as u32 + 1);
            size += segments[i].0.dim.div_ceil(8);
            let now = Expected::new(segments.iter().zip(&worths).map(|(s, worth)| (s.0.dim, s.2, worth.products)));
            let enough = now.leaves_few();
            expected = Some(now);
            if enough {
                break;
            }
        }
        let Expected { ratio, residuals, total, .. } = expected?;
        let mut stages = Vec::new();
        let units_of = spec.units(&spec.full());
        for (i, ((segment, table_dim, weight), units)) in segments.into_iter().zip(units_of).enumerate() {
            let products = integer_products(segment.bits, table_dim, &worths[i].values);
            let (share, residual) = (weight * weight, residuals[i]);
            stages.push(SegmentStage { segment, units, weight, share, residual, products });
        }
        let units = order_of_units.into_iter().map(|(i, bit)| (i, worths[i].values[bit])).collect();
        // Errors of 2·size entries, uniform in ±½, times the expected ratio.
        let rounding = ((ratio * ratio) * ((2 * size) as f64 / 12.0)) as f32;
        Some(Self { size, units, segments: stages, total, rounding })
    }

    /// The bounds of packed rows: the ratio that makes the residual orthogonal to the code along the axes, and the residual's length
    /// relative to the expected one, segments counted as queries like rows see them. Sums of integers are below 2^53.
    pub(super) fn bounds(&self, level: Level, packed: &[u8], stride: usize) -> Vec<u32> {
        let rows = packed.len() / stride;
        let (mut sums, mut codes) = (vec![[0_i64; 4]; rows * self.segments.len()], Vec::new());
        for (i, SegmentStage { segment, units, products, .. }) in self.segments.iter().enumerate() {
            codes.resize(rows * segment.dim, 0);
            unpack(level, packed, segment.dim, units, stride, &mut codes);
            for (row, codes) in codes.chunks_exact(segment.dim).enumerate() {
                let mut sum = [0; 4];
                for &code in codes {
                    sum.iter_mut().zip(products[usize::from(code)]).for_each(|(sum, product)| *sum += product);
                }
                sums[row * self.segments.len() + i] = sum;
            }
        }
        let expected = self.total * (FINE * FINE);
        let bounds = sums.chunks_exact(self.segments.len()).map(|sums| {
            let sums = || self.segments.iter().zip(sums.iter().map(|sums| sums.map(|sum| sum as f64)));
            let (mut top, mut bottom) = (0.0, 0.0);
            for (segment, [square, product, ..]) in sums() {
                top += segment.weight * square;
                bottom += segment.weight * product;
            }
            let largest = f64::from(u16::MAX);
            let ratio = if bottom <= 0.0 { 0.0 } else { (BOUND * top / bottom).round_ties_even().min(largest) };
            let t = ratio / BOUND;
            let (mut squares, mut products, mut others) = (0.0, 0.0, 0.0);
            for (segment, [square, product, other, _]) in sums() {
                squares += segment.share * square;
                products += segment.share * product;
                others += segment.share * other;
            }
            // No level is 0, and so is no sum of squares. A ratio that had to be held within its bytes leaves a shared part.
            let part = if ratio > 0.0 && ratio < largest { (t * products) / squares } else { 1.0 };
            let residual: f64 = ((part * part) * squares - ((2.0 * part) * t) * products) + (t * t) * others;
            let spread = (BOUND * (residual.max(0.0) / expected).sqrt()).ceil().min(largest);
            ratio as u32 | (spread as u32) << 16
        });
        bounds.collect()
    }

    /// Writes what every bit of the stage is worth to query `row`, whose coordinates of each segment `parts` holds.
    pub(super) fn worths(&self, parts: &[Vec<f32>], row: usize, out: &mut Vec<f32>) {
        out.clear();
        for &(i, value) in &self.units {
            let m = self.segments[i].segment.dim;
            out.extend(parts[i][row * m..][..m].iter().map(|&coordinate| coordinate * value));
            out.resize(out.len().next_multiple_of(8), 0.0);
        }
    }

    /// One standard deviation of the error of a row of spread 1 for query `row`; a unit of an entry is worth `entry`.
    pub(super) fn deviation(&self, level: Level, parts: &[Vec<f32>], row: usize, entry: f32) -> f32 {
        let parts = self.segments.iter().zip(parts);
        let parts = parts.map(|(stage, part)| (stage, &part[row * stage.segment.dim..][..stage.segment.dim]));
        let values = parts.clone().flat_map(|(_, part)| part);
        let largest = values.fold(0.0_f32, |largest, value| largest.max(value.abs()));
        // Divided by the largest magnitude, so that no square is subnormal in a sum that it could change.
        let safe = if largest == 0.0 { 1.0 } else { largest };
        let relative = entry / safe;
        let mut squares = self.rounding * (relative * relative);
        let mut unit = Vec::new();
        for (stage, part) in parts {
            unit.clear();
            unit.extend(part.iter().map(|value| value / safe));
            let mut sum = [0.0];
            square_sums(level, &unit, unit.len(), 0, unit.len(), &mut sum);
            let length = sum[0].sqrt();
            squares += stage.residual as f32 * (length * length);
        }
        largest * squares.sqrt()
    }
}

/// What a stage is expected to leave, by the masses of codes.
struct Expected {
    ratio: f64,
    /// Of a coordinate's squared residual, for each segment.
    residuals: Vec<f64>,
    /// Σ share · coordinates · residual, and the same of squared levels.
    total: f64,
    squares: f64,
}

impl Expected {
    /// Of segments of so many coordinates, weights and means of products.
    fn new(segments: impl Iterator<Item = (usize, f64, [f64; 3])> + Clone) -> Self {
        let (mut top, mut bottom, mut squares, mut products) = (0.0, 0.0, 0.0, 0.0);
        for (dim, weight, [a, b, _]) in segments.clone() {
            let (weighted, shared) = (weight * dim as f64, (weight * weight) * dim as f64);
            top += weighted * a;
            bottom += weighted * b;
            squares += shared * a;
            products += shared * b;
        }
        let ratio: f64 = top / bottom;
        let part = (ratio * products) / squares;
        let residual = |[a, b, c]: [f64; 3]| ((part * part) * a - ((2.0 * part) * ratio) * b) + (ratio * ratio) * c;
        let mut total = 0.0;
        let residuals = segments.map(|(dim, weight, products)| {
            let residual = residual(products).max(LEAST);
            total += ((weight * weight) * dim as f64) * residual;
            residual
        });
        let residuals = residuals.collect();
        Self { ratio, residuals, total, squares }
    }

    /// Whether few rows survive: the ratio raises the estimate of every row, so that of a near one is not too low.
    fn leaves_few(&self) -> bool {
        NEAR / self.ratio - RAISED * (self.total / self.squares).sqrt() >= RARE
    }
}

/// What the top bits of a code are worth.
struct Worth {
    /// Of each, most significant first.
    values: Vec<f32>,
    /// Means of a coordinate's squared level, its product with the stage's value, and that squared.
    products: [f64; 3],
}

impl Worth {
    fn new(bits: u32, keep: u32, table_dim: usize) -> Self {
        let values = bit_values(bits, keep, table_dim);
        let products = expectations(bits, table_dim, &values);
        Self { values, products }
    }
}

/// What the top `keep` bits of a code are worth, most significant first: the sum of ± them that is nearest to the levels.
fn bit_values(bits: u32, keep: u32, table_dim: usize) -> Vec<f32> {
    let (levels, masses) = (levels(bits, bits, table_dim), masses(bits, bits, table_dim));
    let n = keep as usize;
    let (mut a, mut r) = ([[0.0; 8]; 8], [0.0; 8]);
    for (code, (&level, mass)) in levels.iter().zip(masses).enumerate() {
        let sign = |i: usize| if code >> (bits as usize - 1 - i) & 1 == 1 { 1.0 } else { -1.0 };
        for i in 0..n {
            (0..n).for_each(|j| a[i][j] += mass * (sign(i) * sign(j)));
            r[i] += mass * (sign(i) * f64::from(level));
        }
    }
    // Gaussian elimination; a positive definite matrix needs no pivots.
    for i in 0..n {
        for row in i + 1..n {
            let factor = a[row][i] / a[i][i];
            (i + 1..n).for_each(|j| a[row][j] -= factor * a[i][j]);
            r[row] -= factor * r[i];
        }
    }
    for i in (0..n).rev() {
        (i + 1..n).for_each(|j| r[i] -= a[i][j] * r[j]);
        r[i] /= a[i][i];
    }
    r[..n].iter().map(|&value| value as f32).collect()
}

/// For every code the sum of ± `values`, + where the bit is 1.
fn sums_of(bits: u32, values: &[f64]) -> impl Iterator<Item = f64> {
    (0..1_u32 << bits).map(move |code| {
        let mut total = 0.0;
        for (i, value) in (0..bits).zip(values) {
            total += if code >> (bits - 1 - i) & 1 == 1 { *value } else { -value };
        }
        total
    })
}

/// Means of a coordinate's squared level, its product with the stage's value, and that squared.
fn expectations(bits: u32, table_dim: usize, values: &[f32]) -> [f64; 3] {
    let values: Vec<_> = values.iter().map(|&value| f64::from(value)).collect();
    let (levels, masses) = (levels(bits, bits, table_dim), masses(bits, bits, table_dim));
    let (mut squares, mut products, mut others) = (0.0, 0.0, 0.0);
    for ((c, mass), t) in levels.iter().map(|&level| f64::from(level)).zip(masses).zip(sums_of(bits, &values)) {
        squares += mass * (c * c);
        products += mass * (c * t);
        others += mass * (t * t);
    }
    [squares, products, others]
}

/// The same of every code, of levels and values rounded to integers.
fn integer_products(bits: u32, table_dim: usize, values: &[f32]) -> Box<[[i64; 4]; 256]> {
    let rounded = |value: f32| (f64::from(value) * FINE).round_ties_even();
    let values: Vec<_> = values.iter().map(|&value| rounded(value)).collect();
    let mut products = Box::new([[0; 4]; 256]);
    for ((out, c), t) in products.iter_mut().zip(levels(bits, bits, table_dim)).zip(sums_of(bits, &values)) {
        let (c, t) = (rounded(c) as i64, t as i64);
        *out = [c * c, c * t, t * t, 0];
    }
    products
}
