//! Keys as integers that order them.
//!
//! A plain loop over independent lanes, which each level compiles with its own instruction set.

use super::Level;
use super::rows::per_level;

/// Writes an integer for each key that ascends from the best key to the worst; −0 has that of 0. Returns the least and the greatest.
pub(crate) fn ranks(level: Level, keys: &[f32], out: &mut [u32]) -> (u32, u32) {
    assert_eq!(keys.len(), out.len(), "a rank a key");
    let (mut least, mut most) = (u32::MAX, 0);
    let ends = (&mut least, &mut most);
    per_level!(level, body(keys: &[f32], out: &mut [u32], ends: (&mut u32, &mut u32)));
    (least, most)
}

#[inline(always)]
fn body(keys: &[f32], out: &mut [u32], (least, most): (&mut u32, &mut u32)) {
    for (out, &key) in out.iter_mut().zip(keys) {
        *out = rank(key);
        (*least, *most) = ((*least).min(*out), (*most).max(*out));
    }
}

/// The integer of one key.
#[inline(always)]
pub(crate) fn rank(key: f32) -> u32 {
    let bits = (key + 0.0).to_bits();
    bits ^ (!(bits as i32 >> 31) as u32 >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, other_levels};

    #[test]
    fn ranks_order_keys_at_every_level() {
        let ends = [f32::INFINITY, f32::MAX, 1.0, 1e-40, 0.0, -0.0, -1e-40, -1.0, f32::MIN, f32::NEG_INFINITY];
        for pair in ends.windows(2) {
            assert_eq!(rank(pair[0]).cmp(&rank(pair[1])), pair[1].partial_cmp(&pair[0]).unwrap(), "{pair:?}");
        }
        for level in other_levels().into_iter().chain([Level::Scalar]) {
            for n in 0..=70 {
                let keys: Vec<_> = floats(n, n as u64).into_iter().chain(ends.into_iter().take(n % 11)).collect();
                let mut found = vec![7; keys.len()];
                let (least, most) = ranks(level, &keys, &mut found);
                let want: Vec<_> = keys.iter().map(|&key| rank(key)).collect();
                assert_eq!(found, want, "{}", level.name());
                assert_eq!(Some(least).filter(|_| n > 0), want.iter().min().copied());
                assert_eq!(Some(most).filter(|_| n > 0), want.iter().max().copied());
            }
        }
    }
}
