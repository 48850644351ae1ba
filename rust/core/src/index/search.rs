//! The scans of one block of queries: all rows in full, or the first stage of all and the rest of those that may still enter.
//!
//! Both rank rows by s' = min(S, U) (docs/numerics.md section 12). U ≥ s' comes from the first stage alone, so a row whose U is below the
//! k-th best s' so far, or a guess at it that is checked at the end, is none of the k best; which rows were read in full changes nothing.

mod reached;
mod sample;
mod stages;

use std::mem::take;
use std::ops::Range;

use self::reached::Reached;
use self::stages::{Buffers, Waiting};
use super::partition::{Gathered, Partition};
use super::{Index, SearchOptions, SearchStats};
use crate::bitmap::{Allowed, WORD, bits};
use crate::codec::{L2_NORM_LIMIT, flush, prepare, times_power};
use crate::error::{Error, Result};
use crate::kernels::Level;
use crate::kernels::planes::{Planes, SHARED, upper_ends};
use crate::kernels::product::GROUP;
use crate::kernels::scores::{at_least, to_distances};
use crate::metric::Metric;
use crate::parallel::Exec;
use crate::scan::{FirstStage, PANEL_ROWS, PreparedQueries, QueryFor, Rows, Scanner, StageQueries, Staged};
use crate::topk::TopK;

/// Fewest rows of a task by stages, which take about as long as another thread takes to begin.
const STAGED_ROWS: usize = 16_384;
/// Where fewer rows of 64 are allowed, they are copied together with others before they are read in full.
const MANY: u32 = 32;

impl Index {
    /// What the tasks of a search hold for each query of a block, its best candidates among it, with a key of at least `least`;
    /// `by_stages` where partitions have stages and that leaves enough rows unread, with floors guessed if that may be worth its while. What
    /// was read is added to `stats`, but for the samples of guesses, which are added to `sampled`.
    pub(super) fn search_block(
        &self,
        queries: &[f32],
        options: SearchOptions<'_>,
        (by_stages, guess): (bool, bool),
        least: f32,
        (stats, sampled): (&mut SearchStats, &mut SearchStats),
    ) -> Result<Vec<Vec<TopK>>> {
        let mut block = Block::new(self, queries, options, by_stages)?;
        let guess = if guess { block.guess()? } else { None };
        let guessed = guess.is_some();
        let floors = guess.unwrap_or_else(|| vec![f32::NEG_INFINITY; block.len()]);
        let reached = floors.iter().map(|&floor| Reached::new(floor.max(least))).collect();
        let mut found = block.search(reached, guessed)?;
        *stats += block.stats;
        *sampled += block.sampled;
        // Where fewer rows have reached a guess than are wanted, it was too high: guesses are made where there are more rows.
        let held = |query: usize| found[query].iter().map(TopK::len).sum::<usize>();
        let missed = |query: &usize| floors[*query] > least && held(*query) < options.k;
        let missed: Vec<_> = (0..found.len()).filter(missed).collect();
        if !missed.is_empty() {
            let dim = self.codec().dim();
            let queries: Vec<_> = missed.iter().flat_map(|query| &queries[query * dim..][..dim]).copied().collect();
            let mut block = Block::new(self, &queries, options, by_stages)?;
            let again = block.search(missed.iter().map(|_| Reached::new(least)).collect(), false)?;
            *stats += block.stats;
            missed.into_iter().zip(again).for_each(|(query, best)| found[query] = best);
        }
        Ok(found)
    }

    /// |q|² of every query.
    fn query_squares(&self, queries: &[f32], exec: Exec) -> Result<Vec<f32>> {
        let (dim, level) = (self.codec().dim(), exec.level()?);
        let (mut tops, mut exponents, mut prepared, mut norms) =
            (Vec::new(), Vec::new(), vec![0.0; queries.len()], Vec::new());
        prepare(level, "queries", queries, dim, &mut tops, &mut exponents, &mut prepared, &mut norms)?;
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

/// Queries that are searched together.
struct Block<'a> {
    index: &'a Index,
    queries: &'a [f32],
    options: SearchOptions<'a>,
    k: usize,
    by_stages: bool,
    /// |q|² of every query with metric l2, else empty.
    squares: Vec<f32>,
    /// The queries for each kind of partition, once one is searched: those of one kind have one codec.
    prepared: Vec<Option<PreparedQueries>>,
    stats: SearchStats,
    /// What a guess has read.
    sampled: SearchStats,
}

impl<'a> Block<'a> {
    fn new(index: &'a Index, queries: &'a [f32], options: SearchOptions<'a>, by_stages: bool) -> Result<Self> {
        let squares = match index.metric {
            Metric::L2 => {
                let squares = |queries: &[f32]| index.query_squares(queries, options.exec);
                Error::of_first_row(queries, index.codec().dim(), squares)?
            }
            Metric::InnerProduct | Metric::Cosine => Vec::new(),
        };
        let (k, prepared) = (options.k.min(index.len()), (0..index.kinds).map(|_| None).collect());
        let (stats, sampled) = (SearchStats::default(), SearchStats::default());
        Ok(Self { index, queries, options, k, by_stages, squares, prepared, stats, sampled })
    }

    /// Queries in it.
    fn len(&self) -> usize {
        self.queries.len() / self.index.codec().dim()
    }

    /// The partitions that are searched: those with rows, and the first, for which queries are always prepared, so that faulty ones are found.
    fn partitions(&self) -> impl Iterator<Item = usize> + use<'a> {
        let index = self.index;
        (0..index.partitions.len()).filter(|&i| i == 0 || index.partitions[i].len() > 0)
    }

    /// The rows of a partition that may be found.
    fn allowed_in(&self, i: usize) -> Allowed<'a> {
        let partition = &self.index.partitions[i];
        Allowed::new(self.options.filter.map(|filter| filter.places(i)), partition.gone(), partition.len())
    }

    /// Prepares the queries for a partition.
    fn prepare(&mut self, i: usize) -> Result<()> {
        let partition = &self.index.partitions[i];
        let SearchOptions { exec, deviations, .. } = self.options;
        let to = if self.index.metric == Metric::Cosine { QueryFor::Cosines } else { QueryFor::Scores };
        let prepared = &mut self.prepared[i % self.index.kinds];
        if prepared.is_none() {
            // Where the first stage is the whole code it only tells which rows to read.
            let first = partition.first().filter(|(first, _)| self.by_stages || !first.is_whole());
            let first = first.map(|(first, _)| Staged { first, deviations, chooses: self.by_stages });
            let (codec, queries) = (partition.codec(), self.queries);
            *prepared = Some(PreparedQueries::new(codec, queries, &codec.spec().full(), to, first, exec)?);
        }
        Ok(())
    }

    /// A ranking of rows of a partition, for which the queries are prepared.
    fn ranking<'s>(&'s self, i: usize, k: usize, reached: &'s [Reached]) -> Result<Ranking<'s>> {
        let queries = self.prepared[i % self.index.kinds].as_ref().expect("the queries are prepared");
        let (partition, exec) = (&self.index.partitions[i], self.options.exec);
        Ranking::new(self.index, partition, (queries, &self.squares), (k, reached), exec)
    }

    /// What the tasks hold for each query, its best candidates among it, with a key of at least what is `reached`, which rises.
    fn search(&mut self, reached: Vec<Reached>, guessed: bool) -> Result<Vec<Vec<TopK>>> {
        let exec = self.options.exec;
        // Guesses tell what is left to be read in full.
        let by_stages = self.by_stages && !(guessed && self.likely(&reached)? > 1.0);
        let mut columns: Vec<Vec<TopK>> = Vec::new();
        columns.resize_with(self.len(), Vec::new);
        for i in self.partitions() {
            self.prepare(i)?;
            let partition = &self.index.partitions[i];
            let (n, rows, allowed) = (partition.len(), partition.rows(), self.allowed_in(i));
            let staged = by_stages && partition.first().is_some();
            let step =
                if staged { exec.rows_per_thread(n, STAGED_ROWS) } else { exec.rows_per_task(n, Exec::SCAN_ROWS) };
            let step = step.next_multiple_of(WORD);
            let tasks: Vec<_> = (0..n).step_by(step).map(|first| first..n.min(first + step)).collect();
            let done = exec.map(tasks, |range| -> Result<(Vec<TopK>, SearchStats)> {
                let mut task = Task::new(self.ranking(i, self.k, &reached)?, &rows, allowed);
                if staged {
                    task.by_stages(range)?;
                } else {
                    task.in_full(range)?;
                }
                Ok((task.ranking.best, task.stats))
            });
            for task in done {
                let (best, read) = task?;
                columns.iter_mut().zip(best).for_each(|(column, top)| column.push(top));
                self.stats += read;
            }
        }
        Ok(columns)
    }
}

/// The best rows of a partition so far, for a block of queries. Keys are scores, or negated squared distances: larger is nearer.
struct Ranking<'a> {
    index: &'a Index,
    partition: &'a Partition,
    queries: &'a PreparedQueries,
    /// |q|² of every query with metric l2, else empty.
    squares: &'a [f32],
    level: Level,
    best: Vec<TopK>,
    floors: Vec<f32>,
    /// What all tasks have found for each query.
    reached: &'a [Reached],
    /// Rows of the panel that are to be offered one by one, with their queries and keys: what these offers read is on its way.
    due: Vec<(usize, usize, f32)>,
    /// Of blocks of rows for a few queries; infinite where nothing cuts scores.
    uppers: Vec<[f32; WORD]>,
}

impl<'a> Ranking<'a> {
    fn new(
        index: &'a Index,
        partition: &'a Partition,
        (queries, squares): (&'a PreparedQueries, &'a [f32]),
        (k, reached): (usize, &'a [Reached]),
        exec: Exec,
    ) -> Result<Self> {
        let floors: Vec<_> = reached.iter().map(Reached::get).collect();
        let best = floors.iter().map(|&floor| TopK::new(k, floor)).collect();
        let (level, due, uppers) = (exec.level()?, Vec::new(), vec![[f32::INFINITY; WORD]; SHARED]);
        Ok(Self { index, partition, queries, squares, level, best, floors, reached, due, uppers })
    }

    /// Makes scores of one query, or upper ends, into keys: with metric l2 negated distances, from the rows' |x|².
    fn to_keys(&self, query: usize, squares: &[f32], scores: &mut [f32]) {
        if self.index.metric == Metric::L2 {
            to_distances(self.level, self.squares[query], squares, scores);
        }
    }

    /// Takes the scores of a group of queries with at most [`PANEL_ROWS`] rows, whose places `place` tells, whose first stages are
    /// `stages` where they have one, and whose |x|² are `squares` (l2); only rows in the word `allowed` may enter. `block` is the first
    /// place where they are consecutive and start a word.
    fn take(
        &mut self,
        members: Range<usize>,
        keys: &mut [f32],
        (n, allowed): (usize, u64),
        (stages, squares): (&[u8], &[f32]),
        place: impl Fn(usize) -> usize,
        block: Option<usize>,
    ) {
        for (query, keys) in members.clone().zip(keys.chunks_exact_mut(PANEL_ROWS)) {
            self.to_keys(query, squares, &mut keys[..n]);
        }
        let mut marks = [0; GROUP];
        at_least(self.level, keys, n, &self.floors[members.clone()], &mut marks);
        let (mut ready, last) = (self.due.len(), members.end == self.queries.len());
        let (mut many, mut blocks) = ([(0, 0, &[0.0; WORD]); SHARED], 0);
        let mut buffer = [0; WORD];
        // Most often no query has two rows that may enter, and ids would be collected for nobody.
        let several = |marked: &u64| (marked & allowed).count_ones() > 1;
        let block = block.filter(|_| marks[..members.len()].iter().any(several));
        let places = block.map(|first| first..first + n);
        let ids = places.clone().map(|places| self.partition.ids_of(places, self.index.ids.all(), &mut buffer));
        for ((query, keys), marked) in members.zip(keys.as_chunks::<WORD>().0).zip(marks) {
            let marked = marked & allowed;
            if marked == 0 {
                continue;
            }
            if marked & (marked - 1) != 0 && ids.is_some() {
                many[blocks] = (query, marked, keys);
                blocks += 1;
                if let Some((places, ids)) = places.clone().zip(ids).filter(|_| blocks == SHARED) {
                    self.offer_cut_blocks(many, places, ids);
                    blocks = 0;
                }
            } else {
                self.prefetch(query);
                self.due.extend(bits(marked).map(|row| (query, row, keys[row])));
            }
        }
        if let Some((places, ids)) = places.zip(ids) {
            many[..blocks].iter().for_each(|one| self.offer_cut_blocks([*one], places.clone(), ids));
        }
        // Other rows wait while the next group is multiplied.
        if last {
            ready = self.due.len();
        }
        for i in 0..ready {
            let (query, row, key) = self.due[i];
            self.offer_cut(query, (row, place(row)), stages, key);
            self.raise(query);
        }
        self.due.drain(..ready);
    }

    /// Asks for what offers of a query read: with many queries that lies far away.
    fn prefetch(&self, query: usize) {
        self.best[query].prefetch();
        if let Some((stage, ..)) = self.cut() {
            stage.query(query).0.prefetch();
        }
    }

    /// Offers the marked rows of a panel to some queries by their whole keys, which their upper ends may cut.
    fn offer_cut_blocks<const Q: usize>(
        &mut self,
        offers: [(usize, u64, &[f32; WORD]); Q],
        places: Range<usize>,
        ids: &[i64; WORD],
    ) {
        let mut uppers = take(&mut self.uppers);
        if let Some((_, first, scales)) = self.cut() {
            let (bounds, scales) = (first.bounds(places.clone()), &scales[places.clone()]);
            let planes = Planes { blocks: first.blocks(places.clone()), bounds, scales };
            let (queries, squares) = (offers.map(|(query, ..)| query), self.partition.squares_of(places));
            self.uppers(queries, planes, squares, uppers.first_chunk_mut().expect("uppers of as many queries"));
        }
        for ((query, marked, keys), uppers) in offers.into_iter().zip(&uppers) {
            self.best[query].offer_block(self.level, marked, [uppers, keys], ids);
            self.raise(query);
        }
        self.uppers = uppers;
    }

    /// Upper ends of at most a panel of rows for some queries, as keys, by the first stage that cuts scores.
    fn uppers<const Q: usize>(
        &self,
        queries: [usize; Q],
        planes: Planes<'_>,
        squares: &[f32],
        out: &mut [[f32; WORD]; Q],
    ) {
        let stage = self.queries.stage.as_ref().expect("queries are prepared for what cuts scores");
        let n = planes.scales.len();
        let of_queries = queries.map(|query| stage.query(query));
        upper_ends(self.level, planes, of_queries, out.each_mut().map(|out| &mut out[..n]));
        queries.into_iter().zip(out).for_each(|(query, out)| self.to_keys(query, squares, &mut out[..n]));
    }

    /// Offers a row by its whole key, which its upper end may cut. Few rows come so far, so upper ends are computed one by one.
    fn offer_cut(&mut self, query: usize, (row, place): (usize, usize), stages: &[u8], mut key: f32) {
        if let Some((stage, first, scales)) = self.cut() {
            let bytes = &stages[row * first.size()..][..first.size()];
            let mut upper = [stage.upper_end(query, bytes, first.bounds(place..place + 1)[0], scales[place])];
            self.to_keys(query, self.partition.squares_of(place..place + 1), &mut upper);
            key = if upper[0] < key { upper[0] } else { key };
        }
        self.offer(query, place, key);
    }

    /// What cuts scores: the first stage of codes that have another.
    fn cut(&self) -> Option<(&'a StageQueries, &'a FirstStage, &'a [f32])> {
        let (first, scales) = self.partition.first().filter(|(first, _)| !first.is_whole())?;
        Some((self.queries.stage.as_ref()?, first, scales))
    }

    fn offer(&mut self, query: usize, place: usize, key: f32) {
        self.best[query].offer(key, self.index.ids.all()[self.partition.number(place)]);
    }

    /// Raises the floor to the k-th best of any task so far.
    fn raise(&mut self, query: usize) {
        let floor = self.best[query].floor();
        if floor > self.floors[query] {
            self.reached[query].raise(floor);
        }
        self.floors[query] = self.reached[query].get();
    }
}

/// The scan of some rows of a partition for a block of queries.
struct Task<'a> {
    ranking: Ranking<'a>,
    rows: &'a Rows<'a>,
    allowed: Allowed<'a>,
    /// Made when rows are first read in full together, which a search by stages may never do.
    scanner: Option<Scanner>,
    gathered: Gathered,
    /// Of each query, in a search by stages.
    waiting: Vec<Waiting>,
    buffers: Buffers,
    stats: SearchStats,
}

impl<'a> Task<'a> {
    fn new(ranking: Ranking<'a>, rows: &'a Rows<'a>, allowed: Allowed<'a>) -> Self {
        let (gathered, buffers, stats) = (Gathered::default(), Buffers::default(), SearchStats::default());
        Self { ranking, rows, allowed, scanner: None, gathered, waiting: Vec::new(), buffers, stats }
    }

    /// Reads every allowed row of `range`, which starts a word: words that hold many of them as they lie, the others' rows together.
    fn in_full(&mut self, range: Range<usize>) -> Result<()> {
        if self.allowed.all() {
            return self.read(range);
        }
        let many = |word: u64| word.count_ones() >= MANY;
        self.allowed.runs(range.clone(), many).try_for_each(|run| self.read(run))?;
        let mut places = Vec::new();
        for first in range.step_by(WORD) {
            let word = self.allowed.word(first / WORD);
            places.extend(bits(if many(word) { 0 } else { word }).map(|row| first + row));
            if places.len() >= PANEL_ROWS {
                self.read_places(&places[..PANEL_ROWS])?;
                places.drain(..PANEL_ROWS);
            }
        }
        self.read_places(&places)
    }

    /// Reads the rows of `range`, which starts a word, a panel at a time for all queries.
    fn read(&mut self, range: Range<usize>) -> Result<()> {
        let Self { ranking, rows, allowed, scanner, stats, .. } = self;
        let (queries, partition) = (ranking.queries, ranking.partition);
        let scanner = made(scanner, partition);
        partition.check(range.clone())?;
        stats.full(range.len(), queries.len(), partition.row_bytes());
        scanner.scan(rows, range, queries, |members, rows, stages, keys| {
            let (word, squares) = (allowed.word(rows.start / WORD), partition.squares_of(rows.clone()));
            ranking.take(
                members,
                keys,
                (rows.len(), word),
                (stages, squares),
                |row| rows.start + row,
                Some(rows.start),
            );
        });
        Ok(())
    }

    /// Copies rows together and reads them for all queries; at most a panel.
    fn read_places(&mut self, places: &[usize]) -> Result<()> {
        self.gather(places, |ranking, gathered, members, keys| {
            let of_rows = (gathered.first_stages(), &gathered.squares[..]);
            ranking.take(members, keys, (places.len(), u64::MAX), of_rows, |row| places[row], None);
        })
    }

    /// Copies rows together, at most a panel, and hands their scores to `each`, a group of queries at a time.
    fn gather(
        &mut self,
        places: &[usize],
        mut each: impl FnMut(&mut Ranking<'_>, &Gathered, Range<usize>, &mut [f32]),
    ) -> Result<()> {
        let Self { ranking, gathered, scanner, stats, .. } = self;
        let (queries, partition) = (ranking.queries, ranking.partition);
        let scanner = made(scanner, partition);
        stats.full(places.len(), queries.len(), partition.row_bytes());
        places.iter().try_for_each(|&place| partition.check_first(place..place + 1))?;
        gathered.fill(partition, places.iter().copied())?;
        scanner.scan(&gathered.rows(partition), 0..places.len(), queries, |members, _, _, keys| {
            each(ranking, gathered, members, keys);
        });
        Ok(())
    }
}

/// The scanner of a task, made when it is first wanted.
fn made<'s>(scanner: &'s mut Option<Scanner>, partition: &Partition) -> &'s mut Scanner {
    let codec = partition.codec();
    scanner.get_or_insert_with(|| Scanner::new(codec, &codec.spec().full()))
}
