//! A floor for a large k before the search: what some rows, spread over all, tell of the k-th best.
//!
//! Without one, the k best of n rows in no order see k·ln(n/k) others enter and leave. The floor is a guess that 1.3 k rows should reach
//! where many rows of the sample may be expected among the k best, 3 k where few; where fewer than k do, the search is made again without
//! it, so that it changes no answer.

use super::{Block, Reached, Task};
use crate::bitmap::WORD;
use crate::error::Result;
use crate::kernels::planes::{BLOCK, Planes, from_rows};
use crate::scan::PANEL_ROWS;

/// From so many results of all queries on a floor is guessed: rows of a sample are decoded for few queries as for many.
const RESULTS: usize = 1_000;
/// Fewest rows of a sample that are expected among the k best: fewer say little, and a smaller k soon has a floor of its own.
const FEWEST: f64 = 8.0;
/// A sample has at most so many rows, of which at most so many are expected among the k best, and at most one row in so many.
const SAMPLE: usize = 2_048;
const AMONG: usize = 200;
const ONE_IN: usize = 16;
/// It has more rows than that where fewer than so many would be expected, if it still has at most one row in so many.
const WANTED: usize = 20;
const SPARSE: usize = 64;
/// Standard deviations, and rows, by which the rows of a sample that are among the k best may be more than expected. They are about
/// Poisson distributed where rows are in no order, with a longer tail than a normal distribution: as many are found for one query in 70,000
/// at most.
const DEVIATIONS: f64 = 4.5;
const SPARE: f64 = 2.0;
/// Words of rows whose first stages tell how many rows reach the floor.
const WORDS: usize = 16;

/// A sample of `rows`: one in so many, and which of its best is the floor; none where that says little, or costs more than it saves.
fn sample(queries: usize, k: usize, rows: usize) -> Option<(usize, usize)> {
    let every = rows.div_ceil(SAMPLE).max(k / AMONG).max(ONE_IN).min(SPARSE.max(k / WANTED));
    let taken = rows / every;
    let among = k as f64 * (taken as f64 / rows as f64);
    let rank = (among + DEVIATIONS * among.sqrt() + SPARE).ceil() as usize;
    (queries.saturating_mul(k) >= RESULTS && among >= FEWEST && rank <= taken / 2).then_some((every, rank))
}

impl Block<'_> {
    /// Floors of the queries, guessed from a sample of the allowed rows; none where k is small, or not far below their number.
    pub(super) fn guess(&mut self) -> Result<Option<Vec<f32>>> {
        let allowed = || self.partitions().map(|i| self.allowed_in(i).count()).sum();
        let Some((every, rank)) = sample(self.len(), self.k, allowed()) else { return Ok(None) };
        let mut keys: Vec<_> = (0..self.len()).map(|_| Vec::new()).collect();
        let reached: Vec<_> = keys.iter().map(|_| Reached::new(f32::NEG_INFINITY)).collect();
        let mut skip = every / 2;
        for i in self.partitions() {
            let mut places = Vec::new();
            skip = self.allowed_in(i).every(every, skip, &mut places);
            self.prepare(i)?;
            let partition = &self.index.partitions[i];
            let rows = partition.rows();
            let mut task = Task::new(self.ranking(i, rank, &reached)?, &rows, self.allowed_in(i));
            let mut next = places.iter();
            next.by_ref().take(PANEL_ROWS).for_each(|&place| partition.prefetch(place));
            for places in places.chunks(PANEL_ROWS) {
                next.by_ref().take(PANEL_ROWS).for_each(|&place| partition.prefetch(place));
                task.keys_of(places, &mut keys)?;
            }
            self.sampled += task.stats;
        }
        let floors = keys.into_iter().map(|mut keys| {
            if keys.len() < rank {
                return f32::NEG_INFINITY;
            }
            *keys.select_nth_unstable_by(rank - 1, |a, b| b.total_cmp(a)).1
        });
        Ok(Some(floors.collect()))
    }

    /// What reading the rows that reach the floors by their first stages, by those of some, costs for all queries, as a share of what
    /// reading all rows does.
    pub(super) fn likely(&mut self, reached: &[Reached]) -> Result<f64> {
        let (mut seen, mut likely) = (0, 0.0);
        for i in self.partitions().filter(|&i| self.index.partitions[i].first().is_some()).collect::<Vec<_>>() {
            self.prepare(i)?;
            let (rows, allowed) = (self.index.partitions[i].rows(), self.allowed_in(i));
            let mut task = Task::new(self.ranking(i, self.k, reached)?, &rows, allowed);
            let n = self.index.partitions[i].len();
            for first in (0..n).step_by((n / WORDS).next_multiple_of(WORD).max(WORD)) {
                seen += allowed.word(first / WORD).count_ones() as usize;
                let survivors = task.survivors(first..n.min(first + WORD))?;
                likely += survivors as f64 * task.ranking.queries.alone();
            }
            self.stats += task.stats;
        }
        Ok(likely / seen.max(1) as f64)
    }
}

impl Task<'_> {
    /// Appends the keys of some rows, at most a panel, to those of each query; upper ends cut them, as they do in a search.
    fn keys_of(&mut self, places: &[usize], found: &mut [Vec<f32>]) -> Result<()> {
        let (mut blocks, mut bounds, mut scales) = (Vec::new(), Vec::new(), Vec::new());
        self.gather(places, |ranking, gathered, members, keys| {
            let cut = ranking.cut();
            if let Some((_, first, of_rows)) = cut.filter(|_| members.start == 0) {
                let size = first.size();
                blocks.resize(places.len().div_ceil(BLOCK) * size, [0; BLOCK]);
                let rows = gathered.first_stages().chunks(BLOCK * size);
                rows.zip(blocks.chunks_exact_mut(size)).for_each(|(rows, block)| from_rows(rows, size, 0, block));
                bounds.extend(places.iter().map(|&place| first.bounds(place..place + 1)[0]));
                scales.extend(places.iter().map(|&place| of_rows[place]));
            }
            let planes = Planes { blocks: &blocks, bounds: &bounds, scales: &scales };
            for (query, keys) in members.zip(keys.as_chunks_mut::<WORD>().0) {
                let keys = &mut keys[..places.len()];
                ranking.to_keys(query, &gathered.squares, keys);
                if cut.is_some() {
                    let mut uppers = [[0.0; WORD]];
                    ranking.uppers([query], planes, &gathered.squares, &mut uppers);
                    keys.iter_mut()
                        .zip(uppers[0])
                        .for_each(|(key, upper)| *key = if upper < *key { upper } else { *key });
                }
                found[query].extend_from_slice(keys);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::codec::{Options, TurboQuant};
    use crate::index::{Filter, Index, Keep, Neighbors, SearchOptions, SearchStats};
    use crate::kernels::testing::floats;
    use crate::metric::Metric;
    use crate::parallel::Exec;

    const DIM: usize = 16;

    #[test]
    fn samples_reach_more_rows_than_are_wanted() {
        assert_eq!(
            [(10, 100_000), (100, 1_000_000), (60_000, 100_000), (100, 300), (100, 0)]
                .map(|(k, rows)| sample(100, k, rows)),
            [None; 5]
        );
        assert_eq!((sample(1, 999, 100_000), sample(1, 1_000, 100_000).is_some()), (None, true));
        let places = [
            (400, 100_000),
            (1_000, 100_000),
            (10_000, 100_000),
            (1_000, 10_000_000),
            (10_000, 10_000_000),
            (300, 5_000),
            (130, 2_000),
        ];
        for (k, rows) in places {
            let (every, rank) = sample(10, k, rows).unwrap();
            let (reached, among) = (rank * every, k as f64 / every as f64);
            assert!(reached > k && reached <= 3 * k && reached < rows / 2, "{k} of {rows}: {reached}");
            // As many rows of the sample as its rank are hardly ever among the k best.
            let (mut fewer, mut exactly) = (0.0, (-among).exp());
            for i in 1..=rank {
                fewer += exactly;
                exactly *= among / i as f64;
            }
            assert!(1.0 - fewer < 1.5e-5, "{k} of {rows}: {} of {among}", 1.0 - fewer);
        }
    }

    /// Rows in the order that `key` gives those of random ones, sorted by their first coordinate, under ids that descend: every second row
    /// twice, so that scores tie.
    fn index(n: usize, metric: Metric, key: impl Fn(usize) -> usize) -> Index {
        let mut rows: Vec<_> = (0..n).map(|i| floats(DIM, (i / 2 * 2) as u64)).collect();
        rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let mut order: Vec<_> = (0..n).collect();
        order.sort_by_key(|&i| key(i));
        let x: Vec<_> = order.into_iter().flat_map(|i| rows[i].clone()).collect();
        let mut index = Index::new(Arc::new(TurboQuant::new(DIM, 4, Options::default()).unwrap()), metric);
        index.add(&x, Some(&(0..n as i64).rev().collect::<Vec<_>>())).unwrap();
        index
    }

    fn search(index: &Index, queries: &[f32], options: SearchOptions<'_>) -> (Neighbors, SearchStats) {
        let places = queries.len() / index.codec().dim() * options.k;
        let (mut scores, mut ids) = (vec![0.0; places], vec![0; places]);
        let stats = index.search_into(queries, options, &mut scores, &mut ids).unwrap();
        (Neighbors { scores, ids }, stats)
    }

    #[test]
    fn guesses_change_no_answer() {
        let (n, k, nq) = (1_600, 250, 5);
        let (every, _) = sample(nq, k, n).unwrap();
        let taken = (every / 2..n).step_by(every).len();
        // The first query ranks rows by the coordinate that orders them.
        let mut queries = floats(nq * DIM, 5);
        queries[..DIM].fill(0.0);
        queries[0] = 1.0;
        let is_taken = |i: usize| i % every == every / 2;
        for metric in [Metric::InnerProduct, Metric::Cosine, Metric::L2] {
            let orders: [&dyn Fn(usize) -> usize; 3] = [&|i| i, &|i| n - i, &|i| i * 7_919 % n];
            let mut indexes: Vec<_> = orders.iter().map(|order| index(n, metric, order)).collect();
            // The rows of the sample are the nearest: of n rows that ascend, the last ones take its places.
            let others: Vec<_> = (0..n).filter(|&i| !is_taken(i)).chain((0..n).filter(|&i| is_taken(i))).collect();
            indexes.push(index(n, metric, |i| others[i]));
            for mut index in indexes {
                for change in [false, true] {
                    if change {
                        index.remove(&(0..n as i64).filter(|id| id % 11 == 3).collect::<Vec<_>>()).unwrap();
                    }
                    let filter = index.filter_where(|id| id % 13 != 5).unwrap();
                    for filter in [None, Some(&filter)] {
                        answers(&index, &queries, filter);
                    }
                }
            }
            // As many rows as are wanted do not reach what the sample does, and all are read a second time.
            let misled = index(n, metric, |i| others[i]);
            let options = SearchOptions { exact: true, ..SearchOptions::new(k) };
            let read = |queries: &[f32]| search(&misled, queries, options).1.full_rows / (queries.len() / DIM);
            let unit = queries[..DIM].repeat(nq);
            if metric != Metric::L2 {
                assert_eq!(read(&unit), 2 * n + taken, "{metric:?}");
            }
            let plain = index(n, metric, |i| i * 7_919 % n);
            assert_eq!(search(&plain, &unit, options).1.full_rows / nq, n + taken);
        }
    }

    #[test]
    fn guesses_of_searches_that_stay_by_stages() {
        let (n, k, nq, dim) = (64_000, 2_500, 1, 64);
        let (every, _) = sample(nq, k, n).unwrap();
        // Few rows are near the queries, so that first stages tell them from the others: in no order, and most in places of the sample.
        let near: [&dyn Fn(usize) -> bool; 2] =
            [&|i| i * 7_919 % n < n / 13, &|i| i % every == every / 2 || i * 7_919 % n < n / 32];
        let mut queries = floats(nq * dim, 5);
        queries.chunks_mut(dim).for_each(|query| query[0] += 40.0);
        for (near, times) in near.into_iter().zip([1, 2]) {
            let mut x = floats(n * dim, 6);
            x.chunks_mut(dim).enumerate().filter(|(i, _)| near(*i)).for_each(|(_, row)| row[0] += 40.0);
            let mut index =
                Index::new(Arc::new(TurboQuant::new(dim, 4, Options::default()).unwrap()), Metric::InnerProduct);
            index.add(&x, None).unwrap();
            let all = search(&index, &queries, SearchOptions::new(n)).0;
            let (found, stats) = search(&index, &queries, SearchOptions::new(k));
            for query in 0..nq {
                let (want, got) = (query * n..query * n + k, query * k..(query + 1) * k);
                assert_eq!(found.ids[got.clone()], all.ids[want.clone()]);
                assert_eq!(found.scores[got], all.scores[want]);
            }
            // The first stages of some rows are read once more to see what a guess leaves; a search without one may read rows in full.
            let first = n * nq + 1..(times + 1) * n * nq;
            assert!(first.contains(&stats.first_stage_rows), "{times}: {stats:?}");
            assert!(times == 2 || stats.full_rows < n * nq / 2, "{stats:?}");
            assert!(times == 1 || stats.first_stage_rows > n * nq + n / 8, "{stats:?}");
        }
    }

    #[test]
    fn candidates_for_exact_scores_may_be_guessed() {
        let (n, k, rescore, nq) = (1_600, 25, 10, 5);
        let (every, _) = sample(nq, k * rescore, n).unwrap();
        let (x, queries) = (floats(n * DIM, 3), floats(nq * DIM, 5));
        // In no order; and the nearest of the first query in the places of the sample, which its floor is then too high for.
        let near = |row: &usize| -> f32 { x[row * DIM..][..DIM].iter().zip(&queries).map(|(a, b)| a * b).sum() };
        let mut nearest: Vec<_> = (0..n).collect();
        nearest.sort_by(|a, b| near(b).total_cmp(&near(a)));
        let is_taken = |i: &usize| i % every == every / 2;
        let places: Vec<_> = (0..n).filter(is_taken).chain((0..n).filter(|i| !is_taken(i))).collect();
        let mut misled = vec![0; n];
        places.into_iter().zip(nearest).for_each(|(place, row)| misled[place] = row);
        for order in [(0..n).collect(), misled] {
            let rows: Vec<_> = order.iter().flat_map(|row| &x[row * DIM..][..DIM]).copied().collect();
            for metric in [Metric::InnerProduct, Metric::Cosine, Metric::L2] {
                let codec = Arc::new(TurboQuant::new(DIM, 2, Options::default()).unwrap());
                let mut index = Index::keeping(codec, metric, Keep::Float16);
                index.add(&rows, None).unwrap();
                let all = search(&index, &queries, SearchOptions::new(n)).0;
                let found = search(&index, &queries, SearchOptions { rescore, ..SearchOptions::new(k) }).0;
                for (query, ids) in all.ids.chunks_exact(n).enumerate() {
                    let (ids, mut exact) = (&ids[..k * rescore], vec![0.0; k * rescore]);
                    let asked = &queries[query * DIM..][..DIM];
                    index.exact_scores_into(asked, ids, &mut exact, Exec::default()).unwrap();
                    let mut best: Vec<_> = exact.into_iter().zip(ids.iter().copied()).collect();
                    best.sort_by(|a, b| if metric == Metric::L2 { a.0.total_cmp(&b.0) } else { b.0.total_cmp(&a.0) });
                    let got = query * k..(query + 1) * k;
                    let got: Vec<_> =
                        found.scores[got.clone()].iter().copied().zip(found.ids[got].iter().copied()).collect();
                    assert_eq!(got, best[..k], "{metric:?}, query {query}");
                }
            }
        }
    }

    /// Compares large k with the ranking of all rows, for which no floor is guessed.
    fn answers(index: &Index, queries: &[f32], filter: Option<&Filter>) {
        let (nq, n) = (queries.len() / DIM, index.len());
        let all = search(index, queries, SearchOptions { filter, ..SearchOptions::new(n) }).0;
        for (k, exact, serial) in [(250, true, true), (250, true, false), (250, false, true), (300, false, false)] {
            let options =
                SearchOptions { filter, exact, exec: Exec { serial, ..Exec::default() }, ..SearchOptions::new(k) };
            let found = search(index, queries, options).0;
            for query in 0..nq {
                let (want, got) = (query * n..query * n + k, query * k..(query + 1) * k);
                assert_eq!(found.ids[got.clone()], all.ids[want.clone()], "{k} of {n}, exact {exact}");
                assert_eq!(found.scores[got], all.scores[want]);
            }
        }
    }
}
