//! The product with AVX2: `vpmaddwd` over words of 16 bits, a tile against up to six queries in twelve accumulators.
//!
//! A product of bytes (|row| · query with the row's sign, `vpmaddubsw`) takes as many multiplications and one instruction more,
//! `vpsignb`, of which Zen 4 runs one a cycle. A lane's two products are at most 2·127² = 32,258.

use std::arch::x86_64::*;

use super::{Block, Line, TILE};
use crate::kernels::level::Avx2;

/// Queries against one tile: 12 accumulators, two registers of rows, one query and one product are the 16 registers.
const QUERIES: usize = 6;

pub(super) fn products(_: Avx2, block: Block<'_>, out: &mut [i32]) {
    let rows = block.rows;
    for (tile, lines) in block.lines.chunks_exact(block.steps).enumerate() {
        for first in (0..block.n()).step_by(QUERIES) {
            // SAFETY: the token proves AVX2; `super::products` checked the lengths: `first` + the const argument ≤ n.
            unsafe {
                let out = out.as_mut_ptr().add(first * rows + tile * TILE);
                match block.n() - first {
                    1 => one_tile::<1>(block, first, lines, out, rows),
                    2 => one_tile::<2>(block, first, lines, out, rows),
                    3 => one_tile::<3>(block, first, lines, out, rows),
                    4 => one_tile::<4>(block, first, lines, out, rows),
                    5 => one_tile::<5>(block, first, lines, out, rows),
                    _ => one_tile::<QUERIES>(block, first, lines, out, rows),
                }
            }
        }
    }
}

/// # Safety
/// `block` holds queries `first` … `first + N − 1`, `lines` one tile of its steps, `out` 16 places from each multiple of `rows`, `N` times.
#[target_feature(enable = "avx2")]
unsafe fn one_tile<const N: usize>(block: Block<'_>, first: usize, lines: &[Line], out: *mut i32, rows: usize) {
    let n = block.n();
    let mut query = block.queries[4 * first..].as_ptr().cast::<i32>();
    let mut sums = [[_mm256_setzero_si256(); 2]; N];
    for line in lines {
        // SAFETY: a line holds 64 bytes, aligned; there are as many lines as steps, and the queries hold n dwords a step.
        unsafe {
            let line = line.0.as_ptr();
            let (low, high) = (_mm256_load_si256(line.cast()), _mm256_load_si256(line.add(32).cast()));
            for (j, sums) in sums.iter_mut().enumerate() {
                let q = _mm256_set1_epi32(query.add(j).read_unaligned());
                sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(low, q));
                sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(high, q));
            }
            query = query.wrapping_add(n);
        }
    }
    for (j, sums) in sums.into_iter().enumerate() {
        for (half, sum) in sums.into_iter().enumerate() {
            // SAFETY: the caller gives 16 places of query j.
            unsafe {
                let out = out.add(j * rows + 8 * half).cast();
                _mm256_storeu_si256(out, sum);
            }
        }
    }
}
