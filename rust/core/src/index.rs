//! A flat index: an exact scan of codes with three metrics.

use std::collections::HashMap;
use std::sync::Arc;

use crate::codec::{EncodeOptions, L2_NORM_LIMIT, Segment, TurboQuant, flush, prepare, row_norms, times_power};
use crate::codes::CodesView;
use crate::error::{Error, Result};
use crate::kernels::units::Place;
use crate::metric::Metric;
use crate::parallel::Exec;
use crate::scan::{PreparedQueries, QUERY_BLOCK, Rows, Scanner, TASK_ROWS};
use crate::topk::TopK;
use crate::units::{Unit, stage_ends};

/// Rows that [`Index::add`] encodes at a time.
const ADD_ROWS: usize = 8_192;

/// Neighbours of a batch of queries: `k` places a query, nearest first; missing places hold id −1 and the worst score.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbors {
    /// Scores, k a query: inner products or cosines (larger is nearer), or squared L2 distances (smaller is nearer, never below 0).
    pub scores: Vec<f32>,
    /// Ids, k a query.
    pub ids: Vec<i64>,
}

/// An index over codes: every search scans all of them.
///
/// `Send + Sync`; searches take `&self`. Results do not depend on the processor, the threads, the batch or k: the first ten of k = 100 are k = 10.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use turboquant_rs::{Index, Metric, Options, TurboQuant};
/// let codec = Arc::new(TurboQuant::new(4, 8, Options::default())?);
/// let mut index = Index::new(codec, Metric::L2);
/// index.add(&[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0], None)?;
/// assert_eq!(index.search(&[0.1, 0.9, 0.0, 0.0], 2)?.ids, [1, 0]);
/// # Ok::<(), turboquant_rs::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Index {
    codec: Arc<TurboQuant>,
    metric: Metric,
    /// One row-major array a stage, so that a scan can read the first stage alone.
    stages: Vec<Stage>,
    scales: Vec<f32>,
    /// |x|² of every row with metric l2, else empty.
    squares: Vec<f32>,
    ids: Vec<i64>,
    /// The largest id, −1 without any.
    largest: i64,
    /// Place of every id; empty while ids are 0, 1, 2 ….
    places: HashMap<i64, usize>,
}

/// The units of one stage, of all segments.
#[derive(Debug, Clone, Default)]
struct Stage {
    units: Vec<StageUnit>,
    stride: usize,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct StageUnit {
    segment: usize,
    /// Where it lies in a packed row.
    unit: Unit,
    /// Its first byte in the stage's row, and how many it has.
    at: usize,
    len: usize,
}

impl Index {
    /// An empty index of `codec`'s codes.
    #[must_use]
    pub fn new(codec: Arc<TurboQuant>, metric: Metric) -> Self {
        let stages = stages(&codec);
        let (scales, squares, ids) = (Vec::new(), Vec::new(), Vec::new());
        Self { codec, metric, stages, scales, squares, ids, largest: -1, places: HashMap::new() }
    }

    /// Encodes rows of `dim` values and appends them, under the given ids or the next free ones; returns their ids.
    ///
    /// # Errors
    /// As for [`TurboQuant::encode`], with l2 also [`Error::Norm`] from 2^63; [`Error::Argument`] for a wrong number of ids or a negative
    /// one, [`Error::DuplicateId`] for an id that is taken or given twice. The index is then unchanged.
    pub fn add(&mut self, x: &[f32], ids: Option<&[i64]>) -> Result<Vec<i64>> {
        self.add_with(x, ids, Exec::default())
    }

    /// [`add`](Self::add) with a choice of kernels and threads.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub fn add_with(&mut self, x: &[f32], ids: Option<&[i64]>, exec: Exec) -> Result<Vec<i64>> {
        let (rows, dim) = (self.codec.rows_of("x", x)?, self.codec.dim());
        let ids = self.new_ids(rows, ids)?;
        let before = self.len();
        let (mut packed, mut scales, mut squares) = (Vec::new(), Vec::new(), Vec::new());
        for (i, block) in x.chunks(ADD_ROWS * dim).enumerate() {
            let n = block.len() / dim;
            packed.resize(n * self.codec.row_bytes(), 0);
            scales.resize(n * self.codec.spec().norms(), 0.0);
            squares.resize(if self.metric == Metric::L2 { n } else { 0 }, 0.0);
            let options = EncodeOptions {
                unit_norm: self.metric == Metric::Cosine,
                squares: (self.metric == Metric::L2).then_some(&mut squares[..]),
            };
            if let Err(error) = self.codec.encode_into(block, &mut packed, &mut scales, options, exec) {
                self.truncate(before);
                return Err(error.with_first_row(i * ADD_ROWS));
            }
            self.append(&packed, &scales, &squares);
        }
        self.take_ids(&ids);
        Ok(ids)
    }

    /// Appends rows that [`TurboQuant::encode_into`] made for this metric: with unit norms for cosine, with squares for l2.
    ///
    /// # Errors
    /// [`Error::OtherCodec`] or [`Error::Argument`] if the codes are not whole codes of this index's codec, if `squares` is missing (l2) or
    /// superfluous, or as for [`add`](Self::add) for ids. The index is then unchanged.
    pub fn add_codes<'a>(
        &mut self,
        codes: impl Into<CodesView<'a>>,
        squares: &[f32],
        ids: Option<&[i64]>,
    ) -> Result<Vec<i64>> {
        let codes = codes.into();
        self.codec.check_codes(&codes)?;
        if codes.keep != self.codec.spec().full() {
            return Err(Error::argument("codes", "whole, not truncated", format!("{:?} bits", codes.keep)));
        }
        let expected = if self.metric == Metric::L2 { codes.len() } else { 0 };
        if squares.len() != expected {
            return Err(Error::argument("squares", format!("{expected} long"), squares.len()));
        }
        if let Some(row) = squares.iter().position(|square| !(square.is_finite() && *square >= 0.0)) {
            let got = format!("{} at row {row}", squares[row]);
            return Err(Error::argument("squares", "finite and at least 0", got));
        }
        let ids = self.new_ids(codes.len(), ids)?;
        self.append(codes.packed, codes.scales, squares);
        self.take_ids(&ids);
        Ok(ids)
    }

    /// The `k` nearest rows of every query, nearest first; equal scores by the lower id.
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
        let nq = self.codec.rows_of("queries", queries)?;
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

    /// [`search`](Self::search) into the caller's buffers, k places a query each.
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
        if k == 0 {
            return Err(Error::argument("k", "at least 1", k));
        }
        let (nq, n, dim) = (self.codec.rows_of("queries", queries)?, self.len(), self.codec.dim());
        for (argument, len) in [("scores", scores.len()), ("ids", ids.len())] {
            if nq.checked_mul(k) != Some(len) {
                return Err(Error::argument(argument, format!("{k} places for each of {nq} queries"), len));
            }
        }
        scores.fill(self.metric.worst());
        ids.fill(-1);
        for (i, block) in queries.chunks(QUERY_BLOCK * dim).enumerate() {
            let first = i * QUERY_BLOCK;
            let candidates = self.search_block(block, k.min(n), exec).map_err(|error| error.with_first_row(first))?;
            for (query, best) in candidates.into_iter().enumerate() {
                for (place, candidate) in best.into_iter().enumerate() {
                    let at = (first + query) * k + place;
                    ids[at] = candidate.id;
                    scores[at] = if self.metric == Metric::L2 { (-candidate.key).max(0.0) } else { candidate.key };
                }
            }
        }
        Ok(())
    }

    /// The best candidates of each of at most [`QUERY_BLOCK`] queries.
    fn search_block(&self, queries: &[f32], k: usize, exec: Exec) -> Result<Vec<Vec<crate::topk::Candidate>>> {
        let full = self.codec.spec().full();
        let squares = match self.metric {
            Metric::L2 => Error::of_first_row(queries, self.codec.dim(), |queries| self.query_squares(queries, exec))?,
            Metric::InnerProduct | Metric::Cosine => Vec::new(),
        };
        let queries = PreparedQueries::new(&self.codec, queries, &full, self.metric == Metric::Cosine, exec)?;
        let n = self.len();
        let step = exec.rows_per_task(n, TASK_ROWS);
        let tasks: Vec<_> = (0..n).step_by(step).map(|first| first..n.min(first + step)).collect();
        let rows = self.rows();
        let heaps = exec.map(tasks, |range| -> Result<Vec<TopK>> {
            let mut scanner = Scanner::new(&self.codec, &full, exec)?;
            let mut best: Vec<_> = (0..queries.len()).map(|_| TopK::new(k)).collect();
            scanner.scan(&rows, range, &queries, |query, first, scores| {
                let top = &mut best[query];
                let mut floor = top.floor();
                for (row, &score) in (first..).zip(scores) {
                    let key = match self.metric {
                        Metric::L2 => -((squares[query] + self.squares[row]) - 2.0 * score),
                        Metric::InnerProduct | Metric::Cosine => score,
                    };
                    if key >= floor {
                        top.offer(key, self.ids[row]);
                        floor = top.floor();
                    }
                }
            });
            Ok(best)
        });
        let mut columns: Vec<Vec<TopK>> = (0..queries.len()).map(|_| Vec::new()).collect();
        for best in heaps {
            columns.iter_mut().zip(best?).for_each(|(column, top)| column.push(top));
        }
        Ok(columns.into_iter().map(|column| TopK::merge(column, k)).collect())
    }

    /// |q|² of every query.
    fn query_squares(&self, queries: &[f32], exec: Exec) -> Result<Vec<f32>> {
        let (dim, level) = (self.codec.dim(), exec.level()?);
        let (mut tops, mut exponents, mut prepared, mut norms) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        prepare(level, "queries", queries, dim, &mut tops, &mut exponents, &mut prepared)?;
        row_norms(level, &prepared, dim, 0, dim, &mut norms);
        let squares = norms.iter().zip(&exponents).enumerate().map(|(row, (&norm, &exponent))| {
            let norm = times_power(norm, exponent);
            if norm >= L2_NORM_LIMIT {
                return Err(Error::Norm { argument: "queries", row, limit: "below 2^63 for squared L2 distances" });
            }
            Ok(flush(norm * norm))
        });
        squares.collect()
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
        let (stride, norms) = (self.codec.row_bytes(), self.codec.spec().norms());
        let mut packed = vec![0; ids.len() * stride];
        let mut scales = Vec::with_capacity(ids.len() * norms);
        for (id, packed) in ids.iter().zip(packed.chunks_exact_mut(stride)) {
            let row = self.place(*id).ok_or(Error::UnknownId { id: *id })?;
            for stage in &self.stages {
                for unit in &stage.units {
                    let bytes = &stage.bytes[row * stage.stride + unit.at..][..unit.len];
                    packed[unit.unit.offset..][..unit.len].copy_from_slice(bytes);
                }
            }
            scales.extend_from_slice(&self.scales[row * norms..][..norms]);
        }
        let mut out = vec![0.0; ids.len() * self.codec.dim()];
        self.codec.decode_rows(&packed, &scales, &self.codec.spec().full(), &mut out, exec)?;
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
    pub fn codec(&self) -> &Arc<TurboQuant> {
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

    /// Bytes held: codes, scales, squared norms (l2), ids, and the codec itself. The map of the caller's ids is not counted.
    #[must_use]
    pub fn nbytes(&self) -> usize {
        let codes: usize = self.stages.iter().map(|stage| stage.bytes.len()).sum();
        codes + 4 * (self.scales.len() + self.squares.len()) + 8 * self.ids.len() + self.codec.nbytes()
    }

    /// Checks ids for `rows` new rows, or makes them: the largest id so far and up.
    fn new_ids(&self, rows: usize, ids: Option<&[i64]>) -> Result<Vec<i64>> {
        let Some(ids) = ids else {
            let next = self.largest.checked_add(1);
            return match next.and_then(|next| Some(next..next.checked_add(rows as i64)?)) {
                Some(new) => Ok(new.collect()),
                None => Err(Error::argument("ids", "given, since the largest id is in use", "none")),
            };
        };
        if ids.len() != rows {
            return Err(Error::argument("ids", format!("one a row ({rows})"), ids.len()));
        }
        let mut seen = std::collections::HashSet::with_capacity(rows);
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
        self.ids.extend_from_slice(ids);
        self.largest = ids.iter().fold(self.largest, |largest, &id| largest.max(id));
        let in_order = |first: usize, ids: &[i64]| (first..).zip(ids).all(|(place, &id)| id == place as i64);
        if self.places.is_empty() && in_order(first, ids) {
            return;
        }
        let from = if self.places.is_empty() { 0 } else { first };
        self.places.extend(self.ids[from..].iter().zip(from..).map(|(&id, place)| (id, place)));
    }

    fn place(&self, id: i64) -> Option<usize> {
        if self.places.is_empty() {
            usize::try_from(id).ok().filter(|place| *place < self.len())
        } else {
            self.places.get(&id).copied()
        }
    }

    fn append(&mut self, packed: &[u8], scales: &[f32], squares: &[f32]) {
        for row in packed.chunks_exact(self.codec.row_bytes()) {
            for stage in &mut self.stages {
                for unit in &stage.units {
                    stage.bytes.extend_from_slice(&row[unit.unit.offset..][..unit.len]);
                }
            }
        }
        self.scales.extend_from_slice(scales);
        self.squares.extend_from_slice(squares);
    }

    /// Drops rows that were appended but not yet given ids.
    fn truncate(&mut self, rows: usize) {
        self.stages.iter_mut().for_each(|stage| stage.bytes.truncate(rows * stage.stride));
        self.scales.truncate(rows * self.codec.spec().norms());
        self.squares.truncate(rows);
    }

    fn rows(&self) -> Rows<'_> {
        let mut segments = vec![Vec::new(); self.codec.segments.len()];
        for stage in &self.stages {
            for unit in &stage.units {
                let place = Place { offset: unit.at, ..unit.unit.place(stage.stride) };
                segments[unit.segment].push((&stage.bytes[..], place));
            }
        }
        Rows { segments, scales: &self.scales }
    }
}

/// The empty stages of a codec: units go to the stage in which their lowest bit falls. Those of a fitted codec keep their order; the
/// first two stages are a quarter and half a bit a coordinate, as near as whole units come.
fn stages(codec: &TurboQuant) -> Vec<Stage> {
    let spec = codec.spec();
    let units = spec.units(&spec.full());
    let units = units.iter().enumerate().flat_map(|(i, units)| units.iter().map(move |unit| (i, *unit)));
    let mut units: Vec<_> = units.collect();
    units.sort_by_key(|(_, unit)| unit.offset);
    let mut stages: Vec<Stage> = Vec::new();
    for (i, unit) in units {
        let Segment { dim, bits, .. } = spec.segments[i];
        let at = if spec.fitted.is_some() {
            usize::from(unit.offset >= codec.dim() / 32) + usize::from(unit.offset >= codec.dim() / 16)
        } else {
            let read = bits - unit.shift;
            stage_ends(bits).iter().position(|&end| read <= end).expect("the last stage ends at bits")
        };
        stages.resize_with(stages.len().max(at + 1), Stage::default);
        let stage = &mut stages[at];
        let len = crate::kernels::units::unit_bytes(dim, unit.width);
        stage.units.push(StageUnit { segment: i, unit, at: stage.stride, len });
        stage.stride += len;
    }
    stages
}
