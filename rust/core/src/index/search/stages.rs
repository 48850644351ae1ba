//! The scan of a few queries by stages: the first stage of every row, and the rest of the few that may still enter.
//!
//! Rows that survive the first stage wait: the floor rises while others are seen, and most of them are never read. Only the likeliest are
//! read at once, each time that twice as many rows have been seen, since it is they who raise it. Queries share nothing but the reading of
//! first stages: a chunk of them comes from memory for the first query, and from a cache for the others.

use std::array::from_fn;
use std::mem::take;
use std::ops::Range;

use super::Task;
use crate::bitmap::{WORD, bits};
use crate::error::Result;
use crate::kernels::planes::{BLOCK, Planes, SHARED, upper_ends};
use crate::kernels::scores::at_least;
use crate::scan::PreparedQueries;

/// Rows whose upper ends are computed together.
const CHUNK: usize = 4_096;
/// Rows of the first chunk; each has twice as many as the one before, since without a floor every row survives.
const FIRST_CHUNK: usize = 512;
/// Rows that may wait for a query; where more do, the floor is near its height, or the first stage tells little.
const WAITING: usize = 4_096;
/// Rows that are seen before survivors are judged: one in so many, from a first chunk to so many.
const TELLING: usize = 2_048;
const TELLING_OF_ROWS: usize = 16;
/// Where no floor is known, so many for each row that is wanted, but not more than one in so many: before, any row may survive.
const TELLING_OF_K: usize = 32;
const TELLING_AT_LAST: usize = 8;
/// Chunks that are read in full, where many do, before the first stage is tried again, on few rows; each time twice as many.
const PATIENCE: usize = 8;
/// Rows of a run of blocks that is short: its first stages are asked for before.
const SHORT: usize = 4 * BLOCK;
/// So many runs before.
const NEXT: usize = 3;
/// Survivors that are read before the others, if they are more than k.
const LIKELIEST: usize = 16;
/// Rows that are copied together before any is scored, so that they come from memory side by side.
const BATCH: usize = 16;

/// A row that has survived the first stage: its upper end, as a key, and its place.
type Survivor = (f32, usize);

/// The rows that wait for a query, in order of their places.
#[derive(Default)]
pub(super) struct Waiting {
    rows: Vec<Survivor>,
    /// How many rows are seen when the likeliest are read next.
    look: usize,
}

#[derive(Default)]
pub(super) struct Buffers {
    likeliest: Vec<Survivor>,
    batch: Vec<Survivor>,
    /// Runs of blocks that have an allowed row, and where each of their blocks starts, where rows are left out.
    runs: Vec<Range<usize>>,
    firsts: Vec<usize>,
    uppers: Vec<f32>,
    /// Rows and spare bytes.
    packed: Vec<u8>,
}

impl Task<'_> {
    /// Reads the first stage of every allowed row of `range` for the queries, and the rest of rows that may still enter. Blocks without an
    /// allowed row are not read.
    pub(super) fn by_stages(&mut self, range: Range<usize>) -> Result<()> {
        let queries = self.ranking.queries.len();
        self.waiting.resize_with(queries, Waiting::default);
        let (mut next, mut most, mut seen) = (range.start, FIRST_CHUNK, 0);
        let telling = (range.len() / TELLING_OF_ROWS).clamp(FIRST_CHUNK, TELLING);
        let of_k = TELLING_OF_K.saturating_mul(self.ranking.best[0].wanted()).min(range.len() / TELLING_AT_LAST);
        let floored = self.ranking.floors.iter().all(|&floor| floor > f32::NEG_INFINITY);
        let telling = if floored { telling } else { telling.max(of_k) };
        // Chunks yet to be read in full, and how many will be when that is next decided.
        let (mut full, mut patience) = (0, PATIENCE);
        while next < range.end {
            if full > 0 {
                let (chunk, _) = self.chunk(next..range.end, CHUNK);
                (next, most, full) = (chunk.end, FIRST_CHUNK, full - 1);
                self.in_full(chunk)?;
                continue;
            }
            let before = seen;
            let (chunk, wanted) = self.chunk(next..range.end, most);
            (next, most) = (chunk.end, CHUNK.min(2 * most));
            let mut runs = take(&mut self.buffers.runs);
            self.allowed.parts(chunk, BLOCK, &mut runs);
            runs.iter().try_for_each(|run| self.count(run))?;
            seen += wanted;
            let survivors = self.stages_of(&runs, seen)?;
            self.buffers.runs = runs;
            // Floors rise, so that fewer of these are read in the end: about by the root of what is seen.
            let part = (next - range.start) as f64 / range.len() as f64;
            let read = survivors as f64 * part.sqrt();
            if before >= telling && read * self.ranking.queries.alone() > wanted as f64 {
                (full, patience) = (patience, 2 * patience);
            }
        }
        (0..queries).try_for_each(|query| {
            self.refine_likeliest(query)?;
            self.refine_all(query)
        })
    }

    /// How many allowed rows of `range`, a word, reach the floors of the queries by their first stages, counted for each of them.
    pub(super) fn survivors(&mut self, range: Range<usize>) -> Result<usize> {
        let queries = self.ranking.queries.len();
        self.waiting.resize_with(queries, Waiting::default);
        let mut runs = Vec::new();
        self.allowed.parts(range, BLOCK, &mut runs);
        runs.iter().try_for_each(|run| self.count(run))?;
        (0..queries).for_each(|query| self.first_stage([query], &runs));
        Ok(self.waiting.iter_mut().map(|waiting| waiting.rows.drain(..).len()).sum())
    }

    /// Reads the first stages of a chunk's runs of blocks for all queries, and what it is time to read of the rest; how many rows survived,
    /// of all queries together.
    fn stages_of(&mut self, runs: &[Range<usize>], seen: usize) -> Result<usize> {
        let (queries, mut query, mut survivors) = (self.ranking.queries.len(), 0, 0);
        while query < queries {
            let together = if queries - query < SHARED { 1 } else { SHARED };
            let waiting = |task: &Self| task.waiting[query..query + together].iter().map(|of| of.rows.len()).sum();
            let before: usize = waiting(self);
            if together == 1 {
                self.first_stage([query], runs);
            } else {
                self.first_stage(from_fn::<_, SHARED, _>(|i| query + i), runs);
            }
            survivors += waiting(self) - before;
            for query in query..query + together {
                self.refine_some(query, seen)?;
            }
            query += together;
        }
        Ok(survivors)
    }

    /// Reads in full what waits for a query, where that is much, or its likeliest when it is time to.
    fn refine_some(&mut self, query: usize, seen: usize) -> Result<()> {
        let waiting = &mut self.waiting[query];
        let many = waiting.rows.len() > WAITING;
        if many || seen >= waiting.look {
            waiting.look = 2 * seen;
            self.refine_likeliest(query)?;
        }
        if many && self.waiting[query].rows.len() > WAITING / 2 {
            self.refine_all(query)?;
        }
        Ok(())
    }

    /// The rows at the start of `range` whose upper ends are to be known before any is read in full, and how many of them are allowed.
    fn chunk(&self, range: Range<usize>, most: usize) -> (Range<usize>, usize) {
        if self.allowed.all() {
            let end = range.end.min(range.start + most);
            return (range.start..end, end - range.start);
        }
        let (mut end, mut wanted) = (range.start, 0);
        while end < range.end && wanted < most {
            wanted += self.allowed.word(end / WORD).count_ones() as usize;
            end += WORD;
        }
        (range.start..end.min(range.end), wanted)
    }

    /// Checks and counts the first stages of `range`, which are about to be read.
    fn count(&mut self, range: &Range<usize>) -> Result<()> {
        let partition = self.ranking.partition;
        self.stats.first_stage_rows += range.len() * self.ranking.queries.len();
        self.stats.first_stage_bytes += range.len() * partition.first_stage_bytes();
        partition.check_first(range.clone())
    }

    /// Reads the first stage of runs of blocks; the allowed rows whose upper ends reach the floor of a query wait for it.
    fn first_stage<const Q: usize>(&mut self, queries: [usize; Q], runs: &[Range<usize>]) {
        if runs.is_empty() {
            return;
        }
        let Self { ranking, allowed, waiting, buffers: Buffers { uppers, firsts, .. }, .. } = self;
        let (first, scales) = ranking.partition.first().expect("a first stage in blocks");
        let stage = ranking.queries.stage.as_ref().expect("queries are prepared for the index's stages");
        firsts.clear();
        if !allowed.all() {
            firsts.extend(runs.iter().flat_map(|run| run.clone().step_by(BLOCK)));
        }
        let stride = runs.iter().map(|run| run.len()).sum::<usize>().next_multiple_of(WORD);
        uppers.resize(Q * stride, 0.0);
        let mut parts = uppers.chunks_exact_mut(stride);
        let mut of_queries = from_fn(|_| parts.next().expect("a part a query"));
        let mut at = 0;
        for (i, run) in runs.iter().enumerate() {
            // Short runs are over before the kernel's own requests, for what follows, are of use.
            if let Some(next) = runs.get(i + NEXT).filter(|next| next.len() <= SHORT) {
                ranking.partition.prefetch_first(next.clone());
            }
            let planes = Planes {
                blocks: first.blocks(run.clone()),
                bounds: first.bounds(run.clone()),
                scales: &scales[run.clone()],
            };
            let mut outs = of_queries.each_mut().map(|uppers| &mut uppers[at..at + run.len()]);
            upper_ends(
                ranking.level,
                planes,
                queries.map(|query| stage.query(query)),
                outs.each_mut().map(|out| &mut **out),
            );
            for (query, uppers) in queries.into_iter().zip(outs) {
                ranking.to_keys(query, ranking.partition.squares_of(run.clone()), uppers);
            }
            at += run.len();
        }
        for (query, uppers) in queries.into_iter().zip(of_queries) {
            ranking.raise(query);
            // Places behind the last row never reach a floor.
            uppers[at..].fill(f32::NAN);
            // A word of marks for every 64 upper ends, from one call for many.
            let (floors, mut marks) = ([ranking.floors[query]; CHUNK / WORD], [0; CHUNK / WORD]);
            for (at, uppers) in (0..).step_by(CHUNK).zip(uppers.chunks(CHUNK)) {
                let words = uppers.len() / WORD;
                at_least(ranking.level, uppers, WORD, &floors[..words], &mut marks);
                let words = (at..).step_by(WORD).zip(&marks[..words]).zip(uppers.chunks(WORD));
                for ((at, &marked), uppers) in words.filter(|((_, marked), _)| **marked != 0) {
                    let rows = &mut waiting[query].rows;
                    if allowed.all() {
                        rows.extend(bits(marked).map(|bit| (uppers[bit], runs[0].start + at + bit)));
                        continue;
                    }
                    let firsts = &firsts[at / BLOCK..firsts.len().min((at + WORD) / BLOCK)];
                    let marked = marked & allowed.blocks(firsts, BLOCK);
                    rows.extend(bits(marked).map(|bit| (uppers[bit], firsts[bit / BLOCK] + bit % BLOCK)));
                }
            }
        }
    }

    /// Reads the likeliest of many rows that wait: they raise the floor under the others, which wait on if they still reach it.
    fn refine_likeliest(&mut self, query: usize) -> Result<()> {
        let (count, rows) = (self.ranking.best[query].wanted().max(LIKELIEST), &self.waiting[query].rows);
        if rows.len() <= 2 * count {
            return Ok(());
        }
        let uppers = &mut self.buffers.uppers;
        uppers.clear();
        uppers.extend(rows.iter().map(|row| row.0));
        let (_, &mut least, _) = uppers.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
        let mut likeliest = take(&mut self.buffers.likeliest);
        likeliest.clear();
        likeliest.extend(rows.iter().filter(|row| row.0 >= least));
        likeliest.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        self.refine(query, &likeliest)?;
        self.buffers.likeliest = likeliest;
        let floor = self.ranking.floors[query];
        self.waiting[query].rows.retain(|row| row.0 < least && row.0 >= floor);
        Ok(())
    }

    /// Reads the rows that wait for a query.
    fn refine_all(&mut self, query: usize) -> Result<()> {
        let mut rows = take(&mut self.waiting[query].rows);
        self.refine(query, &rows)?;
        rows.clear();
        self.waiting[query].rows = rows;
        Ok(())
    }

    /// Reads survivors in full, those that the floor has not passed meanwhile.
    fn refine(&mut self, query: usize, mut survivors: &[Survivor]) -> Result<()> {
        let Self { ranking, buffers: Buffers { batch, packed, .. }, stats, .. } = self;
        let (queries, partition) = (ranking.queries, ranking.partition);
        let (_, scales) = partition.first().expect("a first stage in blocks");
        let (size, bytes) = (partition.codec().row_bytes(), partition.row_bytes());
        survivors.iter().take(BATCH).for_each(|&(_, place)| partition.prefetch(place));
        while !survivors.is_empty() {
            let floor = ranking.floors[query];
            batch.clear();
            while let [survivor, rest @ ..] = survivors
                && batch.len() < BATCH
            {
                survivors = rest;
                if survivor.0 >= floor {
                    batch.push(*survivor);
                }
            }
            packed.clear();
            batch.iter().try_for_each(|&(_, place)| partition.row(place, packed))?;
            packed.resize(packed.len() + PreparedQueries::SPARE, 0);
            stats.full(batch.len(), 1, bytes);
            for (i, &(upper, place)) in batch.iter().enumerate() {
                // Of the next batch, one a row: a burst would wait for memory.
                if let Some(next) = survivors.get(i)
                    && next.0 >= floor
                {
                    partition.prefetch(next.1);
                }
                // What follows a row counts nothing.
                let row = &packed[i * size..][..size + PreparedQueries::SPARE];
                let mut key = [queries.score_of_row(ranking.level, query, row, scales[place])];
                ranking.to_keys(query, partition.squares_of(place..place + 1), &mut key);
                let key = if upper < key[0] { upper } else { key[0] };
                // Most rows stop here, before their ids come from memory.
                if key >= ranking.floors[query] {
                    ranking.offer(query, place, key);
                    ranking.raise(query);
                }
            }
        }
        Ok(())
    }
}
