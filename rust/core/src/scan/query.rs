//! Prepared queries: rotated, rounded to one- or two-byte integers.

use super::first_stage::FirstStage;
use super::stage_queries::StageQueries;
use crate::codebook::{IntegerLevels, ONE_BYTE, TWO_BYTES, halves};
use crate::codec::{Group, TurboQuant, prepare, times_power};
use crate::error::{Error, Result};
use crate::kernels::Level;
use crate::kernels::product::{Queries, level_for};
use crate::kernels::rows::round_scaled;
use crate::kernels::single::{SPARE, Single};
use crate::parallel::Exec;

/// A query's norm must be below this, so that no product of a finite scale and a score is NaN.
const QUERY_NORM_LIMIT: f64 = 79_228_162_514_264_337_593_543_950_336.0;

/// The queries of one group of segments.
#[derive(Debug)]
pub(crate) struct GroupQueries {
    /// Integers, or their high bytes.
    pub(crate) high: Queries,
    /// Low bytes of two-byte integers.
    pub(crate) low: Option<Queries>,
    /// What one unit of the integer product is worth, F of docs/numerics.md, one a query.
    pub(crate) factors: Vec<f32>,
}

/// A batch of prepared queries.
#[derive(Debug)]
pub(crate) struct PreparedQueries {
    pub(crate) groups: Vec<GroupQueries>,
    /// ⟨query, center⟩ of a codec that has a center, to be added to every score.
    pub(crate) center: Option<Vec<f32>>,
    /// For the first stage, where rows are ranked that have one.
    pub(crate) stage: Option<StageQueries>,
    /// The queries for rows one by one, where a first stage chooses them.
    singles: Vec<Single>,
    /// What groups are laid out for, and panels must be.
    pub(crate) level: Level,
    len: usize,
}

/// What else queries are prepared for, where rows have a first stage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Staged<'a> {
    pub(crate) first: &'a FirstStage,
    /// Standard deviations of its error by which scores may lie above its estimates.
    pub(crate) deviations: f32,
    /// Whether it chooses rows that are then scored one by one.
    pub(crate) chooses: bool,
}

/// What queries are prepared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryFor {
    /// Inner products.
    Scores,
    /// Cosines: divided by each query's norm.
    Cosines,
}

impl PreparedQueries {
    /// Prepares rows of `dim` values for codes with `keep` bits a segment, and for their first stage if that is given.
    pub(crate) fn new(
        codec: &TurboQuant,
        queries: &[f32],
        keep: &[u32],
        to: QueryFor,
        first: Option<Staged<'_>>,
        exec: Exec,
    ) -> Result<Self> {
        codec.rows_of("queries", queries)?;
        Error::of_first_row(queries, codec.dim(), |queries| Self::prepare(codec, queries, keep, to, first, exec))
    }

    fn prepare(
        codec: &TurboQuant,
        queries: &[f32],
        keep: &[u32],
        to: QueryFor,
        first: Option<Staged<'_>>,
        exec: Exec,
    ) -> Result<Self> {
        let (level, len) = (exec.level()?, queries.len() / codec.dim());
        let rotated = RotatedQueries::new(codec, queries, to, level)?;
        let RotatedQueries { parts, norms, .. } = &rotated;
        let restored = |value, row| rotated.restored(value, row);
        let units = codec.spec().units(keep);
        let chosen = if first.is_some_and(|first| first.chooses) { len } else { 0 };
        let mut singles: Vec<_> = (0..chosen).map(|_| Single::new(codec.row_bytes())).collect();
        let batch = level_for(level, len);
        let groups = codec.groups(keep).into_iter().map(|group| {
            let levels = group.levels();
            let low = (!group.one_byte()).then(|| Queries::new(batch, group.dim));
            let high = Queries::new(batch, group.dim);
            let mut out = GroupQueries { high, low, factors: Vec::with_capacity(len) };
            let (mut whole, mut integers) = (Vec::with_capacity(group.dim), vec![0; group.dim]);
            for row in 0..len {
                let factor = rotated.integers(level, (&group, &levels), row, &mut whole, &mut integers);
                out.push(&integers);
                out.factors.push(factor);
                if let Some(single) = singles.get_mut(row) {
                    let parts =
                        group.segments.iter().map(|&(i, m)| (m, units[i].iter().map(|unit| unit.place(0)).collect()));
                    single.push(group.keep, &levels.values, parts, &integers);
                }
            }
            out.high.finish();
            out.low.iter_mut().for_each(Queries::finish);
            out
        });
        let groups: Vec<GroupQueries> = groups.collect();
        // Finite, so that a score beyond float32 plus this share is not NaN.
        let center = rotated.center.as_ref().map(|shares| {
            let shares = shares.iter().enumerate();
            shares.map(|(row, &share)| restored(share, row).clamp(f32::MIN, f32::MAX)).collect()
        });
        let center: Option<Vec<_>> = center;
        let stage = first.map(|Staged { first, deviations, .. }| {
            let centers = center.as_deref();
            let of = (&parts[..], &groups[0].factors[..]);
            StageQueries::new((codec, first, deviations), level, of, norms, centers, restored)
        });
        Ok(Self { groups, center, stage, singles, level: batch, len })
    }

    /// Bytes that the row of [`score_of_row`](Self::score_of_row) takes, more than a row.
    pub(crate) const SPARE: usize = SPARE;

    /// The score of one row for one of queries for which the first stage chooses: a packed row of whole codes and
    /// [`SPARE`](Self::SPARE) bytes, and its scale.
    pub(crate) fn score_of_row(&self, level: Level, query: usize, row: &[u8], scale: f32) -> f32 {
        let (mut factors, mut total) = (self.groups.iter().map(|group| group.factors[query]), None);
        self.singles[query].products(level, row, |product| {
            let share = factors.next().expect("a factor a group") * product as f32;
            total = Some(total.map_or(share, |total: f32| total + share));
        });
        let score = total.expect("a group at least") * scale;
        self.center.as_ref().map_or(score, |center| score + center[query])
    }

    /// What a row costs that is read alone for one query, where one of a panel, decoded once for all queries, costs 1: by measurement, 3 to
    /// 5 at 128 to 1,536 dims where an instruction multiplies bytes and no level takes two.
    pub(crate) fn alone(&self) -> f64 {
        let cheap = self.level.multiplies_bytes() && self.groups.iter().all(|group| group.low.is_none());
        if cheap { 4.0 } else { 2.0 }
    }

    /// Queries in the batch.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// Queries in the coordinates of each segment, before they are rounded.
pub(super) struct RotatedQueries {
    parts: Vec<Vec<f32>>,
    /// Their products with the center of a codec that has one.
    center: Option<Vec<f32>>,
    /// Norms without their powers of two, and these.
    pub(super) norms: Vec<f32>,
    pub(super) exponents: Vec<i32>,
    cosine: bool,
}

impl RotatedQueries {
    pub(super) fn new(codec: &TurboQuant, queries: &[f32], to: QueryFor, level: Level) -> Result<Self> {
        let (dim, cosine) = (codec.dim(), to == QueryFor::Cosines);
        let (mut tops, mut exponents, mut prepared, mut norms) =
            (Vec::new(), Vec::new(), vec![0.0; queries.len()], Vec::new());
        prepare(level, "queries", queries, dim, &mut tops, &mut exponents, &mut prepared, &mut norms)?;
        for (row, (&norm, &exponent)) in norms.iter().zip(&exponents).enumerate() {
            if !cosine && f64::from(norm) * 2.0_f64.powi(exponent) >= QUERY_NORM_LIMIT {
                return Err(Error::Norm { argument: "queries", row, limit: "below 2^96" });
            }
        }
        let (parts, center) = rotated(codec, level, &prepared, &norms);
        Ok(Self { parts, center, norms, exponents, cosine })
    }

    /// The integers of a query for a group, as wide as its codes ask for; returns what one unit of the integer product is worth. `whole` is
    /// for its coordinates.
    pub(super) fn integers(
        &self,
        level: Level,
        (group, levels): (&Group, &IntegerLevels),
        row: usize,
        whole: &mut Vec<f32>,
        integers: &mut [i32],
    ) -> f32 {
        whole.clear();
        group.segments.iter().for_each(|&(i, m)| whole.extend_from_slice(&self.parts[i][row * m..][..m]));
        let reach = if group.one_byte() { ONE_BYTE } else { TWO_BYTES };
        let unit = to_integers(level, whole, reach, integers);
        self.restored(unit * levels.scale, row)
    }

    /// One value of a query, brought back from the prepared query to the query itself or to its direction.
    fn restored(&self, value: f32, row: usize) -> f32 {
        match (self.cosine, self.norms[row] == 0.0) {
            (false, _) => times_power(value, self.exponents[row]),
            (true, true) => 0.0,
            (true, false) => value / self.norms[row],
        }
    }
}

impl GroupQueries {
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
pub(super) fn to_integers(level: Level, row: &[f32], reach: f32, integers: &mut [i32]) -> f32 {
    let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    round_scaled(level, row, reach / if largest == 0.0 { 1.0 } else { largest }, reach, integers);
    largest / reach
}

/// Prepared queries in the coordinates of each segment, and their products with the center of a codec that has one.
fn rotated(codec: &TurboQuant, level: Level, prepared: &[f32], norms: &[f32]) -> (Vec<Vec<f32>>, Option<Vec<f32>>) {
    let (dim, mut parts, mut spare) = (codec.dim(), Vec::new(), Vec::new());
    let mut center = None;
    if let Some(transform) = &codec.transform {
        parts = transform.queries(level, prepared, norms);
        center = transform.center_products(prepared);
    } else {
        let mut ordered = Vec::new();
        let prepared = match &codec.spec().outliers {
            Some(outliers) => {
                outliers.gather(prepared, &mut ordered);
                &ordered
            }
            None => prepared,
        };
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
