//! The scan of one query by stages: the first stage of every row, and the rest of the few that may still enter.
//!
//! Rows that survive the first stage wait: the floor rises while others are seen, and most of them are never read. Only the likeliest are
//! read at once, each time that twice as many rows have been seen, since it is they who raise it.

use std::mem::take;
use std::ops::Range;

use super::Task;
use crate::bitmap::bits;
use crate::error::Result;
use crate::kernels::planes::{BLOCK, Planes, upper_ends};
use crate::kernels::scores::at_least;
use crate::scan::PreparedQueries;

/// Rows whose upper ends are computed together.
const CHUNK: usize = 4_096;
/// Rows of the first chunk; each has twice as many as the one before, since without a floor every row survives.
const FIRST_CHUNK: usize = 512;
/// Rows that may wait; where more do, the floor is near its height, or the first stage tells little.
const WAITING: usize = 4_096;
/// Where more than one row in this many survives the first stage, reading rows in full from the start is cheaper: a row costs about as much
/// in a panel, decoded for the only query, as alone.
const DENSE: usize = 2;
/// Chunks that are then read in full before the first stage is tried again.
const PATIENCE: usize = 8;
/// Survivors that are read before the others, if they are more than k.
const LIKELIEST: usize = 16;
/// Rows that are copied together before any is scored, so that they come from memory side by side.
const BATCH: usize = 16;

/// A row that has survived the first stage: its upper end, as a key, and its place.
type Survivor = (f32, usize);

/// The rows that wait, in order of their places, and buffers.
#[derive(Default)]
pub(super) struct Waiting {
    rows: Vec<Survivor>,
    likeliest: Vec<Survivor>,
    batch: Vec<Survivor>,
    uppers: Vec<f32>,
    /// Rows and spare bytes.
    packed: Vec<u8>,
}

impl Task<'_> {
    /// Reads the first stage of every allowed row of `range` for the only query, and the rest of rows that may still enter. Blocks without
    /// an allowed row are not read.
    pub(super) fn by_stages(&mut self, range: Range<usize>) -> Result<()> {
        let (mut next, mut most, mut patience) = (range.start, FIRST_CHUNK, 0);
        // Rows seen, with how many the likeliest are read next; rows seen, and read in full, when none waited.
        let (mut seen, mut look, mut since) = (0, 0, (0, self.stats.full_rows));
        while next < range.end {
            let (chunk, wanted) = self.chunk(next..range.end, most);
            (next, most) = (chunk.end, CHUNK.min(2 * most));
            if patience > 0 {
                patience -= 1;
                self.in_full(chunk)?;
                continue;
            }
            self.allowed.runs(chunk, |word| word != 0).try_for_each(|run| self.first_stage(run))?;
            seen += wanted;
            let many = self.waiting.rows.len() > WAITING;
            if many || seen >= look {
                look = 2 * seen;
                self.refine_likeliest()?;
            }
            if many && self.waiting.rows.len() > WAITING / 2 {
                self.refine_all()?;
                if self.stats.full_rows - since.1 > (seen - since.0) / DENSE {
                    patience = PATIENCE;
                }
                since = (seen, self.stats.full_rows);
            }
        }
        self.refine_likeliest()?;
        self.refine_all()
    }

    /// The rows at the start of `range` whose upper ends are to be known before any is read in full, and how many of them are allowed.
    fn chunk(&self, range: Range<usize>, most: usize) -> (Range<usize>, usize) {
        if self.allowed.all() {
            let end = range.end.min(range.start + most);
            return (range.start..end, end - range.start);
        }
        let (mut end, mut wanted) = (range.start, 0);
        while end < range.end && wanted < most {
            wanted += self.allowed.word(end / BLOCK).count_ones() as usize;
            end += BLOCK;
        }
        (range.start..end.min(range.end), wanted)
    }

    /// Reads the first stage of `range`; the allowed rows whose upper ends reach the floor wait.
    fn first_stage(&mut self, range: Range<usize>) -> Result<()> {
        let Self { ranking, allowed, stats, waiting, .. } = self;
        ranking.raise(0);
        let (first, scales) = ranking.partition.first().expect("a first stage in blocks");
        let stage = ranking.queries.stage.as_ref().expect("queries are prepared for the index's stages");
        let (tables, weights) = stage.query(0);
        ranking.partition.check_first(range.clone())?;
        stats.first_stage_rows += range.len();
        stats.first_stage_bytes += range.len() * ranking.partition.first_stage_bytes();
        let (n, uppers) = (range.len(), &mut waiting.uppers);
        uppers.resize(n.next_multiple_of(BLOCK), 0.0);
        // Places behind the last row never reach a floor.
        uppers[n..].fill(f32::NAN);
        let (bounds, scales) = (first.bounds(range.clone()), &scales[range.clone()]);
        let planes = Planes { blocks: first.blocks(range.clone()), bounds, scales };
        upper_ends(ranking.level, planes, tables, weights, &mut uppers[..n]);
        ranking.to_keys(0, ranking.partition.squares_of(range.clone()), &mut uppers[..n]);
        // A word of marks a block, from one call for many blocks.
        let (floors, mut marks) = ([ranking.floors[0]; CHUNK / BLOCK], [0; CHUNK / BLOCK]);
        for (first, uppers) in range.step_by(CHUNK).zip(waiting.uppers.chunks(CHUNK)) {
            let blocks = uppers.len() / BLOCK;
            at_least(ranking.level, uppers, BLOCK, &floors[..blocks], &mut marks);
            for (i, &marked) in marks[..blocks].iter().enumerate() {
                let first = first + i * BLOCK;
                if marked != 0 {
                    let reached = bits(marked & allowed.word(first / BLOCK));
                    waiting.rows.extend(reached.map(|row| (uppers[i * BLOCK + row], first + row)));
                }
            }
        }
        Ok(())
    }

    /// Reads the likeliest of many rows that wait: they raise the floor under the others, which wait on if they still reach it.
    fn refine_likeliest(&mut self) -> Result<()> {
        let (count, waiting) = (self.ranking.best[0].wanted().max(LIKELIEST), &mut self.waiting);
        if waiting.rows.len() <= 2 * count {
            return Ok(());
        }
        waiting.uppers.clear();
        waiting.uppers.extend(waiting.rows.iter().map(|row| row.0));
        let (_, &mut least, _) = waiting.uppers.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
        let mut likeliest = take(&mut waiting.likeliest);
        likeliest.clear();
        likeliest.extend(waiting.rows.iter().filter(|row| row.0 >= least));
        likeliest.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        self.refine(&likeliest)?;
        self.waiting.likeliest = likeliest;
        let floor = self.ranking.floors[0];
        self.waiting.rows.retain(|row| row.0 < least && row.0 >= floor);
        Ok(())
    }

    /// Reads the rows that wait.
    fn refine_all(&mut self) -> Result<()> {
        let mut rows = take(&mut self.waiting.rows);
        self.refine(&rows)?;
        rows.clear();
        self.waiting.rows = rows;
        Ok(())
    }

    /// Reads survivors in full, those that the floor has not passed meanwhile.
    fn refine(&mut self, mut survivors: &[Survivor]) -> Result<()> {
        let Self { ranking, waiting: Waiting { batch, packed, .. }, stats, .. } = self;
        let (queries, partition) = (ranking.queries, ranking.partition);
        let (_, scales) = partition.first().expect("a first stage in blocks");
        let (size, bytes) = (partition.codec().row_bytes(), partition.row_bytes());
        survivors.iter().take(BATCH).for_each(|&(_, place)| partition.prefetch(place));
        while !survivors.is_empty() {
            let floor = ranking.floors[0];
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
                let mut key = [queries.score_of_row(ranking.level, row, scales[place])];
                ranking.to_keys(0, partition.squares_of(place..place + 1), &mut key);
                let key = if upper < key[0] { upper } else { key[0] };
                // Most rows stop here, before their ids come from memory.
                if key >= ranking.floors[0] {
                    ranking.offer(0, place, key);
                    ranking.raise(0);
                }
            }
        }
        Ok(())
    }
}
