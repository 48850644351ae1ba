//! Searches of an index: what may be asked, and what comes back.

use super::search::{DENSE, FEW};
use super::{Filter, Index};
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::parallel::Exec;
use crate::scan::QUERY_BLOCK;

/// Neighbours of a batch of queries: `k` places a query, nearest first; missing places hold id −1 and the worst score.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbors {
    /// Scores, k a query: inner products or cosines (larger is nearer), or squared L2 distances (smaller is nearer, never below 0).
    pub scores: Vec<f32>,
    /// Ids, k a query.
    pub ids: Vec<i64>,
}

/// What a search is asked for. `k`, `filter` and `rescore` decide the answer, the others only how it is found.
///
/// # Examples
/// ```
/// use turboquant_rs::{Exec, SearchOptions};
/// let options = SearchOptions { exec: Exec { serial: true, ..Exec::default() }, ..SearchOptions::new(100) };
/// assert_eq!((options.k, options.exact), (100, false));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct SearchOptions<'a> {
    /// Neighbours of a query, at least 1.
    pub k: usize,
    /// The rows that may be returned; without one, all.
    pub filter: Option<&'a Filter>,
    /// How many times k rows are found by their codes, for the k best by exact scores; 0 for the k best by codes. With any the index must
    /// keep rows ([`Index::keeping`]), and the first ten of k = 100 are no longer k = 10.
    pub rescore: usize,
    /// Read every row in full, instead of the first stage of all and the rest of those that may be among the k nearest.
    pub exact: bool,
    /// Kernels and threads.
    pub exec: Exec,
}

impl SearchOptions<'_> {
    /// The `k` nearest of all rows.
    #[must_use]
    pub fn new(k: usize) -> Self {
        Self { k, ..Self::default() }
    }
}

/// What a search read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SearchStats {
    /// Rows whose first stage was read alone, summed over queries.
    pub first_stage_rows: usize,
    /// Rows that were read in full, summed over queries.
    pub full_rows: usize,
}

impl Index {
    /// The `k` nearest rows of every query, nearest first; equal scores by the lower id.
    ///
    /// # Errors
    /// [`Error::Argument`] if `queries` is not whole rows or k is 0, [`Error::NonFinite`] and [`Error::Norm`] (2^96 or more, for l2 2^63)
    /// for faulty queries.
    pub fn search(&self, queries: &[f32], k: usize) -> Result<Neighbors> {
        self.search_with(queries, SearchOptions::new(k))
    }

    /// [`search`](Self::search) with a choice of rows, kernels and threads.
    ///
    /// # Errors
    /// As for [`search`](Self::search), and [`Error::Argument`] for a filter of another index, and to rescore without rows.
    pub fn search_with(&self, queries: &[f32], options: SearchOptions<'_>) -> Result<Neighbors> {
        let (nq, k) = (self.codec().rows_of("queries", queries)?, options.k);
        let (mut scores, mut ids) = (room(nq, k, 0.0)?, room(nq, k, 0)?);
        self.search_into(queries, options, &mut scores, &mut ids)?;
        Ok(Neighbors { scores, ids })
    }

    /// [`search_with`](Self::search_with) into the caller's buffers, k places a query each; returns what it read.
    ///
    /// # Errors
    /// As for [`search_with`](Self::search_with), and [`Error::Argument`] if a buffer has another length.
    pub fn search_into(
        &self,
        queries: &[f32],
        options: SearchOptions<'_>,
        scores: &mut [f32],
        ids: &mut [i64],
    ) -> Result<SearchStats> {
        let options = SearchOptions { exec: options.exec.settled()?, ..options };
        let k = options.k;
        if k == 0 {
            return Err(Error::argument("k", "at least 1", k));
        }
        self.check_filter(options.filter)?;
        let (nq, dim) = (self.codec().rows_of("queries", queries)?, self.codec().dim());
        for (argument, len) in [("scores", scores.len()), ("ids", ids.len())] {
            if nq.checked_mul(k) != Some(len) {
                return Err(Error::argument(argument, format!("{k} places for each of {nq} queries"), len));
            }
        }
        self.ids.check_all()?;
        if options.rescore > 0 {
            return self.rescored_into(queries, options, scores, ids);
        }
        scores.fill(self.metric.worst());
        ids.fill(-1);
        let n = options.filter.map_or(self.stored(), Filter::len);
        let staged = !options.exact && nq <= FEW && self.partitions[0].first().is_some();
        let (mut stats, mut first) = (SearchStats::default(), 0);
        while first < nq {
            // One by one as long as that leaves rows unread; else the rest together, so that reading rows is shared.
            let alone = staged && stats.full_rows * DENSE <= first * n;
            let block = if alone { 1 } else { QUERY_BLOCK.min(nq - first) };
            let queries = &queries[first * dim..(first + block) * dim];
            let candidates = self.search_block(queries, options, &mut stats);
            for (query, best) in candidates.map_err(|error| error.with_first_row(first))?.into_iter().enumerate() {
                for (place, candidate) in best.into_iter().enumerate() {
                    let at = (first + query) * k + place;
                    ids[at] = candidate.id;
                    scores[at] = if self.metric == Metric::L2 { (-candidate.key).max(0.0) } else { candidate.key };
                }
            }
            first += block;
        }
        Ok(stats)
    }
}

/// Places for k results a query.
fn room<T: Clone>(queries: usize, k: usize, value: T) -> Result<Vec<T>> {
    let mut room = Vec::new();
    let places = queries.checked_mul(k).filter(|&places| room.try_reserve_exact(places).is_ok());
    let places = places.ok_or_else(|| Error::argument("k", "small enough for the result to fit memory", k))?;
    room.resize(places, value);
    Ok(room)
}
