//! The k best of many candidates in one total order: score first, then the lower id. O(log k) a candidate that enters.
//!
//! A key below a limit is no candidate, so the same heap, of any k, serves a search of all rows within a distance.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

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

/// The k best candidates seen.
#[derive(Debug)]
pub(crate) struct TopK {
    k: usize,
    /// Keys below it are not taken.
    least: f32,
    heap: BinaryHeap<Candidate>,
}

impl TopK {
    pub(crate) fn new(k: usize, least: f32) -> Self {
        Self { k, least, heap: BinaryHeap::new() }
    }

    /// Candidates that are wanted.
    pub(crate) fn wanted(&self) -> usize {
        self.k
    }

    /// Keys below this cannot enter; a key equal to it enters with a lower id.
    #[inline]
    pub(crate) fn floor(&self) -> f32 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() == self.k => worst.key,
            _ => self.least,
        }
    }

    /// Offers a candidate.
    #[inline]
    pub(crate) fn offer(&mut self, key: f32, id: i64) {
        let candidate = Candidate { key, id };
        if key < self.least {
            // No candidate.
        } else if self.heap.len() < self.k {
            self.heap.push(candidate);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate < *worst
        {
            *worst = candidate;
        }
    }

    /// The candidates of all heaps, best first, at most k.
    pub(crate) fn merge(heaps: impl IntoIterator<Item = TopK>, k: usize) -> Vec<Candidate> {
        let mut all: Vec<_> = heaps.into_iter().flat_map(|top| top.heap).collect();
        all.sort_unstable();
        all.truncate(k);
        all
    }
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
            let ids: Vec<_> = TopK::merge(heaps, 4).iter().map(|c| c.id).collect();
            assert_eq!(ids, [4, 5, 7, 9]);
        }
        let mut top = TopK::new(6, -0.0);
        offers.into_iter().for_each(|(key, id)| top.offer(key, id));
        let ids: Vec<_> = TopK::merge([top], 6).iter().map(|c| c.id).collect();
        assert_eq!(ids, [4, 5, 7, 9, 0, 1]);
    }
}
