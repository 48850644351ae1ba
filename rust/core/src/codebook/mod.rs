//! The codebook of equation 4 (arXiv 2504.19874): levels, boundaries, integer levels (docs/numerics.md sections 5 and 10).
//!
//! Constants only: `turboquant_rs.reference.lloyd_max` solves for them, a test re-derives them, and no solver, libm or random number
//! stands between a seed and its bytes.

use std::sync::OnceLock;

mod gaussian_levels;

/// Positive levels of the exact Beta law for m = 2 … 127: little-endian float32; for each m, for bits 1 … 8, for keep = bits … 1.
static BETA_LEVELS: &[u8] = include_bytes!("beta_levels.bin");

/// Floats that the file holds for each m: Σ (2^bits − 1) over bits 1 … 8.
const PER_DIM: usize = 502;

/// The levels of the top `keep` of `bits` bits, ascending, for unit-variance coordinates of a segment of `dim` coordinates.
pub(crate) fn levels(bits: u32, keep: u32, dim: usize) -> Vec<f32> {
    debug_assert!((1..=8).contains(&bits) && (1..=bits).contains(&keep) && dim > 0, "a codebook of 1 to 8 bits");
    let positive: Vec<f32> = if dim == 1 {
        // A segment of one coordinate is ±1, so the outermost level is exactly that.
        let n = 1_i32 << keep;
        (n / 2..n).map(|k| (f64::from(2 * k + 1 - n) / f64::from(n - 1)) as f32).collect()
    } else if is_gaussian(bits, dim) {
        gaussian_levels::GAUSSIAN[bits as usize - 1][keep as usize - 1].to_vec()
    } else {
        let start = (dim - 2) * PER_DIM + ((1 << bits) - 1 - bits as usize) + ((1 << bits) - (1 << keep));
        let bytes = &BETA_LEVELS[4 * start..4 * (start + (1 << (keep - 1)))];
        bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
    };
    positive.iter().rev().map(|c| -c).chain(positive.iter().copied()).collect()
}

/// Whether the Gaussian table stands for the Beta law's.
const fn is_gaussian(bits: u32, dim: usize) -> bool {
    dim >= 128 || (dim >= 64 && bits <= 4)
}

/// The boundaries between ascending levels: ½·(c_k + c_{k+1}) in float32.
pub(crate) fn boundaries(levels: &[f32]) -> Vec<f32> {
    levels.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect()
}

/// Largest query and level integer of one byte.
pub(crate) const ONE_BYTE: f32 = 127.0;
/// Largest query and level integer of two bytes: 127·128 + 63.
pub(crate) const TWO_BYTES: f32 = 16_319.0;

/// Whether so many bits are scored with levels and queries of one byte: up to 4 bits, of a fitted code, where narrower ones stand beside
/// them, up to 5.
pub(crate) const fn one_byte(bits: u32, fitted: bool) -> bool {
    bits <= if fitted { 5 } else { 4 }
}

/// Levels as integers, `scale` each.
#[derive(Debug, Clone)]
pub(crate) struct IntegerLevels {
    /// One integer a code.
    pub(crate) values: Vec<i32>,
    /// α of docs/numerics.md section 10.
    pub(crate) scale: f32,
}

/// Rounds the levels of `keep` of `bits` bits to integers: to one byte ([`one_byte`]) with least squared error over the law of the
/// coordinates, so that the rounded levels neither stretch nor shrink scores, or to two bytes.
pub(crate) fn integer_levels(bits: u32, keep: u32, dim: usize, fitted: bool) -> IntegerLevels {
    // Of the Gaussian table, which most codecs have, they are kept: a search for one query would notice their derivation.
    static KEPT: [[[OnceLock<IntegerLevels>; 8]; 8]; 2] = [const { [const { [const { OnceLock::new() }; 8] }; 8] }; 2];
    let derive = || derive_integers(bits, keep, dim, one_byte(keep, fitted));
    if is_gaussian(bits, dim) {
        return KEPT[usize::from(fitted)][bits as usize - 1][keep as usize - 1].get_or_init(derive).clone();
    }
    derive()
}

fn derive_integers(bits: u32, keep: u32, dim: usize, one_byte: bool) -> IntegerLevels {
    let exact: Vec<f64> = levels(bits, keep, dim).iter().map(|&c| f64::from(c)).collect();
    let largest = exact[exact.len() - 1];
    let round = |alpha: f64| exact.iter().map(move |c| (c / alpha).round_ties_even());
    if !one_byte {
        let alpha = largest / f64::from(TWO_BYTES);
        return IntegerLevels { values: round(alpha).map(|l| l as i32).collect(), scale: alpha as f32 };
    }
    let masses = masses(bits, keep, dim);
    let (mut best, mut least) = (IntegerLevels { values: Vec::new(), scale: 0.0 }, f64::INFINITY);
    for top in (64..=127).rev() {
        // Plain loops: the order of the additions is part of the contract.
        let ints = round(largest / f64::from(top));
        let (mut product, mut squares, mut error) = (0.0, 0.0, 0.0);
        for ((c, l), p) in exact.iter().zip(ints.clone()).zip(&masses) {
            product += p * (c * l);
            squares += p * (l * l);
        }
        let alpha = product / squares;
        for ((c, l), p) in exact.iter().zip(ints.clone()).zip(&masses) {
            let difference = c - l * alpha;
            error += p * (difference * difference);
        }
        if error < least {
            (best, least) = (IntegerLevels { values: ints.map(|l| l as i32).collect(), scale: alpha as f32 }, error);
        }
    }
    best
}

/// The probability of every cell of the top `keep` bits: a level is the mean of the two below it, which gives their shares.
pub(crate) fn masses(bits: u32, keep: u32, dim: usize) -> Vec<f64> {
    let mut masses = vec![0.5, 0.5];
    for kept in 1..keep {
        let (parents, children) = (levels(bits, kept, dim), levels(bits, kept + 1, dim));
        let pairs = masses.iter().zip(&parents).zip(children.as_chunks::<2>().0);
        masses = pairs
            .flat_map(|((&mass, &parent), &[low, high])| {
                let (parent, low, high) = (f64::from(parent), f64::from(low), f64::from(high));
                let lower = mass * ((high - parent) / (high - low));
                [lower, mass - lower]
            })
            .collect();
    }
    masses
}

/// The two bytes of a two-byte integer: value = 128·hi + lo with lo in [−64, 63].
pub(crate) fn halves(value: i32) -> (i8, i8) {
    let high = (value + 64) >> 7;
    (high as i8, (value - 128 * high) as i8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn papers_values() {
        let expected = [0.452_780_04_f32, 1.510_417_6];
        assert_eq!(&levels(2, 2, 768)[2..], expected);
        assert_eq!(levels(1, 1, 1), [-1.0, 1.0]);
        assert_eq!(boundaries(&levels(1, 1, 768)), [0.0]);
    }

    #[test]
    fn every_table_is_symmetric_and_ascending() {
        for dim in (1..=129).chain([65_536]) {
            for bits in 1..=8 {
                for keep in 1..=bits {
                    let c = levels(bits, keep, dim);
                    assert_eq!(c.len(), 1 << keep);
                    assert!(c.windows(2).all(|p| p[0] < p[1]), "dim {dim}, {keep} of {bits} bits ascend");
                    assert!(c.iter().zip(c.iter().rev()).all(|(a, b)| *a == -b), "dim {dim} is symmetric");
                }
            }
        }
    }

    #[test]
    fn integers_fit_their_bytes() {
        for (bits, fitted) in (1..=8).flat_map(|bits| [(bits, false), (bits, true)]) {
            let ints = integer_levels(bits, bits, 768, fitted);
            let (one, reach) = if one_byte(bits, fitted) { (true, 127) } else { (false, 16_319) };
            assert!(ints.values.iter().all(|v| v.abs() <= reach), "{bits} bits");
            for &value in &ints.values {
                let (high, low) = halves(value);
                assert_eq!(128 * i32::from(high) + i32::from(low), value);
                assert!(one || (high >= -127 && (-64..64).contains(&low)), "{value} splits into {high}, {low}");
            }
        }
    }
}
