//! A query's entries: what every pattern of four signs is worth (docs/numerics.md section 12).

use super::{CENTER, ENTRIES};
use crate::kernels::Level;
use crate::kernels::rows::per_level;

/// Bit i of every pattern of four as a sign.
const SIGNS: [[f32; 16]; 4] = {
    let mut signs = [[0.0; 16]; 4];
    let (mut bit, mut pattern) = (0, 0);
    while bit < 4 {
        signs[bit][pattern] = if pattern >> bit & 1 == 1 { 1.0 } else { -1.0 };
        pattern += 1;
        if pattern == 16 {
            (bit, pattern) = (bit + 1, 0);
        }
    }
    signs
};

/// The largest value that an entry of a query stands for: `worths` is what its bits are worth, whole bytes of them.
///
/// The pattern whose signs are the values' own is worth most of a four, in float32 too: rounding keeps order.
pub(crate) fn largest_four(worths: &[f32]) -> f32 {
    let fours = worths.as_chunks::<4>().0.iter();
    fours.map(|&[a, b, c, d]| (a.abs() + b.abs()) + (c.abs() + d.abs())).fold(0.0, f32::max)
}

/// Writes a query's entries: the pattern of signs s of bits 4j … 4j + 3 has the entry
/// 63 + round-half-even(((s₀r₀ + s₁r₁) + (s₂r₂ + s₃r₃))·(63/top)), r what bits are worth and `top` the largest of them.
pub(crate) fn tabulate(level: Level, worths: &[f32], top: f32, tables: &mut [[u8; ENTRIES]]) {
    assert_eq!(8 * tables.len(), worths.len(), "a table for each eight bits");
    let inverse = f32::from(CENTER) / if top == 0.0 { 1.0 } else { top };
    per_level!(level, body(worths: &[f32], inverse: f32, tables: &mut [[u8; ENTRIES]]));
}

#[inline(always)]
fn entry(sum: f32, inverse: f32) -> u32 {
    let center = f32::from(CENTER);
    ((sum * inverse).round_ties_even().clamp(-center, center) as i32 + i32::from(CENTER)) as u32
}

#[inline(always)]
fn body(worths: &[f32], inverse: f32, tables: &mut [[u8; ENTRIES]]) {
    for (table, worths) in tables.iter_mut().zip(worths.as_chunks::<8>().0) {
        for (entries, &[a, b, c, d]) in table.as_chunks_mut::<16>().0.iter_mut().zip(worths.as_chunks::<4>().0) {
            for (pattern, out) in entries.iter_mut().enumerate() {
                let first = a * SIGNS[0][pattern] + b * SIGNS[1][pattern];
                let second = c * SIGNS[2][pattern] + d * SIGNS[3][pattern];
                *out = entry(first + second, inverse) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, other_levels};

    #[test]
    fn levels_equal_scalar_and_the_largest_pattern_is_full_scale() {
        for size in 1..=20 {
            let mut worths = floats(8 * size, size as u64);
            worths[8 * size - size % 8..].fill(0.0);
            let top = largest_four(&worths);
            let (mut want, mut got) = (vec![[0; ENTRIES]; size], vec![[9; ENTRIES]; size]);
            tabulate(Level::Scalar, &worths, top, &mut want);
            assert_eq!(want.iter().flatten().max(), Some(&(2 * CENTER)), "{size} bytes");
            for level in other_levels() {
                tabulate(level, &worths, top, &mut got);
                assert_eq!(got, want, "{} at {size} bytes", level.name());
            }
        }
        let mut zeros = [[9; ENTRIES]; 2];
        tabulate(Level::Scalar, &[0.0; 16], largest_four(&[0.0; 16]), &mut zeros);
        assert_eq!(zeros, [[CENTER; ENTRIES]; 2]);
    }
}
