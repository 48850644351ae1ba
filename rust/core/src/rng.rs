//! Counter-based SplitMix64: all randomness between a seed and its bytes (docs/numerics.md section 1).
//!
//! A counter needs no state, so every back end draws the same numbers in any order, and no library's stream can drift.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Output `i` of SplitMix64 seeded with `key`.
#[must_use]
pub(crate) const fn splitmix64(key: u64, i: u64) -> u64 {
    let z = key.wrapping_add(i.wrapping_add(1).wrapping_mul(GOLDEN));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The key of the stream named by `words` under `seed`.
#[must_use]
pub(crate) fn derive(seed: u64, words: &[u64]) -> u64 {
    words.iter().fold(seed, |key, &word| splitmix64(key, word))
}

/// 64 bits that depend on every bit of `bytes`, its place, and the length: what a fingerprint takes in.
#[must_use]
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    let total = words.zip(0..).fold(0_u64, |total, (word, i)| total.wrapping_add(splitmix64(word, i)));
    splitmix64(total, bytes.len() as u64)
}

/// Whether sign `i` of the stream `key` is negative.
#[must_use]
pub(crate) const fn is_negative(key: u64, i: u64) -> bool {
    splitmix64(key, i / 64) >> (i % 64) & 1 == 1
}

/// A permutation of 0 … count−1 by Fisher–Yates; place `i` draws output `i` of the stream.
#[must_use]
pub(crate) fn permutation(key: u64, count: usize) -> Vec<u32> {
    let mut p: Vec<u32> = (0..u32::try_from(count).expect("dims fit 32 bits")).collect();
    for i in (1..count as u64).rev() {
        let j = (u128::from(splitmix64(key, i)) * u128::from(i + 1)) >> 64;
        p.swap(i as usize, j as usize);
    }
    p
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_test_vector() {
        let outputs: Vec<u64> = (0..3).map(|i| splitmix64(1_234_567, i)).collect();
        assert_eq!(outputs, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn permutation_holds_every_index_once() {
        for count in [1, 2, 3, 97, 1000] {
            let mut p = permutation(5, count);
            p.sort_unstable();
            assert!(p.iter().enumerate().all(|(i, &v)| i == v as usize), "{count} indices");
        }
    }
}
