//! The dense product: int16 rows with int16 matrix rows, exact in int32 (docs/numerics.md section 11).
//!
//! Bound: both sides have L2 norms of at most 32,200, so by Cauchy–Schwarz any part of a sum is at most 32,200² =
//! 1,036,840,000 < 2³¹ in magnitude; the callers see to the norms. Cost: rows·matrix rows·width multiply-adds.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use super::Level;

/// Rows of both sides are padded with zeros to a multiple of this many values.
pub(crate) const DENSE_STEP: usize = 32;

/// Largest L2 norm of a row in fixed point.
pub(crate) const NORM_LIMIT: i64 = 32_200;

/// Writes ⟨row r, matrix row a⟩ to `out[r·k + a]`, k the number of matrix rows; both are rows of `width` values.
///
/// # Panics
/// If `width` is no multiple of [`DENSE_STEP`] or the lengths disagree.
pub(crate) fn products(level: Level, rows: &[i16], matrix: &[i16], width: usize, out: &mut [i32]) {
    assert!(width > 0 && width.is_multiple_of(DENSE_STEP), "rows are padded to {DENSE_STEP} values");
    assert!(rows.len().is_multiple_of(width) && matrix.len().is_multiple_of(width), "whole rows");
    assert_eq!(out.len(), rows.len() / width * (matrix.len() / width), "one product a row and matrix row");
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(token) | Level::AvxVnni(token, _) => avx2::products(token, rows, matrix, width, out),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512(token) => avx512::products(token, rows, matrix, width, out),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vnni(token, vnni) | Level::Amx(token, vnni, _) => {
            avx512::products_vnni(token, vnni, rows, matrix, width, out)
        }
        #[cfg(target_arch = "aarch64")]
        Level::Neon(token) | Level::NeonDot(token, _) | Level::NeonI8mm(token, _) => {
            neon::products(token, rows, matrix, width, out)
        }
        _ => scalar::products(rows, matrix, width, out),
    }
}

/// Rows of `dim` values, each padded with zeros to the width that [`products`] takes.
pub(crate) fn padded(values: &[i16], dim: usize) -> Vec<i16> {
    let width = dim.next_multiple_of(DENSE_STEP);
    let mut out = vec![0; values.len() / dim * width];
    for (row, out) in values.chunks_exact(dim).zip(out.chunks_exact_mut(width)) {
        out[..dim].copy_from_slice(row);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bytes, other_levels};

    /// `n` rows of `dim` values, of norm at most 32,200 each.
    fn rows(n: usize, dim: usize, seed: u64) -> Vec<i16> {
        let reach = (32_200.0 / (dim as f64).sqrt()) as i32;
        let bytes = bytes(2 * n * dim, seed);
        let words = bytes.as_chunks::<2>().0.iter().map(|&word| i32::from(i16::from_le_bytes(word)));
        words.map(|word| (word * reach / 32_768) as i16).collect()
    }

    #[test]
    fn levels_equal_plain_sums_over_tails_and_tiles() {
        for level in other_levels().into_iter().chain([Level::Scalar]) {
            for dim in (1..=66).chain([96, 97, 200, 768]) {
                for (n, k) in [(1, 1), (2, 3), (3, 2), (4, 5), (5, 4), (7, 9), (9, 16), (0, 3), (3, 0)] {
                    let (x, m) = (rows(n, dim, 1), rows(k, dim, 2));
                    let plain = |r: usize, a: usize| -> i64 {
                        let pairs = x[r * dim..][..dim].iter().zip(&m[a * dim..][..dim]);
                        pairs.map(|(x, m)| i64::from(*x) * i64::from(*m)).sum()
                    };
                    let want: Vec<i64> =
                        (0..n).flat_map(|r| (0..k).map(move |a| (r, a))).map(|(r, a)| plain(r, a)).collect();
                    let mut out = vec![i32::MIN; n * k];
                    products(level, &padded(&x, dim), &padded(&m, dim), dim.next_multiple_of(DENSE_STEP), &mut out);
                    let got: Vec<i64> = out.iter().map(|&sum| i64::from(sum)).collect();
                    assert_eq!(got, want, "{}: dim {dim}, {n} rows, {k} matrix rows", level.name());
                }
            }
        }
    }

    #[test]
    fn the_largest_sums_fit() {
        for level in other_levels().into_iter().chain([Level::Scalar]) {
            // One value of the largest norm, two of them, and equal values over the largest dimension.
            for (dim, value) in [(1, 32_200), (2, 22_768), (65_536, 125)] {
                let (x, m) = (vec![-value as i16; dim], vec![value as i16; dim]);
                let mut out = [0];
                products(level, &padded(&x, dim), &padded(&m, dim), dim.next_multiple_of(DENSE_STEP), &mut out);
                assert_eq!(i64::from(out[0]), -i64::from(value * value) * dim as i64, "{}: dim {dim}", level.name());
            }
        }
    }
}
