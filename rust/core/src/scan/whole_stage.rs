//! The first stage of a plain code of 1 bit, which is the whole code: upper ends of scores that none exceeds.
//!
//! A score is F·⟨q, l⟩·scale with the query's integers q and levels ±l (docs/numerics.md section 10). Entries are sums of four of the same
//! integers, rounded to steps of top/63, so a row's sum of entries is at most half a step a four away from its product. Ranking needs
//! no cut: a row is left where even that end is below the floor, and scored as it is anywhere else otherwise.

use super::query::to_integers;
use crate::codebook::{ONE_BYTE, integer_levels};
use crate::codec::TurboQuant;
use crate::kernels::Level;
use crate::kernels::planes::CENTER;

/// More than what rounding in float32 adds, relative: to an entry before it is rounded, in halves of a step (63·2⁻²³), and to a product
/// and a sum of it (each operation 2⁻²⁴, five at most).
const OF_ENTRIES: f64 = 1.0 / 16_384.0;
const OF_PRODUCTS: f64 = 1.0 / 1_048_576.0;

/// The integers of a query, whole bytes of them: what a sign is worth, in units of a level.
pub(super) fn worths(codec: &TurboQuant, level: Level, part: &[f32], row: usize, out: &mut Vec<f32>) {
    let dim = codec.dim();
    let mut integers = vec![0; dim];
    to_integers(level, &part[row * dim..][..dim], ONE_BYTE, &mut integers);
    out.clear();
    out.extend(integers.iter().map(|&integer| integer as f32));
    out.resize(dim.next_multiple_of(8), 0.0);
}

/// What one unit of a sum of entries is worth, and how far a score may lie from it, scales apart; `factor` is F, `top` the largest four.
pub(super) fn weights(codec: &TurboQuant, factor: f32, worths: &[f32], top: f32) -> (f32, f32) {
    let sign = f64::from(factor) * f64::from(integer_levels(1, 1, codec.dim(), false).values[1]);
    let step = f64::from(top) / f64::from(CENTER);
    let rounding = codec.dim().div_ceil(4) as f64 * (step / 2.0) * (1.0 + OF_ENTRIES);
    let largest = worths.iter().map(|&worth| f64::from(worth.abs())).sum::<f64>() + rounding;
    ((sign * step) as f32, (sign * (rounding + largest * OF_PRODUCTS)) as f32)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::codec::Options;
    use crate::index::Index;
    use crate::kernels::testing::floats;
    use crate::metric::Metric;
    use crate::{CodesView, SearchOptions};

    /// Every row's score by stages is that of a full scan, in order, where every row is asked for and where few are.
    #[test]
    fn no_score_is_above_its_upper_end() {
        for dim in [1, 3, 8, 37, 130, 1_024] {
            for metric in [Metric::InnerProduct, Metric::Cosine, Metric::L2] {
                let mut index = Index::new(Arc::new(TurboQuant::new(dim, 1, Options::default()).unwrap()), metric);
                let x = floats(1_500 * dim, dim as u64);
                if metric == Metric::InnerProduct {
                    // Scales below 0 are made by no encoder, but may be added.
                    let codes = index.codec().encode(&x).unwrap();
                    let mut scales = codes.scales().to_vec();
                    scales.iter_mut().step_by(3).for_each(|scale| *scale = -*scale);
                    let view = CodesView::new(index.codec(), &[1], codes.packed(), &scales).unwrap();
                    index.add_codes(view, &[], None).unwrap();
                } else {
                    index.add(&x, None).unwrap();
                }
                let mut queries = floats(3 * dim, 5);
                // One coordinate beside which all others round to nothing or one, and none at all.
                queries[dim] = 300.0 * queries[dim].abs().max(1.0);
                queries[2 * dim..].fill(0.0);
                for query in queries.chunks(dim) {
                    for k in [1, 10, 1_500] {
                        let found = |exact| {
                            let options = SearchOptions { exact, ..SearchOptions::new(k) };
                            index.search_with(query, options).unwrap()
                        };
                        let (staged, full) = (found(false), found(true));
                        assert_eq!(
                            (staged.ids, staged.scores),
                            (full.ids, full.scores),
                            "{dim} dims, {metric:?}, k {k}"
                        );
                    }
                }
            }
        }
    }

    /// Most rows are left after their entries, so that a bound that has become loose is seen.
    #[test]
    fn most_rows_are_left() {
        let (dim, rows) = (256, 20_000);
        let mut index =
            Index::new(Arc::new(TurboQuant::new(dim, 1, Options::default()).unwrap()), Metric::InnerProduct);
        index.add(&floats(rows * dim, 1), None).unwrap();
        let mut room = (vec![0.0; 10], vec![0; 10]);
        let read = index.search_into(&floats(dim, 9), SearchOptions::new(10), &mut room.0, &mut room.1).unwrap();
        assert!(read.first_stage_rows == rows && (10..rows / 20).contains(&read.full_rows), "{read:?}");
    }
}
