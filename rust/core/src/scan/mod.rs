//! Scores of queries against codes: integers first, one rounding to float32 a segment (docs/numerics.md section 10).
//!
//! A block of rows is decoded once to an int8 panel and multiplied with all queries. Same query and codes: same score, on every
//! processor, for any batch, block and number of threads.

mod panel;
mod query;

pub(crate) use panel::{Rows, Scanner};
pub(crate) use query::PreparedQueries;

use crate::codec::TurboQuant;
use crate::codes::CodesView;
use crate::error::{Error, Result};
use crate::parallel::Exec;

/// Rows of a panel: with 1,024 coordinates 64 KiB, inside a second-level cache beside the queries.
pub(crate) const PANEL_ROWS: usize = 64;
/// Queries scored together; bounds the buffers of a batch.
pub(crate) const QUERY_BLOCK: usize = 256;

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
        let codes = codes.into();
        self.check_codes(&codes)?;
        let nq = self.rows_of("queries", queries)?;
        let n = codes.len();
        if out.len() != nq * n {
            return Err(Error::argument("out", format!("{} long ({nq} queries, {n} rows)", nq * n), out.len()));
        }
        if n == 0 {
            // Faulty queries are refused all the same.
            return PreparedQueries::new(self, queries, codes.keep, false, exec).map(drop);
        }
        let rows = Rows::packed(self, &codes);
        // Tasks are blocks of queries: each owns whole rows of the output.
        let block = exec.rows_per_task(nq, 1).clamp(1, QUERY_BLOCK);
        let tasks: Vec<_> = queries.chunks(block * self.dim()).zip(out.chunks_mut(block * n)).enumerate().collect();
        exec.try_for_each(tasks, |(i, (queries, out))| {
            let serial = Exec { serial: true, ..exec };
            let queries = PreparedQueries::new(self, queries, codes.keep, false, serial)
                .map_err(|error| error.with_first_row(i * block))?;
            let mut scanner = Scanner::new(self, codes.keep, exec)?;
            scanner.scan(&rows, 0..n, &queries, 0..queries.len(), |query, first, scores| {
                out[query * n + first..][..scores.len()].copy_from_slice(scores);
            });
            Ok(())
        })
    }
}
