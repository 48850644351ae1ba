//! The k best of many candidates for a large k: they are collected, and cut to the k best when they are a few too many.
//!
//! What is selected and sorted is one integer a candidate, half as long, so that no comparison is a branch.

use super::Candidate;

/// Most bits of a digit when candidates are sorted, and of so few that clearing its counts would take long.
const DIGIT: u32 = 13;
const SHORT_DIGIT: u32 = 9;
const FEW: usize = 4_096;
/// From this k on there is no room before there are candidates.
const ROOM: usize = 1 << 14;

/// Candidates in no order.
#[derive(Debug, Default)]
pub(super) struct Pool(Vec<Candidate>);

/// An integer that ascends from the best key to the worst; −0 has that of 0.
#[inline]
fn rank(key: f32) -> u32 {
    let bits = (key + 0.0).to_bits();
    if bits >> 31 == 0 { bits ^ 0x7FFF_FFFF } else { bits }
}

/// The rank of an integer of [`Pool::order`], and which candidate it stands for.
fn parts(order: u64) -> (u32, usize) {
    ((order >> u32::BITS) as u32, order as u32 as usize)
}

impl Pool {
    /// With room for somewhat more than the k best, unless that is much, which ranges that hold few rows seldom fill.
    pub(super) fn new(k: usize) -> Self {
        Self(Vec::with_capacity(if k < ROOM { k + k / 4 } else { 0 }))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub(super) fn push(&mut self, key: f32, id: i64) {
        self.0.push(Candidate { key, id });
    }

    /// Whether 32 bits tell which candidate is meant.
    fn is_short(&self) -> bool {
        u32::try_from(self.0.len()).is_ok()
    }

    /// For each candidate of at most 2^32 its rank, less the least of all, and where it is.
    fn order(&self) -> Vec<u64> {
        let least = self.0.iter().map(|candidate| rank(candidate.key)).min().unwrap_or(0);
        let entry = |(i, candidate): (u64, &Candidate)| u64::from(rank(candidate.key) - least) << u32::BITS | i;
        (0..).zip(&self.0).map(entry).collect()
    }

    /// Leaves the k best of more, and returns the worst key among them.
    pub(super) fn cut(&mut self, k: usize) -> f32 {
        if !self.is_short() {
            let (_, &mut worst, _) = self.0.select_nth_unstable(k - 1);
            self.0.truncate(k);
            return worst.key;
        }
        let mut order = self.order();
        let (better, &mut worst, _) = order.select_nth_unstable(k - 1);
        let (last, at) = parts(worst);
        let key = self.0[at].key;
        // Of those with the worst rank the lowest ids stay.
        let better = better.iter().filter(|&&order| parts(order).0 < last).count();
        let equal = |candidate: &Candidate| candidate.key == key;
        let mut ids: Vec<_> =
            self.0.iter().filter(|candidate| equal(candidate)).map(|candidate| candidate.id).collect();
        let (_, &mut highest, _) = ids.select_nth_unstable(k - better - 1);
        self.0.retain(|candidate| candidate.key > key || equal(candidate) && candidate.id <= highest);
        key
    }

    /// Adds the candidates of another.
    pub(super) fn append(&mut self, mut other: Self) {
        if self.0.is_empty() {
            *self = other;
        } else {
            self.0.append(&mut other.0);
        }
    }

    /// The k best, or all of fewer, best first.
    pub(super) fn best(mut self, k: usize) -> Vec<Candidate> {
        if !self.is_short() {
            self.0.sort_unstable();
            self.0.truncate(k);
            return self.0;
        }
        let mut order = self.order();
        by_rank(&mut order);
        let candidate = |order: u64| self.0[parts(order).1];
        // Those of one rank are in the order of adding.
        for ties in order.chunk_by_mut(|a, b| parts(*a).0 == parts(*b).0).filter(|ties| ties.len() > 1) {
            ties.sort_unstable_by_key(|&order| candidate(order).id);
        }
        order.into_iter().take(k).map(candidate).collect()
    }
}

/// Sorts by rank, a digit after the other from the lowest.
fn by_rank(order: &mut Vec<u64>) {
    let (mut other, mut starts) = (vec![0; order.len()], [0_u32; 1 << DIGIT]);
    let bits = u64::BITS - order.iter().fold(0, |all, order| all | order).leading_zeros();
    let bits = bits.saturating_sub(u32::BITS);
    let digits = bits.div_ceil(if order.len() < FEW { SHORT_DIGIT } else { DIGIT });
    for i in 0..digits {
        let width = bits.div_ceil(digits);
        let starts = &mut starts[..1 << width];
        let digit = |order: u64| (order >> (u32::BITS + i * width)) as usize & ((1 << width) - 1);
        starts.fill(0);
        order.iter().for_each(|&order| starts[digit(order)] += 1);
        let mut next = 0;
        for start in &mut *starts {
            next += std::mem::replace(start, next);
        }
        for &entry in order.iter() {
            let place = &mut starts[digit(entry)];
            other[*place as usize] = entry;
            *place += 1;
        }
        std::mem::swap(order, &mut other);
    }
}
