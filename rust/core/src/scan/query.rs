//! Prepared queries: rotated, rounded to one- or two-byte integers.

use crate::codebook::{ONE_BYTE, TWO_BYTES, halves, integer_levels};
use crate::codec::{TurboQuant, prepare, row_norms, times_power};
use crate::error::{Error, Result};
use crate::kernels::Level;
use crate::kernels::dot::PANEL_STEP;
use crate::parallel::Exec;

/// A query's norm must be below this, so that no product of a finite scale and a score is NaN.
const QUERY_NORM_LIMIT: f64 = 79_228_162_514_264_337_593_543_950_336.0;

/// The queries of one group of segments.
#[derive(Debug)]
pub(crate) struct GroupQueries {
    /// Integers (or their high bytes), rows padded with zeros to a panel's width.
    pub(crate) high: Vec<i8>,
    /// Low bytes of two-byte integers; empty for widths up to 4.
    pub(crate) low: Vec<i8>,
    /// What one unit of the integer product is worth, F of docs/numerics.md, one a query.
    pub(crate) factors: Vec<f32>,
}

/// A batch of prepared queries.
#[derive(Debug)]
pub(crate) struct PreparedQueries {
    pub(crate) groups: Vec<GroupQueries>,
    /// ⟨query, center⟩ of a codec that has a center, to be added to every score.
    pub(crate) center: Option<Vec<f32>>,
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
        let (parts, center) = rotated(codec, level, &prepared, &norms);
        // One value of a query, brought back from the prepared query to the query itself or to its direction.
        let restored = |value: f32, row: usize| match (cosine, norms[row] == 0.0) {
            (false, _) => times_power(value, exponents[row]),
            (true, true) => 0.0,
            (true, false) => value / norms[row],
        };
        let groups = codec.groups(keep).into_iter().map(|group| {
            let scale = integer_levels(group.bits, group.keep, group.table_dim).scale;
            let mut out = GroupQueries { high: Vec::new(), low: Vec::new(), factors: Vec::with_capacity(len) };
            let mut whole = Vec::with_capacity(group.dim);
            for row in 0..len {
                whole.clear();
                group.segments.iter().for_each(|&(i, m)| whole.extend_from_slice(&parts[i][row * m..][..m]));
                let reach = if group.keep <= 4 { ONE_BYTE } else { TWO_BYTES };
                let unit = out.push(&whole, reach, group.keep > 4);
                out.factors.push(restored(unit * scale, row));
            }
            out
        });
        // Finite, so that a score beyond float32 plus this share is not NaN.
        let center = center.map(|shares| {
            let shares = shares.into_iter().enumerate();
            shares.map(|(row, share)| restored(share, row).clamp(f32::MIN, f32::MAX)).collect()
        });
        Ok(Self { groups: groups.collect(), center, len })
    }

    /// Queries in the batch.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl GroupQueries {
    /// Appends one rotated query, rounded so that its largest magnitude becomes `reach`; returns the value of one unit.
    fn push(&mut self, row: &[f32], reach: f32, two_bytes: bool) -> f32 {
        let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let inverse = reach / if largest == 0.0 { 1.0 } else { largest };
        let integers = row.iter().map(|value| (value * inverse).round_ties_even().clamp(-reach, reach) as i32);
        let width = row.len().next_multiple_of(PANEL_STEP);
        let end = self.high.len() + width;
        if two_bytes {
            for (high, low) in integers.map(halves) {
                self.high.push(high);
                self.low.push(low);
            }
            self.low.resize(end, 0);
        } else {
            self.high.extend(integers.map(|value| value as i8));
        }
        self.high.resize(end, 0);
        largest / reach
    }
}

/// Prepared queries in the coordinates of each segment, and their products with the center of a codec that has one.
fn rotated(codec: &TurboQuant, level: Level, prepared: &[f32], norms: &[f32]) -> (Vec<Vec<f32>>, Option<Vec<f32>>) {
    let (dim, mut parts, mut spare) = (codec.dim(), Vec::new(), Vec::new());
    let mut center = None;
    if let Some(transform) = &codec.transform {
        parts = transform.queries(level, prepared, norms);
        center = transform.center_products(prepared);
    } else {
        parts.extend(codec.segments.iter().map(|segment| {
            let (m, start) = (segment.segment.dim, segment.segment.start);
            prepared.chunks_exact(dim).flat_map(|row| &row[start..start + m]).copied().collect()
        }));
    }
    for (segment, part) in codec.segments.iter().zip(&mut parts) {
        segment.rotation.apply(level, part, &mut spare);
    }
    (parts, center)
}
