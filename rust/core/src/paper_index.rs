//! A flat index over the papers' codecs: an exact scan with three metrics (docs/numerics-papers.md section 7).
//!
//! There is no first stage and no file: it is here so that these codecs can be searched and compared. Ids, removal and filters are the
//! other index's.

mod change;
mod rows;

use std::ops::Range;
use std::sync::Arc;

use crate::bitmap::WORD;
use crate::error::{Error, Result};
use crate::index::{Filter, Ids, Neighbors, Numbering, SearchOptions};
use crate::kernels::Level;
use crate::kernels::scores::to_distances;
use crate::metric::Metric;
use crate::papers::{PaperCodec, QUERY_BLOCK, SCORE_ROWS, rows_of};
use crate::parallel::Exec;
use crate::storage::Array;
use crate::topk::{Merge, TopK};
pub use rows::encode_rows;
use rows::{squared_norms, unit_rows};

/// An index over codes of [`Qjl`](crate::papers::Qjl), [`TurboQuantProd`](crate::papers::TurboQuantProd) or
/// [`PolarQuant`](crate::papers::PolarQuant): every search scores all of them.
///
/// `Send + Sync`; searches take `&self`. Results do not depend on the processor, the threads, the batch or k.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use turboquant_rs::papers::{ProjectionKind, TurboQuantProd};
/// use turboquant_rs::{Metric, PaperIndex};
/// let codec = Arc::new(TurboQuantProd::new(4, 8, ProjectionKind::Orthogonal, 0)?);
/// let mut index = PaperIndex::new(codec, Metric::L2);
/// index.add(&[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0], None)?;
/// assert_eq!(index.search(&[0.1, 0.9, 0.0, 0.0], 2)?.ids, [1, 0]);
/// # Ok::<(), turboquant_rs::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct PaperIndex<C> {
    codec: Arc<C>,
    metric: Metric,
    /// Rows in the order of adding, those that are gone among them: packed, their scales, |x|² (l2 only).
    packed: Array<u8>,
    scales: Array<f32>,
    squares: Array<f32>,
    ids: Ids,
    /// What filters say whose rows they hold.
    numbering: Numbering,
}

/// How many of which rows.
type Wanted<'a> = (usize, Option<&'a Filter>);

impl<C: PaperCodec> PaperIndex<C> {
    /// An empty index of `codec`'s codes.
    #[must_use]
    pub fn new(codec: Arc<C>, metric: Metric) -> Self {
        let (packed, scales, squares) = (Array::default(), Array::default(), Array::default());
        Self { codec, metric, packed, scales, squares, ids: Ids::new(), numbering: Numbering::new() }
    }

    /// The `k` nearest rows of every query, nearest first; equal scores by the lower id. Missing places hold id −1 and the worst score.
    ///
    /// # Errors
    /// [`Error::Argument`] if `queries` is not whole rows or k is 0, [`Error::NonFinite`] and [`Error::Norm`] (2^96 or more, for l2 2^63)
    /// for faulty queries.
    pub fn search(&self, queries: &[f32], k: usize) -> Result<Neighbors> {
        self.search_with(queries, SearchOptions::new(k))
    }

    /// [`search`](Self::search) with a choice of rows, kernels and threads; `exact` says nothing here, where every row is read in full.
    ///
    /// # Errors
    /// As for [`search`](Self::search), and [`Error::Argument`] for a filter of another index, and to rescore, since no rows are kept.
    pub fn search_with(&self, queries: &[f32], options: SearchOptions<'_>) -> Result<Neighbors> {
        let k = options.k;
        let nq = rows_of(self.codec.spec(), "queries", queries)?;
        let (mut scores, mut ids) = (Vec::new(), Vec::new());
        let places = nq
            .checked_mul(k)
            .filter(|&places| scores.try_reserve_exact(places).is_ok() && ids.try_reserve_exact(places).is_ok());
        let places = places.ok_or_else(|| Error::argument("k", "small enough for the result to fit memory", k))?;
        scores.resize(places, 0.0);
        ids.resize(places, 0);
        self.search_into(queries, options, &mut scores, &mut ids)?;
        Ok(Neighbors { scores, ids })
    }

    /// [`search_with`](Self::search_with) into the caller's buffers, k places a query each.
    ///
    /// # Errors
    /// As for [`search_with`](Self::search_with), and [`Error::Argument`] if a buffer has another length.
    pub fn search_into(
        &self,
        queries: &[f32],
        options: SearchOptions<'_>,
        scores: &mut [f32],
        ids: &mut [i64],
    ) -> Result<()> {
        let SearchOptions { k, filter, rescore, exec, .. } = options;
        let (spec, exec) = (self.codec.spec(), exec.settled()?);
        let (dim, nq) = (spec.dim(), rows_of(spec, "queries", queries)?);
        if k == 0 {
            return Err(Error::argument("k", "at least 1", k));
        }
        if rescore > 0 {
            return Err(Error::argument("rescore", "0, since this index keeps no rows to score exactly", rescore));
        }
        self.numbering.check(filter)?;
        for (argument, len) in [("scores", scores.len()), ("ids", ids.len())] {
            if nq.checked_mul(k) != Some(len) {
                return Err(Error::argument(argument, format!("{k} places for each of {nq} queries"), len));
            }
        }
        scores.fill(self.metric.worst());
        ids.fill(-1);
        let mut merge = Merge::new(exec.level()?);
        for (i, queries) in queries.chunks(QUERY_BLOCK * dim).enumerate() {
            let first = i * QUERY_BLOCK;
            let best = Error::of_first_row(queries, dim, |queries| self.search_block(queries, (k, filter), exec));
            let best = best.map_err(|error| error.with_first_row(first))?;
            for (query, best) in (first..).zip(best) {
                for (place, candidate) in (query * k..).zip(merge.best(best, k)) {
                    ids[place] = candidate.id;
                    scores[place] = if self.metric == Metric::L2 { (-candidate.key).max(0.0) } else { candidate.key };
                }
            }
        }
        Ok(())
    }

    /// Each query's best rows, one heap a task.
    fn search_block(&self, queries: &[f32], wanted: Wanted<'_>, exec: Exec) -> Result<Vec<Vec<TopK>>> {
        let (level, n, dim) = (exec.level()?, self.ids.gone.rows(), self.codec.spec().dim());
        let (mut units, mut squares) = (Vec::new(), Vec::new());
        match self.metric {
            Metric::InnerProduct => {}
            Metric::Cosine => unit_rows(level, "queries", queries, dim, &mut units)?,
            Metric::L2 => {
                squares.resize(queries.len() / dim, 0.0);
                squared_norms(level, "queries", queries, dim, &mut squares)?;
            }
        }
        let queries = if self.metric == Metric::Cosine { &units } else { queries };
        let ready = self.codec.prepare_queries(level, queries)?;
        let nq = queries.len() / dim;
        let step = exec.rows_per_task(n, SCORE_ROWS).next_multiple_of(SCORE_ROWS);
        let tasks: Vec<_> = (0..n).step_by(step).map(|first| first..(first + step).min(n)).collect();
        let found = exec.map(tasks, |rows| self.search_rows(level, &ready, (nq, &squares), wanted, rows));
        let mut best: Vec<Vec<_>> = (0..nq).map(|_| Vec::new()).collect();
        for heaps in found {
            best.iter_mut().zip(heaps?).for_each(|(best, heap)| best.push(heap));
        }
        Ok(best)
    }

    /// Each query's best of a range of rows, a block of scores at a time; queries by their number and |q|² (l2).
    fn search_rows(
        &self,
        level: Level,
        ready: &C::Queries,
        (nq, query_squares): (usize, &[f32]),
        (k, filter): Wanted<'_>,
        rows: Range<usize>,
    ) -> Result<Vec<TopK>> {
        let all = filter.is_none() && self.ids.gone.count() == 0;
        let allows = |row: usize| {
            let filtered = filter.is_none_or(|filter| filter.places(0).word(row / WORD) >> (row % WORD) & 1 == 1);
            filtered && !self.ids.gone.holds(row)
        };
        let (bytes, norms) = (self.codec.spec().row_bytes(), self.codec.spec().norms());
        let mut best: Vec<_> = (0..nq).map(|_| TopK::new(k, f32::NEG_INFINITY)).collect();
        for first in rows.clone().step_by(SCORE_ROWS) {
            let end = (first + SCORE_ROWS).min(rows.end);
            if !all && !(first..end).any(allows) {
                continue;
            }
            let scales = &self.scales[first * norms..end * norms];
            let mut scores = self.codec.score_block(level, ready, &self.packed[first * bytes..end * bytes], scales)?;
            for (query, (keys, best)) in scores.chunks_exact_mut(end - first).zip(&mut best).enumerate() {
                if self.metric == Metric::L2 {
                    to_distances(level, query_squares[query], &self.squares[first..end], keys);
                }
                let found = keys.iter().zip(&self.ids.all()[first..end]).zip(first..);
                found.filter(|(_, row)| all || allows(*row)).for_each(|((&key, &id), _)| best.offer(key, id));
            }
        }
        Ok(best)
    }

    /// Decoded rows of the given ids, dim values each. With cosine they are approximations of x/|x|.
    ///
    /// # Errors
    /// [`Error::UnknownId`] for an id that is not in the index.
    pub fn reconstruct(&self, ids: &[i64]) -> Result<Vec<f32>> {
        self.reconstruct_with(ids, Exec::default())
    }

    /// [`reconstruct`](Self::reconstruct) with a choice of kernels and threads.
    ///
    /// # Errors
    /// As for [`reconstruct`](Self::reconstruct).
    pub fn reconstruct_with(&self, ids: &[i64], exec: Exec) -> Result<Vec<f32>> {
        let spec = self.codec.spec();
        let (bytes, norms) = (spec.row_bytes(), spec.norms());
        let (mut packed, mut scales) = (Vec::new(), Vec::new());
        for &id in ids {
            let place = self.ids.number(id).ok_or(Error::UnknownId { id })?;
            packed.extend_from_slice(&self.packed[place * bytes..][..bytes]);
            scales.extend_from_slice(&self.scales[place * norms..][..norms]);
        }
        let mut out = vec![0.0; ids.len() * spec.dim()];
        self.codec.decode_into(&packed, &scales, &mut out, exec)?;
        Ok(out)
    }

    /// Rows that can be found.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.gone.live()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows that were removed and whose place is not yet taken back.
    #[must_use]
    pub fn removed(&self) -> usize {
        self.ids.gone.count()
    }

    /// Whether an id is in the index.
    #[must_use]
    pub fn contains(&self, id: i64) -> bool {
        self.ids.number(id).is_some()
    }

    /// The codec.
    #[must_use]
    pub fn codec(&self) -> &Arc<C> {
        &self.codec
    }

    /// The metric.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Ids in the order of adding.
    #[must_use]
    pub fn ids(&self) -> Vec<i64> {
        self.ids.gone.iter_live().map(|row| self.ids.all()[row]).collect()
    }

    /// What [`add_rows`](Self::add_rows) took, of all rows that can be found, copied: packed, scales, |x|² (l2).
    #[must_use]
    pub fn rows(&self) -> (Vec<u8>, Vec<f32>, Vec<f32>) {
        let (bytes, norms) = (self.codec.spec().row_bytes(), self.codec.spec().norms());
        let (mut packed, mut scales, mut squares) = (Vec::new(), Vec::new(), Vec::new());
        for row in self.ids.gone.iter_live() {
            packed.extend_from_slice(&self.packed[row * bytes..][..bytes]);
            scales.extend_from_slice(&self.scales[row * norms..][..norms]);
            squares.extend(self.squares.get(row));
        }
        (packed, scales, squares)
    }

    /// Bytes of rows, removed ones among them: codes, scales, squared norms (l2), ids. The codec and the way back from ids that do not
    /// ascend are not counted.
    #[must_use]
    pub fn nbytes(&self) -> usize {
        self.packed.nbytes() + self.scales.nbytes() + self.squares.nbytes() + self.ids.nbytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::RowIds;
    use crate::papers::{PolarQuant, ProjectionKind, Qjl, Radius, TurboQuantProd};

    const METRICS: [Metric; 3] = [Metric::InnerProduct, Metric::Cosine, Metric::L2];

    /// Rows with equal ones among them.
    fn rows(n: usize, dim: usize) -> Vec<f32> {
        (0..n * dim).map(|i| ((i / dim % 700 * 31 + i % dim * 17) as f32 * 0.73).sin()).collect()
    }

    fn search_is_a_sort_of_scores<C: PaperCodec>(codec: C) {
        let (codec, dim) = (Arc::new(codec), 16);
        let (x, queries) = (rows(2_500, dim), rows(3, dim));
        for metric in METRICS {
            let mut index = PaperIndex::new(codec.clone(), metric);
            assert_eq!(index.search(&queries, 2).unwrap().ids, [-1; 6]);
            index.add(&x, None).unwrap();
            let all = index.search(&queries, 2_500).unwrap();
            for k in [1, 10, 300, 2_502] {
                for serial in [true, false] {
                    let found = index
                        .search_with(
                            &queries,
                            SearchOptions { exec: Exec { serial, ..Exec::default() }, ..SearchOptions::new(k) },
                        )
                        .unwrap();
                    for query in 0..3 {
                        let (got, want) = (query * k, query * 2_500);
                        let kept = k.min(2_500);
                        assert_eq!(found.ids[got..][..kept], all.ids[want..][..kept], "{metric:?} {k}");
                        assert_eq!(found.scores[got..][..kept], all.scores[want..][..kept], "{metric:?} {k}");
                        assert!(found.ids[got + kept..][..k - kept].iter().all(|&id| id == -1));
                        assert!(found.scores[got + kept..][..k - kept].iter().all(|&s| s == metric.worst()));
                    }
                }
            }
            let nearer = |a: f32, b: f32| if metric == Metric::L2 { a < b } else { a > b };
            for (scores, ids) in all.scores.chunks(2_500).zip(all.ids.chunks(2_500)) {
                // Distances that are reported as 0 keep the order that they had below it.
                let tied = |i: usize| scores[i] == scores[i + 1] && (ids[i] < ids[i + 1] || scores[i] == 0.0);
                let in_order = |i: usize| nearer(scores[i], scores[i + 1]) || tied(i);
                assert!((0..2_499).all(in_order), "{metric:?}");
            }
        }
        let mut index = PaperIndex::new(codec.clone(), Metric::InnerProduct);
        index.add(&x, None).unwrap();
        let scores = codec.score(&queries[..dim], &codec.encode(&x).unwrap()).unwrap();
        let found = index.search(&queries[..dim], 2_500).unwrap();
        assert!(found.ids.iter().zip(&found.scores).all(|(&id, &score)| scores[id as usize] == score));
        assert_eq!(
            index.reconstruct(&[7]).unwrap(),
            codec.decode(&codec.encode(&x[7 * dim..8 * dim]).unwrap()).unwrap()
        );
    }

    #[test]
    fn searches_are_sorts_of_scores() {
        search_is_a_sort_of_scores(Qjl::new(16, 24, ProjectionKind::Gaussian, 1).unwrap());
        search_is_a_sort_of_scores(TurboQuantProd::new(16, 3, ProjectionKind::Orthogonal, 1).unwrap());
        search_is_a_sort_of_scores(PolarQuant::new(16, &[4, 2], Radius::Float32, 1).unwrap());
    }

    #[test]
    fn refused_rows_leave_the_index_as_it_was() {
        let codec = Arc::new(Qjl::new(2, 8, ProjectionKind::Gaussian, 0).unwrap());
        let mut index = PaperIndex::new(codec, Metric::L2);
        assert_eq!(index.add(&[1.0; 6], Some(&[5, 3, 9])).unwrap(), [5, 3, 9]);
        let refused = [
            index.add(&[1.0; 4], Some(&[1, 3])),
            index.add(&[1.0; 4], Some(&[1, 1])),
            index.add(&[1.0; 4], Some(&[1, -1])),
            index.add(&[1.0; 4], Some(&[1])),
            index.add(&[1.0; 3], None),
            index.add(&[1.0, 1.0, 1e19, 1.0], None),
            index.add(&[1.0, f32::NAN], None),
            index.add_rows(&[0], &[1.0], &[], RowIds::Assigned),
            index.add_rows(&[0], &[1.0], &[-1.0], RowIds::Assigned),
            index.add_rows(&[0], &[f32::INFINITY], &[1.0], RowIds::Assigned),
        ];
        let texts: Vec<_> = refused.into_iter().map(|result| result.unwrap_err().to_string()).collect();
        assert_eq!(texts[5], "x must have norms below 2^63 for squared L2 distances, got a larger one at row 1");
        assert_eq!((index.len(), index.ids()), (3, vec![5, 3, 9]));
        assert_eq!(index.nbytes(), 3 * (1 + 4 + 4 + 8));
        assert_eq!(index.add(&[2.0; 4], None).unwrap(), [10, 11]);
        assert_eq!(index.add(&[2.0; 2], Some(&[i64::MAX])).unwrap(), [i64::MAX]);
        assert!(index.add(&[2.0; 2], None).is_err());
        assert_eq!(index.reconstruct(&[4]), Err(Error::UnknownId { id: 4 }));
        assert!(index.search(&[1.0; 2], 0).is_err());
        assert!(index.search(&[1.0; 2], usize::MAX).is_err());
        let faulty = [1.0, 1.0, 1e19, 0.0, f32::NAN, 0.0];
        let error = Error::Norm { argument: "queries", row: 1, limit: "below 2^63 for squared L2 distances" };
        assert_eq!(index.search(&faulty, 1), Err(error));
    }

    #[test]
    fn the_first_faulty_row_is_named() {
        // A radius beyond float16 comes before a norm beyond the metric's.
        let codec = PolarQuant::new(4, &[4, 2], Radius::Float16, 0).unwrap();
        let x = [[1.0; 4], [1e6; 4], [1e19; 4]].concat();
        let mut index = PaperIndex::new(Arc::new(codec), Metric::L2);
        let error = index.add(&x, None).unwrap_err();
        assert_eq!(error.row(), Some(1), "{error}");
    }
}
