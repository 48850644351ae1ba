//! Prepared queries: rotated, rounded to one- or two-byte integers.

use crate::codebook::{ONE_BYTE, TWO_BYTES, halves, integer_levels};
use crate::codec::{TurboQuant, prepare, row_norms, times_power};
use crate::error::{Error, Result};
use crate::kernels::Level;
use crate::kernels::product::Queries;
use crate::kernels::rows::round_scaled;
use crate::parallel::Exec;

/// A query's norm must be below this, so that no product of a finite scale and a score is NaN.
const QUERY_NORM_LIMIT: f64 = 79_228_162_514_264_337_593_543_950_336.0;

/// The queries of one segment.
#[derive(Debug)]
pub(crate) struct SegmentQueries {
    /// Integers, or their high bytes.
    pub(crate) high: Queries,
    /// Low bytes of two-byte integers, for widths from 5.
    pub(crate) low: Option<Queries>,
    /// What one unit of the integer product is worth, F of docs/numerics.md, one a query.
    pub(crate) factors: Vec<f32>,
}

/// A batch of prepared queries.
#[derive(Debug)]
pub(crate) struct PreparedQueries {
    pub(crate) segments: Vec<SegmentQueries>,
    len: usize,
}

impl PreparedQueries {
    /// Prepares rows of `dim` values for codes with `keep` bits a segment; `cosine` divides by each query's norm.
    pub(crate) fn new(codec: &TurboQuant, queries: &[f32], keep: &[u32], cosine: bool, exec: Exec) -> Result<Self> {
        codec.rows_of("queries", queries)?;
        Error::of_first_row(queries, codec.dim(), |queries| Self::prepare(codec, queries, keep, cosine, exec))
    }

    fn prepare(codec: &TurboQuant, queries: &[f32], keep: &[u32], cosine: bool, exec: Exec) -> Result<Self> {
        let (dim, level) = (codec.dim(), exec.level()?);
        let len = queries.len() / dim;
        let (mut tops, mut exponents, mut prepared, mut norms) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        prepare(level, "queries", queries, dim, &mut tops, &mut exponents, &mut prepared)?;
        row_norms(level, &prepared, dim, 0, dim, &mut norms);
        for (row, (&norm, &exponent)) in norms.iter().zip(&exponents).enumerate() {
            if !cosine && f64::from(norm) * 2.0_f64.powi(exponent) >= QUERY_NORM_LIMIT {
                return Err(Error::Norm { argument: "queries", row, limit: "below 2^96" });
            }
        }
        let mut spare = Vec::new();
        let segments = codec.segments.iter().zip(keep).map(|(segment, &keep)| {
            let (m, start) = (segment.segment.dim, segment.segment.start);
            let mut rotated: Vec<f32> =
                prepared.chunks_exact(dim).flat_map(|row| &row[start..start + m]).copied().collect();
            segment.rotation.apply(level, &mut rotated, &mut spare);
            let scale = integer_levels(segment.segment.bits, keep, m).scale;
            let low = (keep > 4).then(|| Queries::new(level, m));
            let mut out = SegmentQueries { high: Queries::new(level, m), low, factors: Vec::with_capacity(len) };
            let mut integers = vec![0; m];
            for (row, (&norm, &exponent)) in rotated.chunks_exact(m).zip(norms.iter().zip(&exponents)) {
                let unit = to_integers(level, row, if keep <= 4 { ONE_BYTE } else { TWO_BYTES }, &mut integers);
                out.push(&integers);
                let factor = unit * scale;
                out.factors.push(match (cosine, norm == 0.0) {
                    (false, _) => times_power(factor, exponent),
                    (true, true) => 0.0,
                    (true, false) => factor / norm,
                });
            }
            out.high.finish();
            out.low.iter_mut().for_each(Queries::finish);
            out
        });
        Ok(Self { segments: segments.collect(), len })
    }

    /// Queries in the batch.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl SegmentQueries {
    /// Appends one query's integers.
    fn push(&mut self, integers: &[i32]) {
        let Some(low) = &mut self.low else {
            return self.high.push(&integers.iter().map(|&value| value as i8).collect::<Vec<_>>());
        };
        let (highs, lows): (Vec<_>, Vec<_>) = integers.iter().map(|&value| halves(value)).unzip();
        self.high.push(&highs);
        low.push(&lows);
    }
}

/// Rounds a rotated query so that its largest magnitude becomes `reach`; returns the value of one unit.
fn to_integers(level: Level, row: &[f32], reach: f32, integers: &mut [i32]) -> f32 {
    let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    round_scaled(level, row, reach / if largest == 0.0 { 1.0 } else { largest }, reach, integers);
    largest / reach
}
