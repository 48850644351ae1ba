//! The product with `sdot`: four bytes a lane, a tile against up to six queries in 24 accumulators.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Block, Line, TILE};
use crate::kernels::level::NeonDot;

/// Queries against one tile: 24 accumulators, four registers of rows and one query fit the 32 registers.
const QUERIES: usize = 6;

pub(super) fn products(_: NeonDot, block: Block<'_>, out: &mut [i32]) {
    for (tile, lines) in block.lines.chunks_exact(block.steps).enumerate() {
        for first in (0..block.n()).step_by(QUERIES) {
            // SAFETY: the token proves `dotprod`; `super::products` checked the lengths: `first` + the const argument ≤ n.
            unsafe {
                let out = out.as_mut_ptr().add(first * block.rows + tile * TILE);
                match block.n() - first {
                    1 => one_tile::<1>(block, first, lines, out),
                    2 => one_tile::<2>(block, first, lines, out),
                    3 => one_tile::<3>(block, first, lines, out),
                    4 => one_tile::<4>(block, first, lines, out),
                    5 => one_tile::<5>(block, first, lines, out),
                    _ => one_tile::<QUERIES>(block, first, lines, out),
                }
            }
        }
    }
}

/// # Safety
/// `block` holds queries `first` … `first + N − 1`, `lines` one tile of its steps, and `out` 16 places from each multiple of
/// `block.rows`, `N` times.
#[target_feature(enable = "neon,dotprod")]
unsafe fn one_tile<const N: usize>(block: Block<'_>, first: usize, lines: &[Line], out: *mut i32) {
    let n = block.n();
    let mut query = block.queries[4 * first..].as_ptr().cast::<i32>();
    let mut sums = [[vdupq_n_s32(0); 4]; N];
    for line in lines {
        // SAFETY: a line holds 64 bytes; there are as many lines as steps, and the queries hold n dwords a step.
        unsafe {
            let rows: [int8x16_t; 4] = std::array::from_fn(|i| vld1q_s8(line.0.as_ptr().add(16 * i)));
            for (j, sums) in sums.iter_mut().enumerate() {
                let q = vreinterpretq_s8_s32(vdupq_n_s32(query.add(j).read_unaligned()));
                for i in 0..4 {
                    sums[i] = sdot(sums[i], rows[i], q);
                }
            }
        }
        query = query.wrapping_add(n);
    }
    for (j, sums) in sums.into_iter().enumerate() {
        for (four, sum) in sums.into_iter().enumerate() {
            // SAFETY: the caller gives 16 places of query j.
            unsafe { vst1q_s32(out.add(j * block.rows + 4 * four), sum) };
        }
    }
}

/// `sdot`: to each lane of `sum` the products of its four bytes of `a` and `b` are added. (The intrinsic is not stable.)
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn sdot(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut out = sum;
    // SAFETY: registers in and out only; this function has `dotprod`.
    unsafe {
        asm!(
            "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) out, in(vreg) a, in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    out
}
