//! Searches of an index: what may be asked, and what comes back.

use std::ops::AddAssign;

use super::{Filter, Index};
use crate::error::{Error, Result};
use crate::kernels::product::NARROW_GROUP;
use crate::metric::Metric;
use crate::parallel::Exec;
use crate::scan::QUERY_BLOCK;
use crate::topk::{Candidate, Merge, candidates};

/// Candidates of all queries that are searched together, so that they stay in a third-level cache (12 bytes each).
const CANDIDATES: usize = 3 << 20;
/// Queries that share the decoding of rows, however many candidates each has.
const LEAST_BLOCK: usize = 4 * WIDE_GROUP;
/// Calls are whole groups of so many queries, or half as many, but for AMX.
const WIDE_GROUP: usize = 2 * NARROW_GROUP;
/// Queries that are searched by stages together, so that first stages are read once for them; all of [`SOME`] from [`SOME_FROM`] rows on.
const TOGETHER: usize = 16;
/// Queries of a larger batch that are searched so first: they tell whether it leaves rows unread.
const FIRST: usize = 4;
/// So many queries at most are searched by stages where products are cheap: where an instruction multiplies bytes, and no level takes two.
/// Elsewhere any number is. They are as long as those before have read at most one row in [`SOME_ROWS`] in full; others share the decoding
/// of rows.
const SOME: usize = 48;
const SOME_ROWS: usize = 128;
const SOME_FROM: usize = 32_768;
/// Where more than one row in so many is wanted, no query goes by stages.
const MOST_ROWS: usize = 4;
/// The same where no instruction multiplies bytes: decoded rows then cost so much that more are worth reading one by one.
const DEAR_ROWS: usize = 32;
/// Where the first stage is the whole code, one row in so many, not more, may be asked for.
const WHOLE_ROWS: usize = 64;

/// Neighbours of a batch of queries: `k` places a query, nearest first; missing places hold id −1 and the worst score.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbors {
    /// Scores, k a query: inner products or cosines (larger is nearer), or squared L2 distances (smaller is nearer, never below 0).
    pub scores: Vec<f32>,
    /// Ids, k a query.
    pub ids: Vec<i64>,
}

/// What a search is asked for. `k`, `filter`, `rescore` and `deviations` decide the answer, the others only how it is found.
///
/// # Examples
/// ```
/// use turboquant_rs::{Exec, SearchOptions};
/// let options = SearchOptions { exec: Exec { serial: true, ..Exec::default() }, ..SearchOptions::new(100) };
/// assert_eq!((options.k, options.exact), (100, false));
/// ```
#[derive(Debug, Clone, Copy)]
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
    /// Standard deviations of the first stage's error by which a score may pass its estimate before it is cut (docs/numerics.md section 12),
    /// 0 to [`MAX_DEVIATIONS`](Self::MAX_DEVIATIONS). [`DEVIATIONS`](Self::DEVIATIONS) costs less than 0.001 of recall; fewer leave more
    /// rows unread and lose more. Indexes of codes without a first stage do not depend on it.
    pub deviations: f32,
    /// Kernels and threads.
    pub exec: Exec,
}

impl Default for SearchOptions<'_> {
    fn default() -> Self {
        let (filter, rescore, exact, deviations, exec) = (None, 0, false, Self::DEVIATIONS, Exec::default());
        Self { k: 0, filter, rescore, exact, deviations, exec }
    }
}

impl SearchOptions<'_> {
    /// The deviations of a search that is asked for nothing else.
    pub const DEVIATIONS: f32 = 3.0;
    /// The most deviations.
    pub const MAX_DEVIATIONS: f32 = 1000.0;

    /// The `k` nearest of all rows.
    #[must_use]
    pub fn new(k: usize) -> Self {
        Self { k, ..Self::default() }
    }
}

/// What a search read. Rows are counted for every query; bytes that several queries share, once. On several threads the rows of one query
/// that are read in full depend on which thread is ahead; its answer does not. Rows count each time they are read: for a large k also those
/// of a sample that guesses its floor, and all that are read again where it guessed too high.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use turboquant_rs::{Index, Metric, Options, SearchOptions, SearchStats, TurboQuant};
/// let mut index = Index::new(Arc::new(TurboQuant::new(8, 4, Options::default())?), Metric::InnerProduct);
/// index.add(&[0.5; 3 * 8], None)?;
/// let (mut scores, mut ids) = ([0.0], [0]);
/// let options = SearchOptions { exact: true, ..SearchOptions::new(1) };
/// let stats = index.search_into(&[0.5; 8], options, &mut scores, &mut ids)?;
/// assert_eq!(stats, SearchStats { full_rows: 3, full_bytes: 3 * (4 + 4), ..SearchStats::default() });
/// # Ok::<(), turboquant_rs::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SearchStats {
    /// Rows whose first stage was read alone.
    pub first_stage_rows: usize,
    /// Bytes of those stages, with the rows' bounds, scales and squared norms.
    pub first_stage_bytes: usize,
    /// Rows that were read in full.
    pub full_rows: usize,
    /// Bytes of those rows, with scales and squared norms.
    pub full_bytes: usize,
}

impl SearchStats {
    /// Counts rows of so many bytes that are read in full, once for all queries.
    pub(super) fn full(&mut self, rows: usize, queries: usize, row_bytes: usize) {
        self.full_rows += rows * queries;
        self.full_bytes += rows * row_bytes;
    }
}

impl AddAssign for SearchStats {
    fn add_assign(&mut self, other: Self) {
        self.first_stage_rows += other.first_stage_rows;
        self.first_stage_bytes += other.first_stage_bytes;
        self.full_rows += other.full_rows;
        self.full_bytes += other.full_bytes;
    }
}

/// The rows within a threshold, for a batch of queries: those of query i are at `lims[i]..lims[i + 1]`, nearest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Within {
    /// Where each query's rows start, and the end of the last one's.
    pub lims: Vec<usize>,
    /// Scores, as [`Neighbors::scores`].
    pub scores: Vec<f32>,
    /// Ids.
    pub ids: Vec<i64>,
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
    /// As for [`search`](Self::search), and [`Error::Argument`] for a filter of another index, for deviations out of range, and to rescore without rows.
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
        let (k, nq) = (options.k, self.checked_queries(queries, options)?);
        for (argument, len) in [("scores", scores.len()), ("ids", ids.len())] {
            if nq.checked_mul(k) != Some(len) {
                return Err(Error::argument(argument, format!("{k} places for each of {nq} queries"), len));
            }
        }
        if options.rescore > 0 {
            return self.rescored_into(queries, options, scores, ids);
        }
        let mut places = scores.chunks_exact_mut(k).zip(ids.chunks_exact_mut(k));
        self.search_all(queries, options, f32::NEG_INFINITY, |_, best| {
            let (scores, ids) = places.next().expect("places for every query");
            for ((score, id), candidate) in scores.iter_mut().zip(&mut *ids).zip(best) {
                (*score, *id) = (self.score_of(*candidate), candidate.id);
            }
            scores[best.len()..].fill(self.metric.worst());
            ids[best.len()..].fill(-1);
        })
    }

    /// All rows whose score, as a search reports it, is at least `threshold`, with l2 at most, for every query; in a search's order.
    ///
    /// # Errors
    /// As for [`search`](Self::search), and [`Error::Argument`] for a threshold that is NaN.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use turboquant_rs::{Index, Metric, Options, TurboQuant};
    /// let mut index = Index::new(Arc::new(TurboQuant::new(2, 8, Options::default())?), Metric::L2);
    /// index.add(&[1.0, 0.0, 0.0, 1.0, 3.0, 3.0], None)?;
    /// let found = index.range_search(&[0.1, 0.9, 9.0, 9.0], 2.0)?;
    /// assert_eq!((found.lims, found.ids), (vec![0, 2, 2], vec![1, 0]));
    /// # Ok::<(), turboquant_rs::Error>(())
    /// ```
    pub fn range_search(&self, queries: &[f32], threshold: f32) -> Result<Within> {
        Ok(self.range_search_with(queries, threshold, SearchOptions::new(usize::MAX))?.0)
    }

    /// [`range_search`](Self::range_search) with a choice of rows, kernels and threads, at most the k nearest of each query; and what it
    /// read.
    ///
    /// # Errors
    /// As for [`range_search`](Self::range_search), and [`Error::Argument`] for a filter of another index, k = 0 or rescore.
    pub fn range_search_with(
        &self,
        queries: &[f32],
        threshold: f32,
        options: SearchOptions<'_>,
    ) -> Result<(Within, SearchStats)> {
        self.checked_queries(queries, options)?;
        if options.rescore > 0 {
            return Err(Error::argument("rescore", "0 for a range, whose scores are those of codes", options.rescore));
        }
        if threshold.is_nan() {
            return Err(Error::argument("threshold", "a number", threshold));
        }
        let least = match self.metric {
            // Distances are reported clamped, and then none is below 0.
            Metric::L2 if threshold < 0.0 => f32::INFINITY,
            Metric::L2 => -threshold,
            Metric::InnerProduct | Metric::Cosine => threshold,
        };
        let mut found = Within { lims: vec![0], scores: Vec::new(), ids: Vec::new() };
        let stats = self.search_all(queries, options, least, |_, best| {
            let within = |score: &f32| self.metric != Metric::L2 || *score <= threshold;
            for (score, candidate) in best.iter().map(|candidate| (self.score_of(*candidate), candidate)) {
                if within(&score) {
                    found.scores.push(score);
                    found.ids.push(candidate.id);
                }
            }
            found.lims.push(found.ids.len());
        })?;
        Ok((found, stats))
    }

    /// How many queries there are, if they and the options may be searched for.
    fn checked_queries(&self, queries: &[f32], options: SearchOptions<'_>) -> Result<usize> {
        if options.k == 0 {
            return Err(Error::argument("k", "at least 1", options.k));
        }
        let SearchOptions { deviations, .. } = options;
        if !(0.0..=SearchOptions::MAX_DEVIATIONS).contains(&deviations) {
            return Err(Error::argument("deviations", "0 to 1000", deviations));
        }
        self.check_filter(options.filter)?;
        self.codec().rows_of("queries", queries)
    }

    /// Searches for all queries, whose best candidates with a key of at least `least` go to `each` in turn.
    fn search_all(
        &self,
        queries: &[f32],
        options: SearchOptions<'_>,
        least: f32,
        mut each: impl FnMut(usize, &[Candidate]),
    ) -> Result<SearchStats> {
        let options = SearchOptions { exec: options.exec.settled()?, ..options };
        let dim = self.codec().dim();
        let nq = queries.len() / dim;
        self.ids.check_all()?;
        let n = options.filter.map_or(self.stored(), Filter::len);
        let codec = self.codec();
        let two_bytes = codec.groups(&codec.spec().full()).iter().any(|group| !group.one_byte());
        let cheap = options.exec.level()?.multiplies_bytes();
        let some = if cheap && !two_bytes { SOME } else { usize::MAX };
        let together = if some == SOME && n >= SOME_FROM { SOME } else { TOGETHER };
        let some_rows = if cheap { SOME_ROWS } else { DEAR_ROWS };
        // The k best are read in full, whatever their first stages tell; of a range nobody knows how many there are.
        let sure = if least == f32::NEG_INFINITY { options.k } else { 0 };
        let few = nq <= some && sure <= n / if nq <= TOGETHER { MOST_ROWS } else { some_rows };
        let staged = match self.partitions[0].first().filter(|_| !options.exact && few) {
            Some((stage, _)) => !stage.is_whole() || options.k <= n / WHOLE_ROWS,
            None => false,
        };
        let most = CANDIDATES / candidates(options.k.min(self.len())).max(1) / WIDE_GROUP * WIDE_GROUP;
        let most = most.clamp(LEAST_BLOCK, QUERY_BLOCK);
        let (mut stats, mut sampled, mut first) = (SearchStats::default(), SearchStats::default(), 0);
        let (mut merge, k) = (Merge::new(options.exec.level()?), options.k.min(self.len()));
        while first < nq {
            // By stages as long as that leaves rows unread; else the rest together, so that reading rows is shared.
            let by_stages = staged && stats.full_rows * some_rows <= first * n;
            let some = if first == 0 && nq > together { FIRST } else { together };
            // Equal parts, so that rows are decoded for no few of them.
            let even = (nq - first).div_ceil((nq - first).div_ceil(most)).next_multiple_of(WIDE_GROUP);
            let block = if by_stages { some } else { even }.min(nq - first);
            let queries = &queries[first * dim..(first + block) * dim];
            // By stages few rows are read without a guessed floor, unless they are results.
            let guess = sure > if by_stages { n / some_rows } else { 0 };
            let read = (&mut stats, &mut sampled);
            let found = self.search_block(queries, options, (by_stages, guess), least, read);
            let found = found.map_err(|error| error.with_first_row(first))?;
            (first..).zip(found).for_each(|(query, tops)| each(query, merge.best(tops, k)));
            first += block;
        }
        // Samples tell nothing of what stages leave unread, so they count only now.
        stats += sampled;
        Ok(stats)
    }

    /// A candidate's score as it is reported.
    fn score_of(&self, candidate: Candidate) -> f32 {
        if self.metric == Metric::L2 { (-candidate.key).max(0.0) } else { candidate.key }
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
