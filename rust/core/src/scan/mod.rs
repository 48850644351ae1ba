//! Scores of queries against codes: integers first, one rounding to float32 a segment (docs/numerics.md section 10).
//!
//! A block of rows is decoded once to an int8 panel and multiplied with all queries. Same query and codes: same score, on every
//! processor, for any batch, block and number of threads.

#[cfg(test)]
mod batch_tests;
mod first_stage;
mod integers;
mod join;
mod linear_stage;
mod panel;
mod query;
mod sign_stage;
mod stage_queries;
mod whole_stage;

pub(crate) use first_stage::FirstStage;
pub use integers::QueryIntegers;
pub(crate) use panel::{Rows, Scanner};
pub(crate) use query::{PreparedQueries, QueryFor, Staged};
pub(crate) use stage_queries::StageQueries;

use crate::codec::TurboQuant;
use crate::codes::CodesView;
use crate::error::{Error, Result};
use crate::parallel::Exec;

/// Rows of a panel: with 1,024 coordinates 64 KiB, inside a second-level cache beside a group of queries.
pub(crate) const PANEL_ROWS: usize = crate::kernels::scores::MARKED;
/// Queries scored together: enough that decoding a panel costs little beside its products; bounds the buffers of a batch.
pub(crate) const QUERY_BLOCK: usize = 1_008;

impl TurboQuant {
    /// Estimated inner products of every query with every encoded row: nq·n values, row-major; larger is nearer.
    ///
    /// # Errors
    /// [`Error::OtherCodec`] if the codes come from another codec; [`Error::Argument`], [`Error::NonFinite`], [`Error::Norm`] (2^96 or
    /// more) for faulty queries.
    pub fn score<'a>(&self, queries: &[f32], codes: impl Into<CodesView<'a>>) -> Result<Vec<f32>> {
        let codes = codes.into();
        let nq = self.rows_of("queries", queries)?;
        let mut out = vec![0.0; nq * codes.len()];
        self.score_into(queries, codes, &mut out, Exec::default())?;
        Ok(out)
    }

    /// [`score`](Self::score) into the caller's buffer of nq·n values.
    ///
    /// # Errors
    /// As for [`score`](Self::score), and [`Error::Argument`] if `out` has another length.
    pub fn score_into<'a>(
        &self,
        queries: &[f32],
        codes: impl Into<CodesView<'a>>,
        out: &mut [f32],
        exec: Exec,
    ) -> Result<()> {
        let (codes, exec) = (codes.into(), exec.settled()?);
        self.check_codes(&codes)?;
        let nq = self.rows_of("queries", queries)?;
        let n = codes.len();
        if out.len() != nq * n {
            return Err(Error::argument("out", format!("{} long ({nq} queries, {n} rows)", nq * n), out.len()));
        }
        let rows = Rows::packed(self, &codes);
        let step = exec.rows_per_task(n, Exec::SCAN_ROWS);
        for (i, queries) in queries.chunks(QUERY_BLOCK * self.dim()).enumerate() {
            let first_query = i * QUERY_BLOCK;
            let queries = PreparedQueries::new(self, queries, codes.keep, QueryFor::Scores, None, exec)
                .map_err(|error| error.with_first_row(first_query))?;
            // A task is a range of rows and owns that range of every query's scores.
            let mut tasks: Vec<_> = (0..n).step_by(step).map(|first| (first, Vec::new())).collect();
            for scores in out[first_query * n..].chunks_mut(n.max(1)).take(queries.len()) {
                tasks.iter_mut().zip(scores.chunks_mut(step)).for_each(|((_, outs), part)| outs.push(part));
            }
            exec.try_for_each(tasks, |(start, mut outs): (usize, Vec<&mut [f32]>)| {
                let mut scanner = Scanner::new(self, codes.keep);
                let range = start..start + outs.first().map_or(0, |out| out.len());
                scanner.scan(&rows, range, &queries, |queries, rows, _, scores| {
                    for (out, scores) in outs[queries].iter_mut().zip(scores.chunks_exact(PANEL_ROWS)) {
                        out[rows.start - start..rows.end - start].copy_from_slice(&scores[..rows.len()]);
                    }
                });
                Ok(())
            })?;
        }
        Ok(())
    }
}
