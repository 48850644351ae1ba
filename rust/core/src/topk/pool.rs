//! The k best of many candidates for a large k: they are collected, and cut to the k best when they are a few too many.
//!
//! A candidate is one integer, in the order of candidates, so that selecting and sorting compare without a branch.

use super::Candidate;

/// Candidates that a pool takes at once: a block of rows.
pub(super) const MOST: usize = 64;
/// Bits of a digit when candidates are sorted.
const DIGIT: u32 = 11;
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

    /// Adds those of at most [`MOST`] candidates whose key is at least `floor`.
    #[inline(always)]
    pub(super) fn extend(&mut self, candidates: impl Iterator<Item = (f32, i64)>, floor: f32) {
        let (mut entries, mut n) = ([0; MOST], 0);
        for (key, id) in candidates {
            entries[n % MOST] = entry(key, id);
            n += usize::from(key >= floor);
        }
        self.0.extend_from_slice(&entries[..n]);
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

    /// All candidates, best first.
    pub(super) fn sorted(mut self) -> Vec<Candidate> {
        by_rank(&mut self.0);
        // Those of one rank are in the order of adding, mostly that of ids.
        let sorted = self.0.is_sorted();
        for ties in self.0.chunk_by_mut(|a, b| a >> RANK == b >> RANK).filter(|ties| !sorted && ties.len() > 1) {
            ties.sort_unstable();
        }
        self.0.into_iter().map(candidate).collect()
    }
}

/// Sorts by rank, a digit after the other from the lowest.
fn by_rank(entries: &mut Vec<u128>) {
    let mut other = vec![0; entries.len()];
    for shift in (RANK..u128::BITS).step_by(DIGIT as usize) {
        let digit = |entry: u128| (entry >> shift) as usize & ((1 << DIGIT) - 1);
        let mut starts = [0_usize; 1 << DIGIT];
        entries.iter().for_each(|&entry| starts[digit(entry)] += 1);
        let mut next = 0;
        for start in &mut starts {
            next += std::mem::replace(start, next);
        }
        for &entry in entries.iter() {
            let place = &mut starts[digit(entry)];
            other[*place] = entry;
            *place += 1;
        }
        std::mem::swap(entries, &mut other);
    }
}
