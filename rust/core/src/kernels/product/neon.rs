//! The product with baseline NEON: widening products of bytes, a tile against up to two queries in sixteen accumulators.
//!
//! `smull` and `smlal` add two products in 16 bits: 2·127·127 = 32,258 < 32,767, then `sadalp` adds neighbours in 32. An accumulator
//! holds two sums for each of two rows.

use std::arch::aarch64::*;

use super::{Block, Line, TILE};
use crate::kernels::level::Neon;

pub(super) fn products(_: Neon, block: Block<'_>, out: &mut [i32]) {
    for (tile, lines) in block.lines.chunks_exact(block.steps).enumerate() {
        for first in (0..block.n()).step_by(2) {
            // SAFETY: the token proves NEON; `super::products` checked the lengths: `first` + the const argument ≤ n.
            unsafe {
                let out = out.as_mut_ptr().add(first * block.rows + tile * TILE);
                match block.n() - first {
                    1 => one_tile::<1>(block, first, lines, out),
                    _ => one_tile::<2>(block, first, lines, out),
                }
            }
        }
    }
}

/// # Safety
/// `block` holds queries `first` … `first + N − 1`, `lines` one tile of its steps, an even number, and `out` 16 places from each
/// multiple of `block.rows`, `N` times.
#[target_feature(enable = "neon")]
unsafe fn one_tile<const N: usize>(block: Block<'_>, first: usize, lines: &[Line], out: *mut i32) {
    let n = block.n();
    let mut query = block.queries[4 * first..].as_ptr().cast::<i32>();
    let mut sums = [[vdupq_n_s32(0); 8]; N];
    for [even, odd] in lines.as_chunks::<2>().0 {
        for (j, sums) in sums.iter_mut().enumerate() {
            // SAFETY: there are as many lines as steps, and the queries hold n dwords a step; a line holds 64 bytes.
            unsafe {
                let q0 = vreinterpret_s8_s32(vdup_n_s32(query.add(j).read_unaligned()));
                let q1 = vreinterpret_s8_s32(vdup_n_s32(query.add(n + j).read_unaligned()));
                for (pair, sum) in sums.iter_mut().enumerate() {
                    let l0 = vld1_s8(even.0.as_ptr().add(8 * pair));
                    let l1 = vld1_s8(odd.0.as_ptr().add(8 * pair));
                    *sum = vpadalq_s16(*sum, vmlal_s8(vmull_s8(l0, q0), l1, q1));
                }
            }
        }
        query = query.wrapping_add(2 * n);
    }
    for (j, sums) in sums.into_iter().enumerate() {
        for (four, pair) in sums.as_chunks::<2>().0.iter().enumerate() {
            // SAFETY: the caller gives 16 places of query j.
            unsafe { vst1q_s32(out.add(j * block.rows + 4 * four), vpaddq_s32(pair[0], pair[1])) };
        }
    }
}
