//! Assignment: the nearest level of every coordinate, and ⟨y, c⟩ and ⟨c, c⟩ of the row (docs/numerics.md section 6).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_packed;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use super::Level;
use super::rows::multiply;
use super::units::{self, Place};

/// Boundaries and levels of one codebook, laid out for search.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    bits: u32,
    /// The boundaries as a binary search meets them: step s compares with entry 2^s − 1 + (bits found so far).
    tree: Vec<f32>,
    /// The levels by code, at least 16 entries so that kernels may load whole registers; the rest is 0.
    levels: Vec<f32>,
    /// The boundaries, ascending.
    #[cfg_attr(not(target_arch = "aarch64"), allow(dead_code, reason = "only NEON compares with all of them"))]
    bounds: Vec<f32>,
    /// Of up to four bits: boundaries of each step, then levels, by the bits that the steps before found, the first one lowest. A step
    /// then adds its bit to the index, without shifting the others.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only AVX-512 searches so"))]
    found_first_lowest: [[f32; 16]; 5],
}

/// Bits of the widest code that has such tables.
const LOWEST_FIRST_BITS: u32 = 4;

impl Table {
    /// A table of 2^bits ascending `levels` with 2^bits − 1 ascending `bounds`.
    pub(crate) fn new(levels: &[f32], bounds: &[f32]) -> Self {
        let bits = levels.len().trailing_zeros();
        assert!(levels.len() == 1 << bits && bounds.len() + 1 == levels.len(), "2^bits levels, one boundary less");
        let mut tree = Vec::with_capacity(bounds.len());
        for step in 0..bits {
            let gap = 1 << (bits - 1 - step);
            tree.extend((0..1 << step).map(|j| bounds[(2 * j + 1) * gap - 1]));
        }
        let mut padded = levels.to_vec();
        padded.resize(levels.len().max(16), 0.0);
        let mut found_first_lowest = [[0.0; 16]; 5];
        for step in 0..=bits.min(LOWEST_FIRST_BITS) {
            let from = if step == bits { levels } else { &tree[(1 << step) - 1..] };
            for (i, entry) in found_first_lowest[step as usize][..1 << step].iter_mut().enumerate() {
                // The bits of i in reverse: 0 of them for the first step.
                *entry = from[(i as u32).reverse_bits().checked_shr(32 - step).unwrap_or(0) as usize];
            }
        }
        Self { bits, tree, levels: padded, bounds: bounds.to_vec(), found_first_lowest }
    }
}

/// ⟨y, c⟩ and ⟨c, c⟩ of one row.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Products {
    pub(crate) yc: f32,
    pub(crate) cc: f32,
}

/// Assigns every row of `y` (rows of `m`): a code is the number of boundaries below the value, ties to the lower code.
///
/// # Panics
/// If the lengths of `y`, `codes` and `products` do not describe the same rows.
pub(crate) fn assign(level: Level, table: &Table, y: &[f32], m: usize, codes: &mut [u8], products: &mut [Products]) {
    assert!(y.len() == m * products.len() && codes.len() == y.len(), "whole rows");
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(token) | Level::AvxVnni(token, _) => avx2::assign(token, table, y, m, codes, products),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512(token) | Level::Avx512Vnni(token, _) | Level::Amx(token, ..) => {
            avx512::assign(token, table, y, m, codes, products)
        }
        #[cfg(target_arch = "aarch64")]
        Level::Neon(token) | Level::NeonDot(token, _) | Level::NeonI8mm(token, _) => {
            neon::assign(token, table, y, m, codes, products)
        }
        _ => scalar::assign(table, y, m, codes, products),
    }
}

/// Rows to encode: of `m` coordinates each, to be multiplied by their gains.
pub(crate) struct Rotated<'a> {
    pub(crate) y: &'a mut [f32],
    pub(crate) m: usize,
    pub(crate) gains: &'a [f32],
}

/// [`assign`] of the rows times their gains, whose codes go packed to `places` of `packed`: the units of the table's width in order. `codes` is
/// overwritten, and so may the rows be.
///
/// # Panics
/// As for [`assign`], and if `packed` is not as many rows.
pub(crate) fn assign_packed(
    level: Level,
    table: &Table,
    rows: Rotated<'_>,
    places: &[Place],
    packed: &mut [u8],
    codes: &mut Vec<u8>,
    products: &mut [Products],
) {
    let Rotated { y, m, gains } = rows;
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512(token) | Level::Avx512Vnni(token, _) | Level::Amx(token, ..)
            if table.bits <= LOWEST_FIRST_BITS && m > 32 =>
        {
            avx512_packed::assign(token, table, Rotated { y, m, gains }, places, packed, products);
        }
        _ => {
            multiply(level, y, m, gains);
            codes.resize(y.len(), 0);
            assign(level, table, y, m, codes, products);
            places.iter().for_each(|&place| units::pack(level, codes, m, place, packed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, other_levels};
    use crate::kernels::units::unit_bytes;

    /// Levels at odd eighths, so that test values hit boundaries exactly.
    fn table(bits: u32) -> (Table, Vec<f32>) {
        let n = 1_i32 << bits;
        let levels: Vec<f32> = (0..n).map(|k| (2 * k + 1 - n) as f32 / 8.0).collect();
        let bounds: Vec<f32> = levels.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect();
        (Table::new(&levels, &bounds), bounds)
    }

    #[test]
    fn code_counts_boundaries_below() {
        for bits in 1..=8 {
            let (table, bounds) = table(bits);
            let y: Vec<f32> = bounds.iter().flat_map(|b| [*b, b.next_up(), b.next_down()]).chain([-0.0, 0.0]).collect();
            let mut codes = vec![0; y.len()];
            assign(Level::Scalar, &table, &y, y.len(), &mut codes, &mut [Products::default()]);
            for (value, code) in y.iter().zip(&codes) {
                assert_eq!(usize::from(*code), bounds.iter().filter(|b| *b < value).count(), "{bits} bits, {value}");
            }
        }
    }

    #[test]
    fn levels_equal_scalar_bit_for_bit() {
        for level in other_levels() {
            for bits in 1..=8 {
                let (table, bounds) = table(bits);
                for m in (1..=130).chain([200, 1000]) {
                    let mut y = floats(3 * m, m as u64);
                    y.iter_mut().step_by(3).zip(bounds.iter().cycle()).for_each(|(v, b)| *v = *b);
                    let (mut want, mut got) = (vec![0; 3 * m], vec![0; 3 * m]);
                    let (mut want_sums, mut sums) = ([Products::default(); 3], [Products::default(); 3]);
                    assign(Level::Scalar, &table, &y, m, &mut want, &mut want_sums);
                    assign(level, &table, &y, m, &mut got, &mut sums);
                    assert_eq!(got, want, "{} codes differ at {bits} bits, m = {m}", level.name());
                    let bits_of = |s: [Products; 3]| s.map(|p| (p.yc.to_bits(), p.cc.to_bits()));
                    assert_eq!(
                        bits_of(sums),
                        bits_of(want_sums),
                        "{} sums differ at {bits} bits, m = {m}",
                        level.name()
                    );
                }
            }
        }
    }

    #[test]
    fn packing_at_once_is_assigning_then_packing() {
        for level in other_levels() {
            for (bits, widths) in [(1, &[1][..]), (2, &[1, 1]), (3, &[1, 2]), (4, &[1, 1, 2]), (5, &[1, 1, 2, 1])] {
                let (table, bounds) = table(bits);
                for m in (1..=130).chain([200, 1000]) {
                    let (mut shift, mut stride) = (bits, 3);
                    let places = widths.iter().map(|&width| {
                        (shift, stride) = (shift - width, stride + unit_bytes(m, width));
                        Place { width, shift, offset: stride - unit_bytes(m, width), stride: 0 }
                    });
                    let mut places: Vec<_> = places.collect();
                    places.iter_mut().for_each(|place| place.stride = stride);
                    let (gains, mut y) = ([2.0, 1.0, 0.3], floats(3 * m, m as u64));
                    y.iter_mut().step_by(3).zip(bounds.iter().cycle()).for_each(|(v, b)| *v = 0.5 * *b);
                    let run = |level| {
                        let (mut y, mut packed, mut products) =
                            (y.clone(), vec![9; 3 * stride], [Products::default(); 3]);
                        let rows = Rotated { y: &mut y, m, gains: &gains };
                        assign_packed(level, &table, rows, &places, &mut packed, &mut Vec::new(), &mut products);
                        (packed, products.map(|p| (p.yc.to_bits(), p.cc.to_bits())))
                    };
                    assert_eq!(run(level), run(Level::Scalar), "{} at {bits} bits, m = {m}", level.name());
                }
            }
        }
    }
}
