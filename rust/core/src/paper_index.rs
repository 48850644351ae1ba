//! A flat index over the papers' codecs: an exact scan with three metrics (docs/numerics-papers.md section 7).
//!
//! There is no first stage, filter, removal or file: it is here so that these codecs can be searched and compared.

mod rows;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::index::Neighbors;
use crate::kernels::Level;
use crate::kernels::scores::to_distances;
use crate::metric::Metric;
use crate::papers::{PaperCodec, QUERY_BLOCK, SCORE_ROWS, check_parts, rows_of};
use crate::parallel::Exec;
use crate::topk::TopK;
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
    /// Rows in the order of adding: packed, their scales, |x|² (l2 only), ids.
    packed: Vec<u8>,
    scales: Vec<f32>,
    squares: Vec<f32>,
    ids: Vec<i64>,
    /// The largest id, −1 without any.
    largest: i64,
    /// Place of every id; `None` while ids ascend, where halving finds them.
    places: Option<HashMap<i64, usize>>,
}

impl<C: PaperCodec> PaperIndex<C> {
    /// An empty index of `codec`'s codes.
    #[must_use]
    pub fn new(codec: Arc<C>, metric: Metric) -> Self {
        let (packed, scales, squares, ids) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { codec, metric, packed, scales, squares, ids, largest: -1, places: None }
    }

    /// Encodes rows of `dim` values and appends them, under the given ids or the next free ones; returns their ids.
    ///
    /// # Errors
    /// As for [`PaperCodec::encode`], with l2 also [`Error::Norm`] from 2^63; [`Error::Argument`] for a wrong number of ids or a negative
    /// one, [`Error::DuplicateId`] for an id that is taken or given twice. The index is then unchanged.
    pub fn add(&mut self, x: &[f32], ids: Option<&[i64]>) -> Result<Vec<i64>> {
        self.add_with(x, ids, Exec::default())
    }

    /// [`add`](Self::add) with a choice of kernels and threads.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub fn add_with(&mut self, x: &[f32], ids: Option<&[i64]>, exec: Exec) -> Result<Vec<i64>> {
        let spec = self.codec.spec();
        let n = rows_of(spec, "x", x)?;
        self.new_ids(n, ids)?;
        let (mut packed, mut scales) = (vec![0; n * spec.row_bytes()], vec![0.0; n * spec.norms()]);
        let mut squares = vec![0.0; if self.metric == Metric::L2 { n } else { 0 }];
        encode_rows(&*self.codec, self.metric, x, &mut packed, &mut scales, &mut squares, exec)?;
        self.add_rows(&packed, &scales, &squares, ids)
    }

    /// Appends rows that [`encode_rows`] made for this codec and metric.
    ///
    /// # Errors
    /// [`Error::Argument`] if the parts are no rows of this codec or `squares` is not one finite value of at least 0 a row (l2; empty
    /// otherwise), or as for [`add`](Self::add) for ids. The index is then unchanged.
    pub fn add_rows(
        &mut self,
        packed: &[u8],
        scales: &[f32],
        squares: &[f32],
        ids: Option<&[i64]>,
    ) -> Result<Vec<i64>> {
        let n = check_parts(self.codec.spec(), packed, scales)?;
        let expected = if self.metric == Metric::L2 { n } else { 0 };
        if squares.len() != expected {
            return Err(Error::argument("squares", format!("{expected} long"), squares.len()));
        }
        if let Some(row) = squares.iter().position(|square| !(square.is_finite() && *square >= 0.0)) {
            return Err(Error::argument("squares", "finite and at least 0", format!("{} at row {row}", squares[row])));
        }
        let ids = self.new_ids(n, ids)?;
        self.packed.extend_from_slice(packed);
        self.scales.extend_from_slice(scales);
        self.squares.extend_from_slice(squares);
        self.take_ids(&ids);
        Ok(ids)
    }

    /// The `k` nearest rows of every query, nearest first; equal scores by the lower id. Missing places hold id −1 and the worst score.
    ///
    /// # Errors
    /// [`Error::Argument`] if `queries` is not whole rows or k is 0, [`Error::NonFinite`] and [`Error::Norm`] (2^96 or more, for l2 2^63)
    /// for faulty queries.
    pub fn search(&self, queries: &[f32], k: usize) -> Result<Neighbors> {
        self.search_with(queries, k, Exec::default())
    }

    /// [`search`](Self::search) with a choice of kernels and threads.
    ///
    /// # Errors
    /// As for [`search`](Self::search).
    pub fn search_with(&self, queries: &[f32], k: usize, exec: Exec) -> Result<Neighbors> {
        let nq = rows_of(self.codec.spec(), "queries", queries)?;
        let (mut scores, mut ids) = (Vec::new(), Vec::new());
        let places = nq
            .checked_mul(k)
            .filter(|&places| scores.try_reserve_exact(places).is_ok() && ids.try_reserve_exact(places).is_ok());
        let places = places.ok_or_else(|| Error::argument("k", "small enough for the result to fit memory", k))?;
        scores.resize(places, 0.0);
        ids.resize(places, 0);
        self.search_into(queries, k, &mut scores, &mut ids, exec)?;
        Ok(Neighbors { scores, ids })
    }

    /// [`search_with`](Self::search_with) into the caller's buffers, k places a query each.
    ///
    /// # Errors
    /// As for [`search`](Self::search), and [`Error::Argument`] if a buffer has another length.
    pub fn search_into(
        &self,
        queries: &[f32],
        k: usize,
        scores: &mut [f32],
        ids: &mut [i64],
        exec: Exec,
    ) -> Result<()> {
        let (spec, exec) = (self.codec.spec(), exec.settled()?);
        let (dim, nq) = (spec.dim(), rows_of(spec, "queries", queries)?);
        if k == 0 {
            return Err(Error::argument("k", "at least 1", k));
        }
        for (argument, len) in [("scores", scores.len()), ("ids", ids.len())] {
            if nq.checked_mul(k) != Some(len) {
                return Err(Error::argument(argument, format!("{k} places for each of {nq} queries"), len));
            }
        }
        scores.fill(self.metric.worst());
        ids.fill(-1);
        for (i, queries) in queries.chunks(QUERY_BLOCK * dim).enumerate() {
            let first = i * QUERY_BLOCK;
            let best = Error::of_first_row(queries, dim, |queries| self.search_block(queries, k, exec));
            let best = best.map_err(|error| error.with_first_row(first))?;
            for (query, best) in (first..).zip(best) {
                for (place, candidate) in (query * k..).zip(TopK::merge(best, k)) {
                    ids[place] = candidate.id;
                    scores[place] = if self.metric == Metric::L2 { (-candidate.key).max(0.0) } else { candidate.key };
                }
            }
        }
        Ok(())
    }

    /// Each query's best rows, one heap a task.
    fn search_block(&self, queries: &[f32], k: usize, exec: Exec) -> Result<Vec<Vec<TopK>>> {
        let (level, n, dim) = (exec.level()?, self.len(), self.codec.spec().dim());
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
        let found = exec.map(tasks, |rows| self.search_rows(level, &ready, (nq, &squares), k, rows));
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
        k: usize,
        rows: Range<usize>,
    ) -> Result<Vec<TopK>> {
        let (bytes, norms) = (self.codec.spec().row_bytes(), self.codec.spec().norms());
        let mut best: Vec<_> = (0..nq).map(|_| TopK::new(k, f32::NEG_INFINITY)).collect();
        for first in rows.clone().step_by(SCORE_ROWS) {
            let end = (first + SCORE_ROWS).min(rows.end);
            let scales = &self.scales[first * norms..end * norms];
            let mut scores = self.codec.score_block(level, ready, &self.packed[first * bytes..end * bytes], scales)?;
            for (query, (keys, best)) in scores.chunks_exact_mut(end - first).zip(&mut best).enumerate() {
                if self.metric == Metric::L2 {
                    to_distances(level, query_squares[query], &self.squares[first..end], keys);
                }
                keys.iter().zip(&self.ids[first..end]).for_each(|(&key, &id)| best.offer(key, id));
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
            let place = self.place(id).ok_or(Error::UnknownId { id })?;
            packed.extend_from_slice(&self.packed[place * bytes..][..bytes]);
            scales.extend_from_slice(&self.scales[place * norms..][..norms]);
        }
        let mut out = vec![0.0; ids.len() * spec.dim()];
        self.codec.decode_into(&packed, &scales, &mut out, exec)?;
        Ok(out)
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
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
    pub fn ids(&self) -> &[i64] {
        &self.ids
    }

    /// What [`add_rows`](Self::add_rows) took, of all rows: packed, scales, |x|² (l2).
    #[must_use]
    pub fn rows(&self) -> (&[u8], &[f32], &[f32]) {
        (&self.packed, &self.scales, &self.squares)
    }

    /// Bytes of rows: codes, scales, squared norms (l2), ids. The codec and the map of ids that do not ascend are not counted.
    #[must_use]
    pub fn nbytes(&self) -> usize {
        self.packed.len() + 4 * (self.scales.len() + self.squares.len()) + 8 * self.ids.len()
    }

    /// Checks ids for `rows` new rows, or makes them: the largest id so far and up.
    fn new_ids(&self, rows: usize, ids: Option<&[i64]>) -> Result<Vec<i64>> {
        let Some(ids) = ids else {
            let next = self.largest.checked_add(1);
            let new = next.and_then(|next| Some(next..next.checked_add(rows as i64)?));
            let new = new.ok_or_else(|| Error::argument("ids", "given, since the largest id is in use", "none"));
            return Ok(new?.collect());
        };
        if ids.len() != rows {
            return Err(Error::argument("ids", format!("one a row ({rows})"), ids.len()));
        }
        let mut seen = HashSet::with_capacity(rows);
        for &id in ids {
            if id < 0 {
                return Err(Error::argument("ids", "at least 0 (−1 marks empty places)", id));
            }
            if !seen.insert(id) || self.place(id).is_some() {
                return Err(Error::DuplicateId { id });
            }
        }
        Ok(ids.to_vec())
    }

    fn take_ids(&mut self, ids: &[i64]) {
        let first = self.ids.len();
        let ascend = ids.first().is_none_or(|&id| id > self.largest) && ids.is_sorted();
        self.ids.extend_from_slice(ids);
        self.largest = ids.iter().fold(self.largest, |largest, &id| largest.max(id));
        let from = if self.places.is_some() { first } else { 0 };
        if self.places.is_some() || !ascend {
            let places = self.places.get_or_insert_default();
            places.extend(self.ids[from..].iter().zip(from..).map(|(&id, place)| (id, place)));
        }
    }

    fn place(&self, id: i64) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(&id).copied(),
            None => self.ids.binary_search(&id).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
                    let found = index.search_with(&queries, k, Exec { serial, ..Exec::default() }).unwrap();
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
            index.add_rows(&[0], &[1.0], &[], None),
            index.add_rows(&[0], &[1.0], &[-1.0], None),
            index.add_rows(&[0], &[f32::INFINITY], &[1.0], None),
        ];
        let texts: Vec<_> = refused.into_iter().map(|result| result.unwrap_err().to_string()).collect();
        assert_eq!(texts[5], "x must have norms below 2^63 for squared L2 distances, got a larger one at row 1");
        assert_eq!((index.len(), index.ids()), (3, &[5, 3, 9][..]));
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
