//! The k best of many candidates for a large k: they are collected, and cut to the k best when they are a few too many.
//!
//! What is selected and sorted is one integer a candidate, so that no comparison is a branch.

use super::Candidate;
use crate::bitmap::WORD;
use crate::kernels::Level;
use crate::kernels::pick::pick;
use crate::kernels::ranks::{rank, ranks};

/// Bits of a digit when candidates are sorted, so that what is written by digits stays in a first-level cache; so many digits.
const DIGIT: u32 = 8;
const VALUES: usize = (1 << DIGIT) - 1;
const DIGITS: usize = 3;
/// From this k on there is no room before there are candidates.
const ROOM: usize = 1 << 14;

/// Candidates in no order: of each its key and its id.
#[derive(Debug, Default)]
pub(super) struct Pool {
    keys: Vec<f32>,
    ids: Vec<i64>,
}

/// The rank of an integer of [`Pool::order`], and which candidate it stands for.
fn parts(order: u64) -> (u32, usize) {
    ((order >> u32::BITS) as u32, order as u32 as usize)
}

impl Pool {
    /// With room for somewhat more than the k best, unless that is much, which ranges that hold few rows seldom fill.
    pub(super) fn new(k: usize) -> Self {
        let room = if k < ROOM { k + k / 2 } else { 0 };
        Self { keys: Vec::with_capacity(room), ids: Vec::with_capacity(room) }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    #[inline]
    pub(super) fn push(&mut self, key: f32, id: i64) {
        self.keys.push(key);
        self.ids.push(id);
    }

    /// Takes those of a block's rows whose lower key is at least `floor`.
    #[inline]
    pub(super) fn take(&mut self, level: Level, rows: (u64, f32), keys: [&[f32; WORD]; 2], ids: &[i64; WORD]) {
        pick(level, rows, keys, ids, (&mut self.keys, &mut self.ids));
    }

    fn candidate(&self, i: usize) -> Candidate {
        Candidate { key: self.keys[i], id: self.ids[i] }
    }

    /// All of them best first: for more than 32 bits tell apart.
    fn sorted(&self) -> Option<Vec<Candidate>> {
        let sorted = || {
            let mut all: Vec<_> = (0..self.len()).map(|i| self.candidate(i)).collect();
            all.sort_unstable();
            all
        };
        u32::try_from(self.len()).is_err().then(sorted)
    }

    /// For each candidate of at most 2^32 its rank, less the least of all, and where it is.
    fn order(&self) -> Vec<u64> {
        let least = self.keys.iter().map(|&key| rank(key)).min().unwrap_or(0);
        (0..).zip(&self.keys).map(|(i, &key): (u64, _)| u64::from(rank(key) - least) << u32::BITS | i).collect()
    }

    /// Leaves the k best of more, and returns the worst key among them.
    pub(super) fn cut(&mut self, k: usize) -> f32 {
        if let Some(mut sorted) = self.sorted() {
            sorted.truncate(k);
            self.keys.clear();
            self.ids.clear();
            sorted.iter().for_each(|candidate| self.push(candidate.key, candidate.id));
            return sorted[k - 1].key;
        }
        let mut order = self.order();
        let (better, &mut worst, _) = order.select_nth_unstable(k - 1);
        let (last, at) = parts(worst);
        let key = self.keys[at];
        // Of those with the worst rank the lowest ids stay.
        let better = better.iter().filter(|&&order| parts(order).0 < last).count();
        let mut ids: Vec<_> =
            self.keys.iter().zip(&self.ids).filter(|(other, _)| **other == key).map(|(_, &id)| id).collect();
        let (_, &mut highest, _) = ids.select_nth_unstable(k - better - 1);
        let mut kept = 0;
        for i in 0..self.len() {
            let Candidate { key: other, id } = self.candidate(i);
            (self.keys[kept], self.ids[kept]) = (other, id);
            kept += usize::from(other > key || other == key && id <= highest);
        }
        self.keys.truncate(kept);
        self.ids.truncate(kept);
        key
    }

    /// Adds the candidates of another.
    pub(super) fn append(&mut self, mut other: Self) {
        if self.keys.is_empty() {
            *self = other;
        } else {
            self.keys.append(&mut other.keys);
            self.ids.append(&mut other.ids);
        }
    }

    /// Appends the k best, or all of fewer, best first.
    pub(super) fn best(&self, level: Level, k: usize, sort: &mut Sort, found: &mut Vec<Candidate>) {
        if let Some(sorted) = self.sorted() {
            return found.extend(&sorted[..k.min(sorted.len())]);
        }
        let (top, order) = (sort.by_digits(level, &self.keys), &mut sort.order);
        // Those whose digits are the same are in the order of adding.
        let mut first = 0;
        for next in 1..=order.len() {
            if next < order.len() && top(order[next]) == top(order[first]) {
                continue;
            }
            if next - first > 1 {
                order[first..next].sort_unstable_by_key(|&order| (parts(order).0, self.ids[parts(order).1]));
            }
            first = next;
        }
        found.extend(order.iter().take(k).map(|&order| self.candidate(parts(order).1)));
    }
}

/// What sorts candidates by their keys.
#[derive(Debug, Default)]
pub(super) struct Sort {
    ranks: Vec<u32>,
    /// As [`Pool::order`].
    order: Vec<u64>,
    other: Vec<u64>,
}

impl Sort {
    /// Sorts keys by the most significant digits of their ranks, and returns what tells these.
    fn by_digits(&mut self, level: Level, keys: &[f32]) -> impl Fn(u64) -> u64 + use<> {
        let Self { ranks: of_keys, order, other } = self;
        of_keys.resize(keys.len(), 0);
        order.resize(keys.len(), 0);
        other.resize(keys.len(), 0);
        let (least, most) = ranks(level, keys, of_keys);
        let bits = u32::BITS - most.saturating_sub(least).leading_zeros();
        let lowest = bits.saturating_sub(DIGITS as u32 * DIGIT);
        let digit = |rank: u32, i: usize| (rank >> lowest) as usize >> (i as u32 * DIGIT) & VALUES;
        let mut places = [[0_u32; 1 << DIGIT]; DIGITS];
        for &rank in &*of_keys {
            places.iter_mut().enumerate().for_each(|(i, places)| places[digit(rank - least, i)] += 1);
        }
        for places in &mut places {
            let mut next = 0;
            places.iter_mut().for_each(|place| next += std::mem::replace(place, next));
        }
        let [low, others @ ..] = &mut places;
        for (i, &rank) in (0..).zip(&*of_keys) {
            let rank = rank - least;
            let place = &mut low[digit(rank, 0)];
            order[*place as usize] = u64::from(rank) << u32::BITS | i;
            *place += 1;
        }
        for (i, places) in (1..).zip(others) {
            for &entry in &*order {
                let place = &mut places[digit(parts(entry).0, i)];
                other[*place as usize] = entry;
                *place += 1;
            }
            std::mem::swap(order, other);
        }
        move |order| order >> (u32::BITS + lowest)
    }
}
