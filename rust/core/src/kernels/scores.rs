//! The scan's epilogue: integer products to float32 scores, and the rows whose score may still enter the best k.
//!
//! Plain loops over independent lanes, which each level compiles with its own instruction set (docs/numerics.md section 10: one
//! conversion, two products and, from the second segment on, one sum, each rounded).

use super::Level;
use super::rows::per_level;

/// Rows of a block at most, so that a word has a bit for each: the stride of scores.
pub(crate) const MARKED: usize = 64;

/// What turns the products of a group of queries into scores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worth<'a> {
    /// One a query.
    pub(crate) factors: &'a [f32],
    /// One a row, at most [`MARKED`].
    pub(crate) scales: &'a [f32],
    /// Whether scores start here; otherwise this share is added to them.
    pub(crate) first: bool,
    /// Products of a query, of which the first belong to rows.
    pub(crate) stride: usize,
}

impl Worth<'_> {
    fn check(&self, products: &[i32], scores: &[f32]) {
        let (queries, rows) = (self.factors.len(), self.scales.len());
        assert!(rows <= MARKED && rows <= self.stride, "at most 64 rows");
        assert_eq!(products.len(), queries * self.stride, "a row of products a query");
        assert!(scores.len() >= queries * MARKED, "64 scores a query");
    }
}

/// scores[64·j + r] = (factor of query j·float32(product))·scale of row r, or that share added.
pub(crate) fn from_products(level: Level, products: &[i32], worth: Worth<'_>, scores: &mut [f32]) {
    worth.check(products, scores);
    per_level!(level, products_body(products: &[i32], worth: Worth<'_>, scores: &mut [f32]));
}

#[inline(always)]
fn products_body(products: &[i32], worth: Worth<'_>, scores: &mut [f32]) {
    #[inline(always)]
    fn whole([products]: [&[i32]; 1], row: usize) -> f32 {
        products[row] as f32
    }
    add_shares([products], worth, scores, whole);
}

/// As [`from_products`] for two-byte integers, from the products high·high, high·low, low·high and low·low of their bytes:
/// hh·16384 + (hl + lh)·128 + ll, exact in 64 bits (up to 2^44) and rounded once.
pub(crate) fn from_halves(level: Level, products: [&[i32]; 4], worth: Worth<'_>, scores: &mut [f32]) {
    products.iter().for_each(|part| worth.check(part, scores));
    #[cfg(target_arch = "x86_64")]
    if let Level::Avx512(_) | Level::Avx512Vnni(..) | Level::Amx(..) = level {
        return per_level!(level, halves_body(products: [&[i32]; 4], worth: Worth<'_>, scores: &mut [f32]));
    }
    per_level!(level, halves_as_doubles(products: [&[i32]; 4], worth: Worth<'_>, scores: &mut [f32]));
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn halves_body(products: [&[i32]; 4], worth: Worth<'_>, scores: &mut [f32]) {
    #[inline(always)]
    fn whole([hh, hl, lh, ll]: [&[i32]; 4], row: usize) -> f32 {
        // At most 2·65,536·127² < 2^31.
        let cross = hl[row] + lh[row];
        (i64::from(hh[row]) * 16_384 + i64::from(cross) * 128 + i64::from(ll[row])) as f32
    }
    add_shares(products, worth, scores, whole);
}

/// For levels without an instruction that makes float32 of integers of 64 bits: float64 holds them, too.
#[inline(always)]
fn halves_as_doubles(products: [&[i32]; 4], worth: Worth<'_>, scores: &mut [f32]) {
    #[inline(always)]
    fn whole([hh, hl, lh, ll]: [&[i32]; 4], row: usize) -> f32 {
        let cross = hl[row] + lh[row];
        (f64::from(hh[row]) * 16_384.0 + (f64::from(cross) * 128.0 + f64::from(ll[row]))) as f32
    }
    add_shares(products, worth, scores, whole);
}

/// Starts scores with shares, or adds these; `whole` makes a row's product of a query's.
#[inline(always)]
fn add_shares<const N: usize>(
    products: [&[i32]; N],
    worth: Worth<'_>,
    scores: &mut [f32],
    whole: impl Fn([&[i32]; N], usize) -> f32,
) {
    match (<&[f32; MARKED]>::try_from(worth.scales), worth.first) {
        // A known number of rows leaves no loop over them, and keeps scales in registers.
        (Ok(scales), true) => shares::<N, true>(products, worth, scales, scores, whole),
        (Ok(scales), false) => shares::<N, false>(products, worth, scales, scores, whole),
        (Err(_), true) => shares::<N, true>(products, worth, worth.scales, scores, whole),
        (Err(_), false) => shares::<N, false>(products, worth, worth.scales, scores, whole),
    }
}

#[inline(always)]
fn shares<const N: usize, const FIRST: bool>(
    products: [&[i32]; N],
    worth: Worth<'_>,
    scales: &[f32],
    scores: &mut [f32],
    whole: impl Fn([&[i32]; N], usize) -> f32,
) {
    for (j, (&factor, scores)) in worth.factors.iter().zip(scores.as_chunks_mut::<MARKED>().0).enumerate() {
        let products = products.map(|part| &part[j * worth.stride..][..scales.len()]);
        for (row, (score, scale)) in scores.iter_mut().zip(scales).enumerate() {
            let share = (factor * whole(products, row)) * scale;
            *score = if FIRST { share } else { *score + share };
        }
    }
}

/// scores[64·j + r] = score·(scale of row r), plus the center's share of query j if there is one, for `queries` queries.
pub(crate) fn finish(level: Level, queries: usize, scales: &[f32], center: Option<&[f32]>, scores: &mut [f32]) {
    assert!(scales.len() <= MARKED && scores.len() >= queries * MARKED, "64 scores a query");
    assert!(center.is_none_or(|center| center.len() == queries), "one share a query");
    per_level!(level, finish_body(queries: usize, scales: &[f32], center: Option<&[f32]>, scores: &mut [f32]));
}

#[inline(always)]
fn finish_body(queries: usize, scales: &[f32], center: Option<&[f32]>, scores: &mut [f32]) {
    for (j, scores) in scores.chunks_exact_mut(MARKED).take(queries).enumerate() {
        let rows = scores.iter_mut().zip(scales);
        match center.map(|center| center[j]) {
            Some(share) => rows.for_each(|(score, scale)| *score = *score * scale + share),
            None => rows.for_each(|(score, scale)| *score *= scale),
        }
    }
}

/// keys[r] = −((query + squares[r]) − 2·keys[r]): scores become negated squared distances.
pub(crate) fn to_distances(level: Level, query: f32, squares: &[f32], keys: &mut [f32]) {
    assert!(squares.len() <= keys.len(), "a key a row");
    per_level!(level, distances_body(query: f32, squares: &[f32], keys: &mut [f32]));
}

#[inline(always)]
fn distances_body(query: f32, squares: &[f32], keys: &mut [f32]) {
    for (key, square) in keys.iter_mut().zip(squares) {
        *key = -((query + square) - 2.0 * *key);
    }
}

/// For each query j with its floor: bit r of marks[j] is set where keys[64·j + r] ≥ floor, r < rows.
pub(crate) fn at_least(level: Level, keys: &[f32], rows: usize, floors: &[f32], marks: &mut [u64]) {
    assert!(rows <= MARKED && keys.len() >= floors.len() * MARKED && marks.len() >= floors.len(), "64 keys a query");
    let queries = keys.chunks_exact(MARKED).zip(floors).zip(marks);
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level's token proves AVX-512 F.
        Level::Avx512(_) | Level::Avx512Vnni(..) | Level::Amx(..) => unsafe { x86::at_least_512(queries, rows) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level's token proves AVX2.
        Level::Avx2(_) | Level::AvxVnni(..) => unsafe { x86::at_least_256(queries, rows) },
        _ => queries.for_each(|((keys, &floor), marks)| *marks = plain(&keys[..rows], floor)),
    }
}

fn plain(keys: &[f32], floor: f32) -> u64 {
    // Mostly no key passes, and the largest tells; only then are they looked at one by one.
    if keys.iter().fold(f32::NEG_INFINITY, |top, &key| if key > top { key } else { top }) < floor {
        return 0;
    }
    keys.iter().enumerate().fold(0, |bits, (i, &key)| bits | u64::from(key >= floor) << i)
}

/// The bits of `rows` rows.
#[cfg(target_arch = "x86_64")]
fn lowest(rows: usize) -> u64 {
    if rows == 64 { u64::MAX } else { (1 << rows) - 1 }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f")]
    pub(super) fn at_least_512<'a>(queries: impl Iterator<Item = ((&'a [f32], &'a f32), &'a mut u64)>, rows: usize) {
        for ((keys, &floor), marks) in queries {
            let floors = _mm512_set1_ps(floor);
            let keys = keys.as_chunks::<16>().0;
            // SAFETY: a chunk holds 16 keys.
            let passed = |keys: &[f32; 16]| unsafe {
                u64::from(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(_mm512_loadu_ps(keys.as_ptr()), floors))
            };
            let found = passed(&keys[0]) | passed(&keys[1]) << 16 | passed(&keys[2]) << 32 | passed(&keys[3]) << 48;
            *marks = found & super::lowest(rows);
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn at_least_256<'a>(queries: impl Iterator<Item = ((&'a [f32], &'a f32), &'a mut u64)>, rows: usize) {
        for ((keys, &floor), marks) in queries {
            let floors = _mm256_set1_ps(floor);
            let mut found = 0;
            for (i, keys) in keys.as_chunks::<8>().0.iter().enumerate() {
                // SAFETY: the chunk holds 8 keys.
                let values = unsafe { _mm256_loadu_ps(keys.as_ptr()) };
                let bits = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(values, floors)) as u32;
                found |= u64::from(bits) << (8 * i);
            }
            *marks = found & super::lowest(rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, other_levels};

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn levels_equal_scalar_bit_for_bit() {
        let factors = [0.37, -1e-7, 0.0];
        for level in other_levels() {
            for n in 0..=64 {
                let (scales, stride) = (floats(n, 1), n + 3);
                let integers = floats(4 * 3 * stride, 2).into_iter().map(|v| (v * 5e8) as i32);
                let products: Vec<i32> =
                    [i32::MAX, i32::MIN].into_iter().chain(integers).take(4 * 3 * stride).collect();
                let parts: [&[i32]; 4] = std::array::from_fn(|i| &products[3 * stride * i..3 * stride * (i + 1)]);
                for first in [true, false] {
                    let worth = Worth { factors: &factors, scales: &scales, first, stride };
                    let (mut want, mut got) = (floats(192, 3), floats(192, 3));
                    from_products(Level::Scalar, parts[0], worth, &mut want);
                    from_products(level, parts[0], worth, &mut got);
                    assert_eq!(bits(&got), bits(&want), "{n} rows");
                    from_halves(Level::Scalar, parts, worth, &mut want);
                    from_halves(level, parts, worth, &mut got);
                    assert_eq!(bits(&got), bits(&want), "{n} rows of two bytes");
                    to_distances(Level::Scalar, 1.7, &scales, &mut want);
                    to_distances(level, 1.7, &scales, &mut got);
                    assert_eq!(bits(&got), bits(&want), "{n} distances");
                    for center in [None, Some(&factors[..])] {
                        finish(Level::Scalar, 3, &scales, center, &mut want);
                        finish(level, 3, &scales, center, &mut got);
                        assert_eq!(bits(&got), bits(&want), "{n} rows, shares of a center: {center:?}");
                    }
                }
            }
        }
    }

    /// The formula of docs/numerics.md section 10 in integers of 128 bits, which hold anything, for the largest products that 65,536
    /// coordinates make, and for sums that only one rounding brings to their float.
    #[test]
    fn halves_are_put_together_as_the_formula_says() {
        const MOST: i32 = 65_536 * 127 * 127;
        let edges = [0, 1, -1, 63, -64, 127, 1 << 24, (1 << 24) + 1, -(1 << 29) - 1, MOST, -MOST];
        let rows: Vec<[i32; 4]> = (0..edges.len().pow(4))
            .step_by(7)
            .map(|i| [1, 11, 121, 1_331].map(|place| edges[i / place % edges.len()]))
            .collect();
        for level in other_levels().into_iter().chain([Level::Scalar]) {
            for rows in rows.chunks(MARKED) {
                let parts: [Vec<i32>; 4] = std::array::from_fn(|part| rows.iter().map(|row| row[part]).collect());
                let (scales, mut scores) = (vec![1.0; rows.len()], vec![7.0; MARKED]);
                let worth = Worth { factors: &[1.0], scales: &scales, first: true, stride: rows.len() };
                from_halves(level, parts.each_ref().map(|part| &part[..]), worth, &mut scores);
                for (row, score) in rows.iter().zip(scores) {
                    let [hh, hl, lh, ll] = row.map(i128::from);
                    let whole = hh * 16_384 + (hl + lh) * 128 + ll;
                    assert_eq!(score, whole as f32, "{}: {row:?}", level.name());
                }
            }
        }
    }

    #[test]
    fn marks_are_the_rows_at_or_above_the_floor() {
        for level in other_levels().into_iter().chain([Level::Scalar]) {
            for rows in 0..=64 {
                let keys = floats(64 * 7, rows as u64);
                let floors = [f32::NEG_INFINITY, -0.0, 0.0, 0.5, keys[64 * 4], 9.0, keys[64 * 7 - 1]];
                let mut marks = [7; 7];
                at_least(level, &keys, rows, &floors, &mut marks);
                for (j, (&floor, &found)) in floors.iter().zip(&marks).enumerate() {
                    let keys = keys[64 * j..][..rows].iter().enumerate();
                    let expected = keys.fold(0, |bits, (r, key)| bits | u64::from(*key >= floor) << r);
                    assert_eq!(found, expected, "{}: {rows} rows, floor {floor}", level.name());
                }
            }
        }
    }
}
