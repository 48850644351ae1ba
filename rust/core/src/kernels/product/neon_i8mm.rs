//! The product with `smmla`: two rows of eight bytes times two queries, a tile against up to six queries in 24 accumulators.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Block, Line, TILE};
use crate::kernels::level::NeonI8mm;

/// Queries against one tile: 24 accumulators, three registers of queries and one of rows fit the 32 registers.
const QUERIES: usize = 6;

pub(super) fn products(_: NeonI8mm, block: Block<'_>, out: &mut [i32]) {
    for (tile, lines) in block.lines.chunks_exact(2 * block.steps).enumerate() {
        for first in (0..block.n()).step_by(QUERIES) {
            // SAFETY: the token proves `i8mm`; `super::products` checked the lengths: `first` + 2·(the const argument) − 1 ≤ n.
            unsafe {
                let out = out.as_mut_ptr().add(first * block.rows + tile * TILE);
                match block.n() - first {
                    1..=2 => one_tile::<1>(block, first, lines, out),
                    3..=4 => one_tile::<2>(block, first, lines, out),
                    _ => one_tile::<3>(block, first, lines, out),
                }
            }
        }
    }
}

/// # Safety
/// `block` holds queries `first` … `first + 2·PAIRS − 2` at least, `lines` one tile of its steps, two lines each, and `out` 16 places
/// from each multiple of `block.rows` for each of these queries.
#[target_feature(enable = "neon,i8mm")]
unsafe fn one_tile<const PAIRS: usize>(block: Block<'_>, first: usize, lines: &[Line], out: *mut i32) {
    let n = block.n();
    let count = (n - first).min(2 * PAIRS);
    let mut query = block.queries[8 * first..].as_ptr();
    // Of a last pair without a second query the first one is taken twice.
    let second: [usize; PAIRS] = std::array::from_fn(|pair| 8 * (2 * pair + 1).min(count - 1));
    let mut sums = [[vdupq_n_s32(0); PAIRS]; 8];
    for lines in lines.as_chunks::<2>().0 {
        // SAFETY: there are as many pairs of lines as steps, and the queries hold 8·n bytes a step; a line holds 64 bytes.
        unsafe {
            let q: [int8x16_t; PAIRS] = std::array::from_fn(|pair| {
                vcombine_s8(vld1_s8(query.add(16 * pair)), vld1_s8(query.add(second[pair])))
            });
            for (r, sums) in sums.iter_mut().enumerate() {
                let rows = vld1q_s8(lines[r / 4].0.as_ptr().add(16 * (r % 4)));
                for pair in 0..PAIRS {
                    sums[pair] = smmla(sums[pair], rows, q[pair]);
                }
            }
        }
        query = query.wrapping_add(8 * n);
    }
    for j in 0..count {
        for four in 0..4 {
            let (low, high) = (sums[2 * four][j / 2], sums[2 * four + 1][j / 2]);
            let products = if j % 2 == 0 { vuzp1q_s32(low, high) } else { vuzp2q_s32(low, high) };
            // SAFETY: the caller gives 16 places of query j.
            unsafe { vst1q_s32(out.add(j * block.rows + 4 * four), products) };
        }
    }
}

/// `smmla`: to lane 2i + j of `sum` the product of row i of `a` and row j of `b`, of eight bytes each, is added. (The intrinsic is not
/// stable.)
#[target_feature(enable = "neon,i8mm")]
#[inline]
fn smmla(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut out = sum;
    // SAFETY: registers in and out only; this function has `i8mm`.
    unsafe {
        asm!(
            "smmla {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) out, in(vreg) a, in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    out
}
