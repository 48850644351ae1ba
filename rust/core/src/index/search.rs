//! The scans of one block of queries: all rows in full, or the first stage of all and the rest of those that may still enter.
//!
//! Both rank rows by s' = min(S, U) (docs/numerics.md section 12). U ≥ s' comes from the first stage alone, so a row whose U is below the
//! k-th best s' so far is none of the k best; which rows were read in full changes nothing.

use std::ops::Range;

use super::Index;
use super::partition::{Gathered, Partition};
use crate::codec::{L2_NORM_LIMIT, flush, prepare, row_norms, times_power};
use crate::error::{Error, Result};
use crate::kernels::Level;
use crate::kernels::planes::{BLOCK, Planes, upper_ends};
use crate::kernels::product::GROUP;
use crate::kernels::scores::{at_least, to_distances};
use crate::metric::Metric;
use crate::parallel::Exec;
use crate::scan::{PANEL_ROWS, PreparedQueries, QueryFor, Rows, Scanner, TASK_ROWS};
use crate::topk::{Candidate, TopK};

/// Up to this many queries are searched one after the other by stages; more share the decoding of rows.
pub(super) const FEW: usize = 8;
/// Rows whose upper ends are known before any of them is read in full: their planes stay in a second-level cache.
const CHUNK: usize = 4_096;
/// Where more than one row in this many survives the first stage, reading rows in full from the start is cheaper.
pub(super) const DENSE: usize = 4;
/// Chunks that are then read in full before the first stage is tried again.
const PATIENCE: usize = 8;

/// What a search read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SearchStats {
    /// Rows whose first stage was read alone, summed over queries.
    pub first_stage_rows: usize,
    /// Rows that were read in full, summed over queries.
    pub full_rows: usize,
}

impl Index {
    /// The best candidates of each query of a block.
    pub(super) fn search_block(
        &self,
        queries: &[f32],
        k: usize,
        exec: Exec,
        stats: &mut SearchStats,
    ) -> Result<Vec<Vec<Candidate>>> {
        let squares = match self.metric {
            Metric::L2 => {
                Error::of_first_row(queries, self.codec().dim(), |queries| self.query_squares(queries, exec))?
            }
            Metric::InnerProduct | Metric::Cosine => Vec::new(),
        };
        let to = if self.metric == Metric::Cosine { QueryFor::Cosine } else { QueryFor::Ranking };
        let mut columns: Vec<Vec<TopK>> = Vec::new();
        let mut prepared: Vec<Option<PreparedQueries>> = (0..self.kinds).map(|_| None).collect();
        for (i, partition) in self.partitions.iter().enumerate().filter(|(i, p)| *i == 0 || p.len() > 0) {
            let (codec, n) = (partition.codec(), partition.len());
            // Partitions of one kind have one codec.
            let queries = match &mut prepared[i % self.kinds] {
                Some(queries) => &*queries,
                new => new.insert(PreparedQueries::new(codec, queries, &codec.spec().full(), to, exec)?),
            };
            let step = exec.rows_per_task(n, TASK_ROWS).next_multiple_of(BLOCK);
            let tasks: Vec<_> = (0..n).step_by(step).map(|first| first..n.min(first + step)).collect();
            let rows = partition.rows();
            let done = exec.map(tasks, |range| -> Result<(Vec<TopK>, SearchStats)> {
                let mut task = Task::new((self, partition), &rows, queries, &squares, k, exec)?;
                if queries.len() == 1 && partition.first().is_some() {
                    task.by_stages(range)?;
                } else {
                    task.in_full(range)?;
                }
                Ok((task.best, task.stats))
            });
            columns.resize_with(queries.len(), Vec::new);
            for task in done {
                let (best, read) = task?;
                columns.iter_mut().zip(best).for_each(|(column, top)| column.push(top));
                stats.first_stage_rows += read.first_stage_rows;
                stats.full_rows += read.full_rows;
            }
        }
        Ok(columns.into_iter().map(|column| TopK::merge(column, k)).collect())
    }

    /// |q|² of every query.
    fn query_squares(&self, queries: &[f32], exec: Exec) -> Result<Vec<f32>> {
        let (dim, level) = (self.codec().dim(), exec.level()?);
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
}

/// The scan of some rows of a partition for a block of queries. Keys are scores, or negated squared distances: larger is nearer.
struct Task<'a> {
    index: &'a Index,
    partition: &'a Partition,
    rows: &'a Rows<'a>,
    queries: &'a PreparedQueries,
    /// |q|² of every query with metric l2, else empty.
    squares: &'a [f32],
    level: Level,
    scanner: Scanner,
    best: Vec<TopK>,
    floors: Vec<f32>,
    gathered: Gathered,
    stats: SearchStats,
}

impl<'a> Task<'a> {
    fn new(
        (index, partition): (&'a Index, &'a Partition),
        rows: &'a Rows<'a>,
        queries: &'a PreparedQueries,
        squares: &'a [f32],
        k: usize,
        exec: Exec,
    ) -> Result<Self> {
        Ok(Self {
            index,
            partition,
            rows,
            queries,
            squares,
            level: exec.level()?,
            scanner: Scanner::new(partition.codec(), &partition.codec().spec().full(), exec)?,
            best: (0..queries.len()).map(|_| TopK::new(k)).collect(),
            floors: vec![f32::NEG_INFINITY; queries.len()],
            gathered: Gathered::default(),
            stats: SearchStats::default(),
        })
    }

    /// Reads every row of `range`, a panel at a time for all queries.
    fn in_full(&mut self, range: Range<usize>) -> Result<()> {
        self.partition.check(range.clone())?;
        let Self { index, partition, rows, queries, squares, level, scanner, best, floors, stats, .. } = self;
        stats.full_rows += range.len() * queries.len();
        let mut marks = [0; GROUP];
        scanner.scan(rows, range, queries, |members, rows, keys| {
            if index.metric == Metric::L2 {
                for (&square, keys) in squares[members.clone()].iter().zip(keys.chunks_exact_mut(PANEL_ROWS)) {
                    to_distances(*level, square, &partition.squares()[rows.clone()], keys);
                }
            }
            at_least(*level, keys, rows.len(), &floors[members.clone()], &mut marks);
            for ((query, keys), &marked) in members.zip(keys.chunks_exact(PANEL_ROWS)).zip(&marks) {
                let mut left = marked;
                while left != 0 {
                    let r = left.trailing_zeros() as usize;
                    let (row, mut key) = (rows.start + r, keys[r]);
                    // Few rows come so far, so their upper ends are computed one by one.
                    if let (Some(stage), Some((first, scales))) = (&queries.stage, partition.first()) {
                        let mut upper = [stage.upper_end(query, first, row, scales[row])];
                        if index.metric == Metric::L2 {
                            to_distances(*level, squares[query], &partition.squares()[row..=row], &mut upper);
                        }
                        key = if upper[0] < key { upper[0] } else { key };
                    }
                    best[query].offer(key, index.ids[partition.number(row)]);
                    left &= left - 1;
                }
                if marked != 0 {
                    floors[query] = best[query].floor();
                }
            }
        });
        Ok(())
    }

    /// Reads the first stage of every row of `range` for the only query, and the rest of rows that may still enter.
    fn by_stages(&mut self, range: Range<usize>) -> Result<()> {
        let (first, scales) = self.partition.first().expect("a first stage in blocks");
        let stage = self.queries.stage.as_ref().expect("queries are prepared for the index's stages");
        let (tables, weights) = stage.query(0);
        let mut uppers = vec![0.0; CHUNK];
        let (mut survivors, mut patience) = (Vec::new(), 0);
        for start in range.clone().step_by(CHUNK) {
            let rows = start..range.end.min(start + CHUNK);
            if patience > 0 {
                patience -= 1;
                self.in_full(rows)?;
                continue;
            }
            self.partition.check_first(rows.clone())?;
            self.stats.first_stage_rows += rows.len();
            let n = rows.len();
            let (bounds, scales) = (&first.bounds()[rows.clone()], &scales[rows.clone()]);
            let planes = Planes { blocks: first.blocks(rows.clone()), bounds, scales };
            upper_ends(self.level, planes, tables, weights, &mut uppers[..n]);
            if self.index.metric == Metric::L2 {
                to_distances(self.level, self.squares[0], &self.partition.squares()[rows.clone()], &mut uppers[..n]);
            }
            self.collect(&rows, &uppers, &mut survivors);
            // The likeliest rows first: they raise the floor under the others.
            let likeliest = self.best[0].wanted().max(PANEL_ROWS);
            if survivors.len() > 2 * likeliest {
                survivors.select_nth_unstable_by(likeliest, |a, b| b.0.total_cmp(&a.0));
                self.refine(&survivors[..likeliest])?;
                let floor = self.floors[0];
                survivors.drain(..likeliest);
                survivors.retain(|survivor| survivor.0 >= floor);
            }
            self.refine(&survivors)?;
            if survivors.len() > rows.len() / DENSE {
                patience = PATIENCE;
            }
        }
        Ok(())
    }

    /// The rows whose upper ends reach the floor.
    fn collect(&self, rows: &Range<usize>, uppers: &[f32], survivors: &mut Vec<(f32, usize)>) {
        survivors.clear();
        let mut marks = [0];
        for (first, uppers) in rows.clone().step_by(BLOCK).zip(uppers.chunks_exact(BLOCK)) {
            at_least(self.level, uppers, BLOCK.min(rows.end - first), &self.floors, &mut marks);
            let mut left = marks[0];
            while left != 0 {
                let r = left.trailing_zeros() as usize;
                survivors.push((uppers[r], first + r));
                left &= left - 1;
            }
        }
    }

    /// Reads survivors in full, those that the floor has not passed meanwhile.
    fn refine(&mut self, survivors: &[(f32, usize)]) -> Result<()> {
        let Self { index, partition, queries, squares, level, scanner, best, floors, gathered, stats, .. } = self;
        for some in survivors.chunks(PANEL_ROWS) {
            let some: Vec<_> = some.iter().filter(|survivor| survivor.0 >= floors[0]).collect();
            gathered.fill(partition, some.iter().map(|survivor| survivor.1))?;
            stats.full_rows += some.len();
            scanner.scan(&gathered.rows(partition), 0..some.len(), queries, |_, rows, keys| {
                if index.metric == Metric::L2 {
                    to_distances(*level, squares[0], &gathered.squares[rows.clone()], keys);
                }
                for (&&(upper, row), &key) in some[rows].iter().zip(&*keys) {
                    let key = if upper < key { upper } else { key };
                    best[0].offer(key, index.ids[partition.number(row)]);
                }
            });
            floors[0] = best[0].floor();
        }
        Ok(())
    }
}
