//! The k best of many candidates for a large k: they are collected, and cut to the k best when they are a few too many.
//!
//! A candidate is one integer, in the order of candidates, so that selecting and sorting compare without a branch.

use super::Candidate;

/// Bits of a digit when candidates are sorted.
const DIGIT: u32 = 12;
/// Where the key's rank stands in an entry; below it the id, then the key's own bits, which are never compared.
const RANK: u32 = 96;
const ID: u32 = 32;

/// Candidates in no order.
#[derive(Debug, Default)]
pub(super) struct Pool(Vec<u128>);

/// A candidate as an integer that ascends from the best to the worst.
#[inline(always)]
fn entry(key: f32, id: i64) -> u128 {
    // −0 has the rank of 0.
    let bits = (key + 0.0).to_bits();
    let rank = if bits >> 31 == 0 { bits ^ 0x7FFF_FFFF } else { bits };
    let id = id as u64 ^ 1 << 63;
    u128::from(rank) << RANK | u128::from(id) << ID | u128::from(key.to_bits())
}

fn candidate(entry: u128) -> Candidate {
    Candidate { key: f32::from_bits(entry as u32), id: ((entry >> ID) as u64 ^ 1 << 63) as i64 }
}

impl Pool {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn push(&mut self, key: f32, id: i64) {
        self.0.push(entry(key, id));
    }

    /// Leaves the k best of more, and returns the worst key among them.
    pub(super) fn cut(&mut self, k: usize) -> f32 {
        let (_, &mut worst, _) = self.0.select_nth_unstable(k - 1);
        self.0.truncate(k);
        candidate(worst).key
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
        if u32::try_from(self.0.len()).is_err() {
            self.0.sort_unstable();
            return self.0.into_iter().take(k).map(candidate).collect();
        }
        // Half as long as an entry: the rank, and which entry it is.
        let rank = |entry: u128| (entry >> RANK) as u64;
        let least = self.0.iter().map(|&entry| rank(entry)).min().unwrap_or(0);
        let mut order: Vec<_> = (0..).zip(&self.0).map(|(i, &entry)| (rank(entry) - least) << u32::BITS | i).collect();
        by_rank(&mut order);
        let entry = |order: u64| self.0[order as u32 as usize];
        // Those of one rank are in the order of adding.
        for ties in order.chunk_by_mut(|a, b| a >> u32::BITS == b >> u32::BITS).filter(|ties| ties.len() > 1) {
            ties.sort_unstable_by_key(|&order| entry(order));
        }
        order.into_iter().take(k).map(|order| candidate(entry(order))).collect()
    }
}

/// Sorts by the upper half, a digit after the other from the lowest.
fn by_rank(order: &mut Vec<u64>) {
    let mut other = vec![0; order.len()];
    let bits = u64::BITS - order.iter().fold(0, |all, order| all | order).leading_zeros();
    for shift in (u32::BITS..bits).step_by(DIGIT as usize) {
        let digit = |order: u64| (order >> shift) as usize & ((1 << DIGIT) - 1);
        let mut starts = [0_u32; 1 << DIGIT];
        order.iter().for_each(|&order| starts[digit(order)] += 1);
        let mut next = 0;
        for start in &mut starts {
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
