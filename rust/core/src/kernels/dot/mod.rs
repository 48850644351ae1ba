//! The integer product of the scan: int8 queries against a panel of int8 rows, exact in int32.
//!
//! Bound: |q|, |l| ≤ 127 and at most 65,536 coordinates, so |sum| ≤ 65,536·127² = 1,057,030,144 < 2³¹.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;

use super::Level;

/// Rows of a panel are padded with zeros to a multiple of this many coordinates.
pub(crate) const PANEL_STEP: usize = 32;

/// Adds ⟨query i, row r⟩ to `out[i·rows + r]` for every query and row; both are rows of `width` int8 values in [−127, 127].
///
/// # Panics
/// If `width` is no multiple of [`PANEL_STEP`] or the lengths disagree.
pub(crate) fn add_products(level: Level, queries: &[i8], panel: &[i8], width: usize, out: &mut [i32]) {
    assert!(width > 0 && width.is_multiple_of(PANEL_STEP), "rows are padded to {PANEL_STEP} coordinates");
    let rows = panel.len() / width;
    assert!(panel.len() == rows * width && queries.len().is_multiple_of(width), "whole rows");
    assert_eq!(out.len(), queries.len() / width * rows, "one product a query and row");
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(token) => avx2::add_products(token, queries, panel, width, out),
        #[cfg(target_arch = "aarch64")]
        Level::Neon(token) => neon::add_products(token, queries, panel, width, out),
        _ => {
            for (query, out) in queries.chunks_exact(width).zip(out.chunks_exact_mut(rows.max(1))) {
                for (row, out) in panel.chunks_exact(width).zip(out) {
                    let products = query.iter().zip(row).map(|(&q, &l)| i32::from(q) * i32::from(l));
                    *out += products.sum::<i32>();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bytes, other_levels};

    fn values(n: usize, seed: u64) -> Vec<i8> {
        bytes(n, seed).iter().map(|byte| (*byte as i8).max(-127)).collect()
    }

    #[test]
    fn levels_equal_scalar_saturated_values_included() {
        for level in other_levels() {
            for width in [32, 64, 96, 1024, 3072, 65_536] {
                for (nq, rows) in [(1, 1), (1, 5), (3, 4), (4, 7), (9, 2)] {
                    for saturated in [false, true] {
                        let (mut queries, mut panel) = (values(nq * width, 1), values(rows * width, 2));
                        if saturated {
                            queries.fill(-127);
                            panel
                                .iter_mut()
                                .enumerate()
                                .for_each(|(i, v)| *v = if i / width % 2 == 0 { 127 } else { -127 });
                        }
                        let (mut want, mut got) = (vec![3; nq * rows], vec![3; nq * rows]);
                        add_products(Level::Scalar, &queries, &panel, width, &mut want);
                        add_products(level, &queries, &panel, width, &mut got);
                        assert_eq!(got, want, "{}: width {width}, {nq} queries, {rows} rows", level.name());
                    }
                }
            }
        }
    }
}
