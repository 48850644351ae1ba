//! Encoding: docs/numerics.md sections 2 to 8, a block of rows at a time.

use super::encode_fitted::FittedScratch;
use super::{Scale, SegmentCodec, TurboQuant};
use crate::codes::Codes;
use crate::error::{Error, Result};
use crate::kernels::Level;
use crate::kernels::assign::{Products, Rotated, assign, assign_packed};
use crate::kernels::lines::Lines;
use crate::kernels::prefetch::prefetch;
use crate::kernels::rows::{self, ZERO_ROW};
use crate::kernels::units::{Place, pack};
use crate::parallel::Exec;

/// With metric "l2" norms must be below this, so that their squares are finite.
pub(crate) const L2_NORM_LIMIT: f32 = 9_223_372_036_854_775_808.0;

/// What [`TurboQuant::encode_into`] writes besides codes.
#[derive(Debug, Default)]
pub struct EncodeOptions<'a> {
    /// Leave the norm out of the scales, so that codes stand for x/|x| (the cosine metric).
    pub unit_norm: bool,
    /// Where to write |x|² of every row, if wanted (the l2 metric); norms must then be below 2^63.
    pub squares: Option<&'a mut [f32]>,
    /// Where to tell of every row whether a fitted codec codes it worse than its [`plain`](TurboQuant::plain) codec promises of any row,
    /// if wanted: an index keeps such rows as plain codes. False from a codec without a plain one.
    pub badly: Option<&'a mut [bool]>,
}

/// A run of rows with its outputs.
struct Task<'a> {
    first_row: usize,
    x: &'a [f32],
    packed: &'a mut [u8],
    scales: &'a mut [f32],
    squares: Option<&'a mut [f32]>,
    badly: Option<&'a mut [bool]>,
}

/// Where a block's results go; as many rows as its input.
pub(super) struct Outputs<'a> {
    pub(super) packed: &'a mut [u8],
    pub(super) scales: &'a mut [f32],
    squares: Option<&'a mut [f32]>,
    pub(super) badly: Option<&'a mut [bool]>,
}

/// Buffers of a task, reused from block to block.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) tops: Vec<u32>,
    pub(super) exponents: Vec<i32>,
    pub(super) prepared: Lines,
    /// Norms of the whole rows, and of the segment in hand, without their powers of two.
    pub(super) total: Vec<f32>,
    norms: Vec<f32>,
    /// √dim of the segment over the norm.
    gains: Vec<f32>,
    y: Lines,
    pub(super) spare: Vec<f32>,
    /// Where the units of each segment stand.
    places: Vec<Vec<Place>>,
    codes: Vec<u8>,
    trial: Vec<u8>,
    pub(super) products: Vec<Products>,
    pub(super) trial_products: Vec<Products>,
    pub(super) fitted: FittedScratch,
}

impl TurboQuant {
    /// Encodes rows of `dim` values.
    ///
    /// # Errors
    /// [`Error::Argument`] if `x` is not whole rows, [`Error::NonFinite`] for NaN or ±inf, [`Error::Norm`] if a norm is
    /// beyond float32.
    pub fn encode(&self, x: &[f32]) -> Result<Codes> {
        let n = self.rows_of("x", x)?;
        let mut packed = vec![0; n * self.row_bytes()];
        let mut scales = vec![0.0; n * self.spec.norms()];
        self.encode_into(x, &mut packed, &mut scales, EncodeOptions::default(), Exec::default())?;
        Codes::new(self.spec.clone(), self.spec.full(), packed, scales)
    }

    /// Encodes into the caller's buffers: `packed` holds n·[`row_bytes`](Self::row_bytes) bytes, `scales` n·norms values.
    ///
    /// # Errors
    /// As for [`encode`](Self::encode), and [`Error::Argument`] if a buffer has another length. After an error the buffers'
    /// contents are unspecified. Of several faulty rows the first one is named.
    pub fn encode_into(
        &self,
        x: &[f32],
        packed: &mut [u8],
        scales: &mut [f32],
        options: EncodeOptions<'_>,
        exec: Exec,
    ) -> Result<()> {
        let (n, dim, bytes, norms) = (self.rows_of("x", x)?, self.dim(), self.row_bytes(), self.spec.norms());
        let lengths = [
            ("packed", packed.len(), n * bytes),
            ("scales", scales.len(), n * norms),
            ("squares", options.squares.as_ref().map_or(n, |s| s.len()), n),
            ("badly", options.badly.as_ref().map_or(n, |s| s.len()), n),
        ];
        for (argument, got, expected) in lengths {
            if got != expected {
                return Err(Error::argument(argument, format!("{expected} long for {n} rows"), got));
            }
        }
        let level = exec.level()?;
        let rows = exec.rows_per_task(n, Exec::TASK_ROWS);
        let mut squares = options.squares.map(|s| s.chunks_mut(rows));
        let mut badly = options.badly.map(|s| s.chunks_mut(rows));
        let chunks = x.chunks(rows * dim).zip(packed.chunks_mut(rows * bytes)).zip(scales.chunks_mut(rows * norms));
        let tasks = chunks.enumerate().map(|(i, ((x, packed), scales))| {
            let squares = squares.as_mut().and_then(Iterator::next);
            let badly = badly.as_mut().and_then(Iterator::next);
            Task { first_row: i * rows, x, packed, scales, squares, badly }
        });
        exec.try_for_each(tasks.collect(), |task| self.encode_task(level, task, options.unit_norm))
    }

    fn encode_task(&self, level: Level, task: Task<'_>, unit_norm: bool) -> Result<()> {
        let (dim, bytes, norms) = (self.dim(), self.row_bytes(), self.spec.norms());
        let rows = self.rows_per_block();
        let units = self.spec.units(&self.spec.full()).into_iter();
        let places = units.map(|units| units.into_iter().map(|unit| unit.place(bytes)).collect()).collect();
        let mut scratch = Scratch { places, ..Scratch::default() };
        let Task { first_row, x, packed, scales, squares, badly } = task;
        let mut squares = squares.map(|s| s.chunks_mut(rows));
        let mut badly = badly.map(|s| s.chunks_mut(rows));
        let blocks = x.chunks(rows * dim).zip(packed.chunks_mut(rows * bytes)).zip(scales.chunks_mut(rows * norms));
        for (i, ((block, packed), scales)) in blocks.enumerate() {
            // Before a block is worked on the next one is asked for: rows come from memory while others are encoded.
            prefetch(x.get((i + 1) * rows * dim..).map_or(&[], |next| &next[..next.len().min(rows * dim)]));
            let mut squares = squares.as_mut().and_then(Iterator::next);
            let mut badly = badly.as_mut().and_then(Iterator::next);
            let mut encode = |x: &[f32]| {
                let n = x.len() / dim;
                let outputs = Outputs {
                    packed: &mut packed[..n * bytes],
                    scales: &mut scales[..n * norms],
                    squares: squares.as_mut().map(|squares| &mut squares[..n]),
                    badly: badly.as_mut().map(|badly| &mut badly[..n]),
                };
                self.encode_block(level, x, outputs, unit_norm, &mut scratch)
            };
            Error::of_first_row(block, dim, &mut encode).map_err(|error| error.with_first_row(first_row + i * rows))?;
        }
        Ok(())
    }

    fn encode_block(
        &self,
        level: Level,
        x: &[f32],
        outputs: Outputs<'_>,
        unit_norm: bool,
        s: &mut Scratch,
    ) -> Result<()> {
        let (dim, norms) = (self.dim(), self.spec.norms());
        let mut outputs = outputs;
        prepare(level, "x", x, dim, &mut s.tops, &mut s.exponents, s.prepared.of(x.len()), &mut s.total)?;
        for (row, (&total, &exponent)) in s.total.iter().zip(&s.exponents).enumerate() {
            let norm = times_power(total, exponent);
            if !unit_norm && !norm.is_finite() {
                return Err(Error::Norm { argument: "x", row, limit: "within float32" });
            }
            if outputs.squares.is_some() && norm >= L2_NORM_LIMIT {
                return Err(Error::Norm { argument: "x", row, limit: "below 2^63 for squared L2 distances" });
            }
        }
        if let Some(squares) = &mut outputs.squares {
            for (square, (&total, &exponent)) in squares.iter_mut().zip(s.total.iter().zip(&s.exponents)) {
                let norm = times_power(total, exponent);
                *square = flush(norm * norm);
            }
        }
        if let Some(transform) = &self.transform {
            return self.encode_fitted(level, transform, x, &mut outputs, unit_norm, s);
        }
        if let Some(outliers) = &self.spec.outliers {
            outliers.gather(s.prepared.values(), &mut s.spare);
            s.prepared.of(x.len()).copy_from_slice(&s.spare);
        }
        let Outputs { packed, scales, badly, .. } = outputs;
        if let Some(badly) = badly {
            badly.fill(false);
        }
        for (i, segment) in self.segments.iter().enumerate() {
            segment.encode_block(level, dim, i, packed, s);
            for (row, scales) in scales.chunks_exact_mut(norms).enumerate() {
                let k = if s.norms[row] == 0.0 { 0.0 } else { segment.k(self.spec.scale, s.products[row]) };
                let scale = if unit_norm {
                    // The segment's share of the norm: exactly 1 for the only segment.
                    k * (s.norms[row] / if s.total[row] == 0.0 { 1.0 } else { s.total[row] })
                } else {
                    times_power(k * s.norms[row], s.exponents[row])
                };
                if !scale.is_finite() {
                    return Err(Error::Norm { argument: "x", row, limit: "within float32" });
                }
                scales[i] = scale;
            }
        }
        Ok(())
    }
}

impl SegmentCodec {
    /// Rotates, assigns and packs segment `i` of the prepared rows: fills `products` and `norms` of the scratch.
    fn encode_block(&self, level: Level, dim: usize, i: usize, packed: &mut [u8], s: &mut Scratch) {
        let (m, start, places) = (self.segment.dim, self.segment.start, &s.places[i]);
        let n = s.total.len();
        let y = if m == dim {
            s.norms.clone_from(&s.total);
            // The only segment: nobody needs the prepared rows again.
            s.prepared.of(n * m)
        } else {
            row_norms(level, s.prepared.values(), dim, start, m, &mut s.norms);
            let y = s.y.of(n * m);
            let rows = s.prepared.values().chunks_exact(dim).zip(y.chunks_exact_mut(m));
            rows.for_each(|(row, y)| y.copy_from_slice(&row[start..start + m]));
            y
        };
        self.rotation.apply(level, y, &mut s.spare);
        s.gains.clear();
        s.gains.extend(s.norms.iter().map(|&norm| self.root / if norm == 0.0 { 1.0 } else { norm }));
        s.products.resize(n, Products::default());
        if let [table] = &self.tables[..] {
            let rows = Rotated { y, m, gains: &s.gains };
            return assign_packed(level, table, rows, places, packed, &mut s.codes, &mut s.products);
        }
        rows::multiply(level, y, m, &s.gains);
        s.codes.resize(n * m, 0);
        s.trial.resize(n * m, 0);
        s.trial_products.resize(n, Products::default());
        assign(level, &self.tables[0], y, m, &mut s.codes, &mut s.products);
        for table in &self.tables[1..] {
            assign(level, table, y, m, &mut s.trial, &mut s.trial_products);
            for (row, &products) in s.trial_products.iter().enumerate() {
                if cosine(products) > cosine(s.products[row]) {
                    s.products[row] = products;
                    s.codes[row * m..][..m].copy_from_slice(&s.trial[row * m..][..m]);
                }
            }
        }
        places.iter().for_each(|&place| pack(level, &s.codes, m, place, packed));
    }

    /// The scale of a row of norm 1.
    fn k(&self, scale: Scale, Products { yc, cc }: Products) -> f32 {
        match scale {
            Scale::Unbiased => self.root / yc,
            Scale::Mse => yc / (self.root * cc),
            Scale::Matched => 1.0 / cc.sqrt(),
            Scale::Paper => 1.0 / self.root,
        }
    }
}

/// √dim times the cosine of row and code, the quantity a trial maximises.
pub(super) fn cosine(products: Products) -> f32 {
    products.yc / products.cc.sqrt()
}

/// Section 2: checks values, takes the leading power of two out of every row, whose norms are without it, too; `prepared` is as long as `x`.
#[allow(clippy::too_many_arguments, reason = "rows and what becomes of them")]
pub(crate) fn prepare(
    level: Level,
    argument: &'static str,
    x: &[f32],
    dim: usize,
    tops: &mut Vec<u32>,
    exponents: &mut Vec<i32>,
    prepared: &mut [f32],
    norms: &mut Vec<f32>,
) -> Result<()> {
    let n = x.len() / dim;
    tops.resize(n, 0);
    rows::top_magnitudes(level, x, dim, tops);
    if let Some(row) = tops.iter().position(|&top| top >= 0x7F80_0000) {
        let values = &x[row * dim..][..dim];
        let column = values.iter().position(|v| !v.is_finite()).expect("the row holds a value that is not finite");
        return Err(Error::NonFinite { argument, row, column, value: values[column].to_string() });
    }
    exponents.clear();
    exponents.extend(tops.iter().map(|&top| if top < 0x0080_0000 { ZERO_ROW } else { (top >> 23) as i32 - 127 }));
    norms.resize(n, 0.0);
    rows::scale_down(level, x, dim, exponents, prepared, norms);
    norms.iter_mut().for_each(|norm| *norm = norm.sqrt());
    for exponent in exponents {
        if *exponent == ZERO_ROW {
            *exponent = 0;
        }
    }
    Ok(())
}

/// Norms of coordinates `start .. start + m` of prepared rows, without their powers of two.
pub(crate) fn row_norms(level: Level, prepared: &[f32], dim: usize, start: usize, m: usize, norms: &mut Vec<f32>) {
    norms.resize(prepared.len() / dim, 0.0);
    rows::square_sums(level, prepared, dim, start, m, norms);
    norms.iter_mut().for_each(|norm| *norm = norm.sqrt());
}

/// value·2^exponent; a result below 2^−126 is 0. May be infinite.
pub(crate) fn times_power(value: f32, exponent: i32) -> f32 {
    // In float64 the product is exact (24 bits, exponents within ±300), so the conversion rounds once.
    flush((f64::from(value) * f64::from_bits(((i64::from(exponent) + 1023) as u64) << 52)) as f32)
}

/// Smaller magnitudes than the smallest normal float32 become 0, so that flush-to-zero modes change nothing.
pub(crate) fn flush(value: f32) -> f32 {
    if value.abs() < f32::MIN_POSITIVE { 0.0 } else { value }
}
