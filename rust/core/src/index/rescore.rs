//! Exact scores of candidates, from kept rows or from the caller's: float64, one sum order, rounded to float32 once (docs/numerics.md
//! section 14).

use super::{Index, Originals, SearchOptions, SearchStats};
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::parallel::Exec;
use crate::topk::{Merge, TopK};

/// Partial sums of the summation tree.
const LANES: usize = 64;
/// Queries whose candidates are held at a time.
const QUERIES: usize = 256;

impl Index {
    /// The `k` best by exact scores of the `k · rescore` nearest by codes.
    pub(super) fn rescored_into(
        &self,
        queries: &[f32],
        options: SearchOptions<'_>,
        scores: &mut [f32],
        ids: &mut [i64],
    ) -> Result<SearchStats> {
        let (dim, k, mut stats) = (self.codec().dim(), options.k, SearchStats::default());
        self.kept()?;
        let candidates = k.saturating_mul(options.rescore).min(self.len()).max(1);
        let by_codes = SearchOptions { k: candidates, rescore: 0, ..options };
        let mut merge = Merge::new(options.exec.level()?);
        let outputs = scores.chunks_mut(QUERIES * k).zip(ids.chunks_mut(QUERIES * k));
        for (i, (queries, (scores, ids))) in queries.chunks(QUERIES * dim).zip(outputs).enumerate() {
            let places = queries.len() / dim * candidates;
            let (mut exact, mut found) = (vec![0.0; places], vec![0; places]);
            let read = self.search_into(queries, by_codes, &mut exact, &mut found);
            let read = read.map_err(|error| error.with_first_row(i * QUERIES))?;
            stats += read;
            self.exact_scores_into(queries, &found, &mut exact, options.exec)?;
            best((self.metric, &mut merge), (&exact, &found), candidates, k, scores, ids);
        }
        Ok(stats)
    }

    /// Exact scores of `ids`, equally many a query, from the rows that the index keeps; id −1 gets the worst score.
    ///
    /// # Errors
    /// [`Error::Argument`] if the index keeps no rows or a length does not fit, [`Error::NonFinite`] for faulty queries,
    /// [`Error::UnknownId`].
    pub fn exact_scores_into(&self, queries: &[f32], ids: &[i64], out: &mut [f32], exec: Exec) -> Result<()> {
        let originals = self.kept()?;
        self.ids.check_all()?;
        let numbers = ids.iter().map(|&id| match id {
            -1 => Ok(None),
            id => {
                let number = self.ids.number(id).ok_or(Error::UnknownId { id })?;
                originals.check(number).map(|()| Some(number))
            }
        });
        let numbers: Vec<_> = numbers.collect::<Result<_>>()?;
        self.exact_into(queries, out, exec, |place, row| {
            numbers[place].inspect(|&number| originals.row(number, row)).is_some()
        })
    }

    /// Exact scores of the caller's `rows`, equally many a query.
    ///
    /// # Errors
    /// [`Error::Argument`] if a length does not fit, [`Error::NonFinite`] for faulty queries or rows.
    pub fn exact_scores_of_into(&self, queries: &[f32], rows: &[f32], out: &mut [f32], exec: Exec) -> Result<()> {
        let dim = self.codec().dim();
        if rows.len() != out.len() * dim {
            return Err(Error::argument("rows", format!("{} rows of {dim} values", out.len()), rows.len()));
        }
        finite("rows", rows, dim)?;
        self.exact_into(queries, out, exec, |place, row| {
            widened(&rows[place * dim..][..dim], row);
            true
        })
    }

    /// Scores rows that `fetch` writes by place; where it says no, there is none.
    fn exact_into(
        &self,
        queries: &[f32],
        out: &mut [f32],
        exec: Exec,
        fetch: impl Fn(usize, &mut [f64]) -> bool + Sync + Send,
    ) -> Result<()> {
        let (nq, dim, metric) = (self.codec().rows_of("queries", queries)?, self.codec().dim(), self.metric);
        finite("queries", queries, dim)?;
        if nq == 0 || !out.len().is_multiple_of(nq) {
            let fits = nq == 0 && out.is_empty();
            return if fits { Ok(()) } else { Err(Error::argument("out", "equally long a query", out.len())) };
        }
        let each = out.len() / nq;
        let tasks: Vec<_> = queries.chunks_exact(dim).zip(out.chunks_mut(each.max(1))).enumerate().collect();
        exec.map(tasks, |(i, (query, out))| {
            let (mut wide, mut row) = (vec![0.0; dim], vec![0.0; dim]);
            widened(query, &mut wide);
            for (j, out) in out.iter_mut().enumerate() {
                *out = if fetch(i * each + j, &mut row) { exact(metric, &wide, &row) } else { metric.worst() };
            }
        });
        Ok(())
    }

    fn kept(&self) -> Result<&Originals> {
        let expected = "left out, since this index keeps no rows to score exactly (keep= makes it do so)";
        self.originals.as_ref().ok_or_else(|| Error::argument("rescore", expected, "one"))
    }
}

/// The `k` best of each query's candidates.
fn best(
    (metric, merge): (Metric, &mut Merge),
    (exact, candidates): (&[f32], &[i64]),
    each: usize,
    k: usize,
    scores: &mut [f32],
    ids: &mut [i64],
) {
    scores.fill(metric.worst());
    ids.fill(-1);
    let places = scores.chunks_mut(k).zip(ids.chunks_mut(k));
    for ((exact, candidates), (scores, ids)) in exact.chunks(each).zip(candidates.chunks(each)).zip(places) {
        let (mut top, sign) = (TopK::new(k, f32::NEG_INFINITY), if metric == Metric::L2 { -1.0 } else { 1.0 });
        let there = exact.iter().zip(candidates).filter(|(_, id)| **id >= 0);
        there.for_each(|(&score, &id)| top.offer(sign * score, id));
        for ((score, id), found) in scores.iter_mut().zip(ids).zip(merge.best([top], k)) {
            // 0 − 0 is 0, so that no distance is −0.
            (*score, *id) = (if sign < 0.0 { 0.0 - found.key } else { found.key }, found.id);
        }
    }
}

fn finite(argument: &'static str, x: &[f32], dim: usize) -> Result<()> {
    match x.iter().position(|value| !value.is_finite()) {
        Some(at) => {
            let (row, column, value) = (at / dim, at % dim, x[at].to_string());
            Err(Error::NonFinite { argument, row, column, value })
        }
        None => Ok(()),
    }
}

/// Values in float64, 0 where they are below 2^−126.
fn widened(x: &[f32], out: &mut [f64]) {
    let limit = f32::MIN_POSITIVE.to_bits();
    for (out, &value) in out.iter_mut().zip(x) {
        *out = if value.to_bits() & !(1 << 31) < limit { 0.0 } else { f64::from(value) };
    }
}

/// The score of one pair: every operation in float64, no value near its limits.
fn exact(metric: Metric, query: &[f64], row: &[f64]) -> f32 {
    let score = match metric {
        Metric::InnerProduct => tree_sum(query, row, |a, b| a * b),
        Metric::L2 => tree_sum(query, row, |a, b| (a - b) * (a - b)),
        Metric::Cosine => {
            let dot = tree_sum(query, row, |a, b| a * b);
            let squares = [query, row].map(|x| tree_sum(x, x, |a, b| a * b));
            if squares.contains(&0.0) { 0.0 } else { dot / (squares[0].sqrt() * squares[1].sqrt()) }
        }
    };
    if score.abs() < f64::from(f32::MIN_POSITIVE) { 0.0 } else { score as f32 }
}

/// The summation tree of docs/numerics.md section 3, in float64.
fn tree_sum(a: &[f64], b: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        lanes.iter_mut().zip(a).zip(b).for_each(|((lane, &a), &b)| *lane += term(a, b));
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        (0..width).for_each(|i| lanes[i] += lanes[i + width]);
    }
    lanes[0]
}
