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

/// Writes the entries of a rotated query and returns the largest value that an entry stands for, `top`: the pattern of signs s of
/// coordinates 4j … 4j + 3 has the entry 63 + round-half-even(((s₀r₀ + s₁r₁) + (s₂r₂ + s₃r₃))·(63/top)).
pub(crate) fn tabulate(level: Level, rotated: &[f32], tables: &mut [[u8; ENTRIES]]) -> f32 {
    assert_eq!(tables.len(), rotated.len().div_ceil(8), "a table for each eight coordinates");
    let mut top = 0.0;
    let found = &mut top;
    per_level!(level, body(rotated: &[f32], tables: &mut [[u8; ENTRIES]], found: &mut f32));
    top
}

#[inline(always)]
fn body(rotated: &[f32], tables: &mut [[u8; ENTRIES]], found: &mut f32) {
    let four = |from: usize| {
        let mut values = [0.0_f32; 4];
        let rest = &rotated[from.min(rotated.len())..];
        let taken = rest.len().min(4);
        values[..taken].copy_from_slice(&rest[..taken]);
        values
    };
    // The pattern whose signs are the values' own is worth most, in float32 too: rounding keeps order.
    let mut top = 0.0_f32;
    for group in 0..2 * tables.len() {
        let [a, b, c, d] = four(4 * group).map(f32::abs);
        top = top.max((a + b) + (c + d));
    }
    let center = f32::from(CENTER);
    let inverse = center / if top == 0.0 { 1.0 } else { top };
    for (j, table) in tables.iter_mut().enumerate() {
        for (half, entries) in table.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let [a, b, c, d] = four(8 * j + 4 * half);
            for (pattern, entry) in entries.iter_mut().enumerate() {
                let first = a * SIGNS[0][pattern] + b * SIGNS[1][pattern];
                let second = c * SIGNS[2][pattern] + d * SIGNS[3][pattern];
                let rounded = ((first + second) * inverse).round_ties_even().clamp(-center, center);
                *entry = (rounded as i32 + i32::from(CENTER)) as u8;
            }
        }
    }
    *found = top;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, other_levels};

    #[test]
    fn levels_equal_scalar_and_the_largest_pattern_is_full_scale() {
        for m in 1..=130 {
            let rotated = floats(m, m as u64);
            let (mut want, mut got) = (vec![[0; ENTRIES]; m.div_ceil(8)], vec![[9; ENTRIES]; m.div_ceil(8)]);
            let top = tabulate(Level::Scalar, &rotated, &mut want);
            let largest = want.iter().flatten().max();
            assert_eq!(largest, Some(&if top == 0.0 { CENTER } else { 2 * CENTER }), "{m} coordinates");
            for level in other_levels() {
                assert_eq!(tabulate(level, &rotated, &mut got).to_bits(), top.to_bits(), "top at {m} coordinates");
                assert_eq!(got, want, "{} at {m} coordinates", level.name());
            }
        }
    }
}
