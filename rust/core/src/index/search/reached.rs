//! The k-th best of a query so far, known to all tasks of its search.

use std::sync::atomic::{AtomicI32, Ordering};

/// A key that k rows at least have reached, or a guess at one, which is checked at the end. A row below it is none of the k best,
/// whichever task has found those: what a task leaves for it changes with the moment, the answer does not.
pub(super) struct Reached(AtomicI32);

impl Reached {
    pub(super) fn new(key: f32) -> Self {
        Self(AtomicI32::new(ordered(key)))
    }

    pub(super) fn get(&self) -> f32 {
        // Relaxed: the key is all that is told.
        let order = self.0.load(Ordering::Relaxed);
        f32::from_bits((order ^ sign_to_magnitude(order)) as u32)
    }

    pub(super) fn raise(&self, key: f32) {
        self.0.fetch_max(ordered(key), Ordering::Relaxed);
    }
}

/// An integer that is larger for a larger key; −0 is below 0.
fn ordered(key: f32) -> i32 {
    let bits = key.to_bits() as i32;
    bits ^ sign_to_magnitude(bits)
}

/// All bits but the sign's, for a negative number: larger magnitudes come first among those. Its own inverse, as the sign stays.
fn sign_to_magnitude(bits: i32) -> i32 {
    (bits >> 31) & i32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_only_rise() {
        let keys = [f32::NEG_INFINITY, f32::MIN, -2.5, -f32::MIN_POSITIVE, 0.0, 1e-40, 3.0, f32::MAX, f32::INFINITY];
        for (i, &key) in keys.iter().enumerate() {
            let reached = Reached::new(key);
            assert_eq!(reached.get(), key);
            for &other in &keys {
                reached.raise(other);
                assert!(reached.get() >= other && reached.get() >= key);
            }
            assert!(keys[..i].iter().all(|&below| ordered(below) < ordered(key)));
        }
    }
}
