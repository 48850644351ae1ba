//! Queries prepared for the first stage: what its bits are worth to each (docs/numerics.md section 12).

use super::first_stage::{FirstStage, Kind};
use super::linear_stage::BOUND;
use super::{sign_stage, whole_stage};
use crate::codec::TurboQuant;
use crate::kernels::Level;
use crate::kernels::planes::{CENTER, Tables, Weights, largest_four, sum_of_row, tabulate};

#[derive(Debug)]
pub(crate) struct StageQueries {
    /// Bytes of a row's stage.
    size: usize,
    entries: Vec<[u8; 16]>,
    weights: Vec<Weights>,
}

impl StageQueries {
    /// Prepares rotated queries of the given norms, whose coordinates of each segment `parts` holds. `restored` brings a value back from a
    /// prepared query, given by its row, to the query or its direction; `factors` are what a unit of its integer products is worth there, in the
    /// first group; `centers` is what a codec's center adds to the scores of each. Scores
    /// end `deviations` standard deviations above their estimates.
    pub(super) fn new(
        (codec, first, deviations): (&TurboQuant, &FirstStage, f32),
        level: Level,
        (parts, factors): (&[Vec<f32>], &[f32]),
        norms: &[f32],
        centers: Option<&[f32]>,
        restored: impl Fn(f32, usize) -> f32,
    ) -> Self {
        let size = first.size();
        let of_query = Tables::entries(size);
        let (entries, weights) = (vec![[0; 16]; norms.len() * of_query], Vec::with_capacity(norms.len()));
        let mut queries = Self { size, entries, weights };
        let mut worths = Vec::new();
        for (row, &norm) in norms.iter().enumerate() {
            match first.kind() {
                Kind::Signs { .. } => {
                    let dim = codec.dim();
                    worths.clear();
                    worths.extend_from_slice(&parts[0][row * dim..][..dim]);
                    worths.resize(8 * size, 0.0);
                }
                Kind::Linear(stage) => stage.worths(parts, row, &mut worths),
                Kind::Whole => whole_stage::worths(codec, level, &parts[0], row, &mut worths),
            }
            let top = largest_four(&worths);
            let entry = top / f32::from(CENTER);
            let zero = 2 * size as i32 * i32::from(CENTER);
            let standard = |unit: f32, deviation: f32| {
                (restored(entry * unit, row), restored((deviations * deviation) * unit, row))
            };
            let (factor, deviation) = match first.kind() {
                Kind::Signs { rounding } => {
                    standard(sign_stage::unit(codec), sign_stage::deviation(*rounding, norm, entry))
                }
                Kind::Linear(stage) => standard((1.0 / BOUND) as f32, stage.deviation(level, parts, row, entry)),
                Kind::Whole => whole_stage::weights(codec, factors[row], &worths, top),
            };
            let center = centers.map_or(0.0, |centers| centers[row]);
            queries.weights.push(Weights { offset: zero, factor, deviation, center });
            tabulate(level, &worths, top, &mut queries.entries[row * of_query..][..of_query]);
        }
        queries
    }

    /// The tables of a query, and what its sums are worth.
    pub(crate) fn query(&self, query: usize) -> (Tables<'_>, Weights) {
        let of_query = Tables::entries(self.size);
        (Tables::new(self.size, &self.entries[query * of_query..][..of_query]), self.weights[query])
    }

    /// The upper end of one row's score, from the bytes of its stage, its bounds and its scale.
    pub(crate) fn upper_end(&self, query: usize, bytes: &[u8], bounds: u32, scale: f32) -> f32 {
        let (tables, weights) = self.query(query);
        weights.upper_end(sum_of_row(bytes, tables), bounds, scale)
    }
}
