//! The sketch: signs of a projection, and what a query makes of them (docs/numerics-papers.md section 4).

use crate::codebook::{TWO_BYTES, halves};
use crate::codec::times_power;
use crate::kernels::Level;
use crate::kernels::product::{Panel, Queries, TILE, group_size, level_for, products};
use crate::kernels::rows::round_scaled;
use crate::kernels::units::{self, Place};
use crate::projection::{Projection, ProjectionKind};

/// Signs of the projections of rows.
#[derive(Debug, Clone)]
pub(super) struct Sketch {
    size: usize,
    constant: f32,
    projection: Projection,
}

/// Rows of a panel.
const PANEL_ROWS: usize = 64;

/// Projected queries as two-byte integers, high and low bytes.
#[derive(Debug)]
pub struct SketchQueries {
    high: Queries,
    low: Queries,
    /// What one unit of the integer product is worth, F of docs/numerics-papers.md, one a query.
    factors: Vec<f32>,
}

impl Sketch {
    pub(super) fn new(kind: ProjectionKind, dim: usize, size: usize, seed: u64) -> Self {
        let (constant, projection) = (kind.sign_constant(dim, size), Projection::new(kind, dim, size, seed));
        Self { size, constant, projection }
    }

    pub(super) fn nbytes(&self) -> usize {
        self.projection.nbytes()
    }

    pub(super) fn matrix(&self) -> Option<(Vec<i16>, f32)> {
        self.projection.matrix()
    }

    fn place(&self, offset: usize, stride: usize) -> Place {
        Place { width: 1, shift: 0, offset, stride }
    }

    /// Writes the signs of rows with L2 norms `norms` to `packed` rows of `stride` bytes, from byte `offset`.
    pub(super) fn encode(
        &self,
        level: Level,
        rows: &[f32],
        norms: &[f32],
        packed: &mut [u8],
        stride: usize,
        offset: usize,
    ) {
        let projected = self.projection.apply(level, rows, norms);
        let signs: Vec<u8> = projected.iter().map(|&value| u8::from(value > 0.0)).collect();
        units::pack(level, &signs, self.size, self.place(offset, stride), packed);
    }

    /// The signs, 0 and 1, of `packed` rows.
    fn signs(&self, level: Level, packed: &[u8], stride: usize, offset: usize) -> Vec<u8> {
        let mut signs = vec![0; packed.len() / stride * self.size];
        units::unpack(level, packed, self.size, self.place(offset, stride), &mut signs);
        signs
    }

    /// (length·constant) · Σ_j ±direction_j of every row.
    pub(super) fn decode(
        &self,
        level: Level,
        packed: &[u8],
        stride: usize,
        offset: usize,
        lengths: impl Iterator<Item = f32>,
        dim: usize,
    ) -> Vec<f32> {
        let mut out = self.projection.transposed(level, &self.signs(level, packed, stride, offset));
        for (row, length) in out.chunks_exact_mut(dim).zip(lengths) {
            let factor = length * self.constant;
            row.iter_mut().for_each(|value| *value *= factor);
        }
        out
    }

    /// Makes prepared queries ready: `rows` with their norms and powers of two.
    pub(super) fn queries(&self, level: Level, rows: &[f32], norms: &[f32], exponents: &[i32]) -> SketchQueries {
        let batch = level_for(level, norms.len());
        let (mut high, mut low) = (Queries::new(batch, self.size), Queries::new(batch, self.size));
        let mut factors = Vec::with_capacity(norms.len());
        let projected = self.projection.apply(level, rows, norms);
        let mut integers = vec![0; self.size];
        for (row, &exponent) in projected.chunks_exact(self.size).zip(exponents) {
            let top = row.iter().fold(0.0_f32, |top, value| top.max(value.abs()));
            round_scaled(level, row, TWO_BYTES / if top == 0.0 { 1.0 } else { top }, TWO_BYTES, &mut integers);
            let (highs, lows): (Vec<_>, Vec<_>) = integers.iter().map(|&value| halves(value)).unzip();
            high.push(&highs);
            low.push(&lows);
            factors.push(times_power((top / TWO_BYTES) * self.constant, exponent));
        }
        high.finish();
        low.finish();
        SketchQueries { high, low, factors }
    }

    /// (F·acc)·length of every query and row, row-major by queries.
    pub(super) fn score(
        &self,
        level: Level,
        queries: &SketchQueries,
        packed: &[u8],
        stride: usize,
        offset: usize,
        lengths: &[f32],
    ) -> Vec<f32> {
        let mut table = [0; 256];
        (table[0], table[1]) = (-1, 1);
        let (n, nq) = (lengths.len(), queries.factors.len());
        let level = level_for(level, nq);
        let most = group_size(level);
        let mut out = vec![0.0; nq * n];
        let (mut panel, mut codes, mut high, mut low) = (Panel::default(), Vec::new(), Vec::new(), Vec::new());
        for start in (0..n).step_by(PANEL_ROWS) {
            let rows = PANEL_ROWS.min(n - start);
            panel.begin(level, rows, self.size);
            for (tile, first) in (start..start + rows).step_by(TILE).enumerate() {
                let bytes = &packed[first * stride..(start + rows).min(first + TILE) * stride];
                let units = [(bytes, self.place(offset, stride))];
                Panel::fill([&mut panel], level, tile, &units, [&table], 2, &mut codes);
            }
            for group in 0..nq.div_ceil(most) {
                let members = group * most..nq.min((group + 1) * most);
                for (sums, values) in [(&mut high, &queries.high), (&mut low, &queries.low)] {
                    sums.resize(members.len() * panel.padded_rows(), 0);
                    products(level, values, group, &panel, sums);
                }
                let sums = high.chunks_exact(panel.padded_rows()).zip(low.chunks_exact(panel.padded_rows()));
                for (query, (high, low)) in members.zip(sums) {
                    let factor = queries.factors[query];
                    let places = out[query * n + start..][..rows].iter_mut().zip(&lengths[start..]);
                    for ((score, &length), (&high, &low)) in places.zip(high.iter().zip(low)) {
                        let sum = (i64::from(high) * 128 + i64::from(low)) as f32;
                        *score = (factor * sum) * length;
                    }
                }
            }
        }
        out
    }
}
