//! Truncation of fitted codes: the last units go one after another (docs/numerics.md section 11).

use super::decode::padded_levels;
use super::transform::Transform;
use super::{Scale, TurboQuant, flush};
use crate::codes::{Codes, CodesView};
use crate::error::{Error, Result};
use crate::kernels::{Level, dot_f32};
use crate::parallel::Exec;
use crate::units::{self, Unit};

/// A unit to drop: its segment, and the levels of what is left of it.
struct Step {
    segment: usize,
    levels: [f32; 256],
}

/// Codes and levels of the row in hand, a segment each.
#[derive(Default)]
struct Row {
    codes: Vec<Vec<u8>>,
    levels: Vec<Vec<f32>>,
    /// T(c·c) of each segment.
    squares: Vec<f32>,
    shorter: Vec<f32>,
}

impl TurboQuant {
    /// Keeps the first units, as many as hold at most `row_bits` bits of a row.
    pub(super) fn truncate_fitted(
        &self,
        transform: &Transform,
        codes: &CodesView<'_>,
        row_bits: usize,
        exec: Exec,
    ) -> Result<Codes> {
        let (spec, order) = (&self.spec, transform.fitted.order());
        let before = codes.keep.iter().sum::<u32>() as usize;
        let mut keep = spec.prefix(row_bits);
        if keep.iter().sum::<u32>() as usize > before {
            keep = codes.keep.to_vec();
        }
        let first = spec.segments[usize::from(order[0])].dim;
        if keep.iter().all(|&keep| keep == 0) {
            return Err(Error::argument("row_bits", format!("enough for the first unit, of {first} bits"), row_bits));
        }
        let after = keep.iter().sum::<u32>() as usize;
        let (mut left, mut steps) = (codes.keep.to_vec(), Vec::new());
        for &i in order[after..before].iter().rev() {
            let segment = usize::from(i);
            left[segment] -= 1;
            let levels = padded_levels(spec.segments[segment].bits, left[segment], self.segments[segment].table_dim);
            steps.push(Step { segment, levels });
        }
        let tables = self.segments.iter().zip(codes.keep);
        let tables: Vec<_> = tables.map(|(s, &keep)| padded_levels(s.segment.bits, keep, s.table_dim)).collect();
        let (level, units) = (exec.level()?, spec.units(codes.keep));
        let (stride, kept) = (codes.row_bytes, spec.row_bytes(&keep));
        let (mut packed, mut scales) = (vec![0; codes.len() * kept], vec![0.0; codes.len()]);
        let rows = exec.rows_per_task(codes.len(), Exec::TASK_ROWS);
        let inputs = codes.packed.chunks(rows * stride).zip(codes.scales.chunks(rows));
        let tasks = inputs.zip(packed.chunks_mut(rows * kept).zip(scales.chunks_mut(rows)));
        exec.map(tasks.collect(), |((packed, scales), (out_packed, out_scales))| {
            let mut row = Row::default();
            let outputs = out_packed.chunks_exact_mut(kept).zip(out_scales);
            for ((bytes, &scale), (out, out_scale)) in packed.chunks_exact(stride).zip(scales).zip(outputs) {
                out.copy_from_slice(&bytes[..kept]);
                row.read(self, level, bytes, &units, &tables);
                *out_scale = steps
                    .iter()
                    .fold(scale, |scale, step| flush(scale * row.shorten(step, &transform.weights, spec.scale)));
            }
        });
        Codes::new(spec.clone(), keep, packed, scales)
    }
}

impl Row {
    fn read(&mut self, codec: &TurboQuant, level: Level, packed: &[u8], units: &[Vec<Unit>], tables: &[[f32; 256]]) {
        self.codes.resize_with(units.len(), Vec::new);
        self.levels.resize_with(units.len(), Vec::new);
        self.squares.clear();
        for (i, segment) in codec.segments.iter().enumerate() {
            let (codes, levels) = (&mut self.codes[i], &mut self.levels[i]);
            codes.resize(segment.segment.dim, 0);
            units::unpack(level, packed, segment.segment.dim, &units[i], packed.len(), codes);
            levels.clear();
            levels.extend(codes.iter().map(|&code| tables[i][usize::from(code)]));
            self.squares.push(dot_f32(levels, levels));
        }
    }

    /// Drops a unit; returns the factor for the scale.
    fn shorten(&mut self, step: &Step, weights: &[f32], scale: Scale) -> f32 {
        let i = step.segment;
        self.shorter.clear();
        for code in &mut self.codes[i] {
            *code >>= 1;
            self.shorter.push(step.levels[usize::from(*code)]);
        }
        let (crossed, square) = (dot_f32(&self.levels[i], &self.shorter), dot_f32(&self.shorter, &self.shorter));
        // Σ σ²·T over the segments, in their order, with another sum in place of this segment's.
        let sum = |of_this: f32| {
            let terms = self.squares.iter().zip(weights).enumerate();
            let mut terms = terms.map(|(j, (&square, weight))| weight * if j == i { of_this } else { square });
            let first = terms.next().expect("a codec has a segment");
            terms.fold(first, |sum, term| sum + term)
        };
        let (cc, cd, dd) = (sum(self.squares[i]), sum(crossed), sum(square));
        std::mem::swap(&mut self.levels[i], &mut self.shorter);
        self.squares[i] = square;
        match scale {
            Scale::Unbiased => cc / cd,
            Scale::Mse => cd / dd,
            Scale::Matched | Scale::Paper => (cc / dd).sqrt(),
        }
    }
}
