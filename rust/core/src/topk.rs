//! The k best of many candidates in one total order: score first, then the lower id. O(log k) a candidate that enters, or
//! O(1) for a large k.
//!
//! A key below a limit is no candidate, so the same heap, of any k, serves a search of all rows within a distance.

mod pool;

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::bitmap::{WORD, bits};
use crate::kernels::Level;
use crate::kernels::prefetch::prefetch;
use pool::{Pool, Sort};

/// A candidate; `key` is larger for nearer rows and never NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) key: f32,
    pub(crate) id: i64,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    /// Greater is *worse*, so that the top of a heap is the one to evict. −0 equals +0, as in the reference.
    fn cmp(&self, other: &Self) -> Ordering {
        let keys = other.key.partial_cmp(&self.key).expect("scores are never NaN");
        keys.then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Up to this k a heap holds exactly the k best, so that the floor rises with every candidate that enters; for larger ones that costs more
/// than it leaves out.
const HEAPED: usize = 256;

/// The k best candidates seen.
#[derive(Debug)]
pub(crate) struct TopK {
    k: usize,
    /// Keys below it are not taken: none of the k best, or below the limit that was given.
    floor: f32,
    /// At most k for a small k.
    heap: BinaryHeap<Candidate>,
    /// For a large k, the k best of those seen among a few more.
    pool: Pool,
}

impl TopK {
    pub(crate) fn new(k: usize, least: f32) -> Self {
        let pool = if k > HEAPED { Pool::new(k) } else { Pool::default() };
        Self { k, floor: least, heap: BinaryHeap::new(), pool }
    }

    /// Candidates that are wanted.
    pub(crate) fn wanted(&self) -> usize {
        self.k
    }

    /// Keys below this cannot enter; a key equal to it enters with a lower id.
    #[inline]
    pub(crate) fn floor(&self) -> f32 {
        self.floor
    }

    /// Offers a candidate.
    #[inline]
    pub(crate) fn offer(&mut self, key: f32, id: i64) {
        let candidate = Candidate { key, id };
        if key < self.floor {
            return;
        }
        if self.k > HEAPED {
            self.pool.push(key, id);
            return self.cut();
        }
        if self.heap.len() < self.k {
            self.heap.push(candidate);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate < *worst
        {
            *worst = candidate;
        }
        if self.heap.len() == self.k
            && let Some(worst) = self.heap.peek()
        {
            self.floor = worst.key;
        }
    }

    /// Asks for the candidates that an offer is compared with.
    #[inline]
    pub(crate) fn prefetch(&self) {
        prefetch(self.heap.as_slice());
    }

    /// Offers the rows of a block whose bits are set, with the lower of their two keys and their ids.
    #[inline]
    pub(crate) fn offer_block(&mut self, level: Level, rows: u64, keys: [&[f32; WORD]; 2], ids: &[i64; WORD]) {
        if self.k <= HEAPED {
            let [some, others] = keys;
            let lower = |row: usize| if some[row] < others[row] { some[row] } else { others[row] };
            return bits(rows).for_each(|row| self.offer(lower(row % WORD), ids[row % WORD]));
        }
        self.pool.take(level, (rows, self.floor), keys, ids);
        self.cut();
    }

    /// Leaves the k best of a full pool.
    fn cut(&mut self) {
        if self.pool.len() >= candidates(self.k) {
            self.floor = self.pool.cut(self.k);
        }
    }

    /// Candidates that are held.
    pub(crate) fn len(&self) -> usize {
        self.heap.len() + self.pool.len()
    }
}

/// Puts together what several have found, query after query: its buffers stay.
#[derive(Debug)]
pub(crate) struct Merge {
    level: Level,
    sort: Sort,
    found: Vec<Candidate>,
}

impl Merge {
    pub(crate) fn new(level: Level) -> Self {
        Self { level, sort: Sort::default(), found: Vec::new() }
    }

    /// The candidates of all of `tops`, best first, at most k.
    pub(crate) fn best(&mut self, tops: impl IntoIterator<Item = TopK>, k: usize) -> &[Candidate] {
        let Self { level, sort, found } = self;
        let mut pool = Pool::default();
        found.clear();
        for top in tops {
            found.extend(top.heap);
            pool.append(top.pool);
        }
        if pool.len() > 0 {
            found.drain(..).for_each(|candidate| pool.push(candidate.key, candidate.id));
            if pool.len() > candidates(k) {
                pool.cut(k);
            }
            pool.best(*level, k, sort, found);
            return found;
        }
        if found.len() > k && k > 0 {
            found.select_nth_unstable(k - 1);
        }
        found.truncate(k);
        found.sort_unstable();
        found
    }
}

/// Candidates that are held for the k best: at so many a pool is cut.
pub(crate) fn candidates(k: usize) -> usize {
    if k > HEAPED { k.saturating_mul(2) } else { k }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lower_id_in_any_order_and_split() {
        let offers = [(1.0, 9), (3.0, 5), (3.0, 4), (-0.0, 1), (0.0, 0), (3.0, 7)];
        for split in 0..offers.len() {
            let mut heaps = [TopK::new(4, f32::NEG_INFINITY), TopK::new(4, f32::NEG_INFINITY)];
            for (i, (key, id)) in offers.into_iter().enumerate() {
                heaps[usize::from(i >= split)].offer(key, id);
            }
            let ids: Vec<_> = Merge::new(Level::Scalar).best(heaps, 4).iter().map(|c| c.id).collect();
            assert_eq!(ids, [4, 5, 7, 9]);
        }
        let mut top = TopK::new(6, -0.0);
        offers.into_iter().for_each(|(key, id)| top.offer(key, id));
        let ids: Vec<_> = Merge::new(Level::Scalar).best([top], 6).iter().map(|c| c.id).collect();
        assert_eq!(ids, [4, 5, 7, 9, 0, 1]);
    }

    #[test]
    fn heaps_and_pools_hold_the_best_of_many_ties() {
        let offers: Vec<_> =
            (0..5_000_i64).map(|i| ((i * 7_919 % 5_000 / 16 - 150) as f32, i * 4_001 % 5_000 - 2_000)).collect();
        let mut all: Vec<_> = offers.iter().map(|&(key, id)| Candidate { key, id }).collect();
        all.sort_unstable();
        for k in [1, HEAPED, HEAPED + 1, 1_000, 2_500, 4_999, 5_000, 9_000] {
            for least in [f32::NEG_INFINITY, 100.0] {
                let mut top = TopK::new(k, least);
                offers.iter().for_each(|&(key, id)| top.offer(key, id));
                let mut blocks = TopK::new(k, least);
                for block in offers.chunks(WORD) {
                    let keys = std::array::from_fn(|i| block.get(i).map_or(f32::NAN, |offer| offer.0));
                    let ids = std::array::from_fn(|i| block.get(i).map_or(-1, |offer| offer.1));
                    let uppers = std::array::from_fn(|i| if i % 2 == 0 { f32::INFINITY } else { keys[i] });
                    let (marked, keys) = (u64::MAX >> (WORD - block.len()), [&uppers, &keys]);
                    blocks.offer_block(Level::default_level().unwrap(), marked, keys, &ids);
                }
                let want: Vec<_> = all.iter().filter(|candidate| candidate.key >= least).take(k).copied().collect();
                assert_eq!(Merge::new(Level::Scalar).best([top], k), want, "{k} of at least {least}");
                assert_eq!(Merge::new(Level::Scalar).best([blocks], k), want, "{k} of at least {least}, by blocks");
            }
        }
    }
}
