//! The product with AVX-512 VNNI: `vpdpbusd`, two tiles against up to 12 queries in 24 accumulators.
//!
//! The instruction multiplies unsigned by signed bytes, so rows are offset by 128 on the way in (one XOR a register, shared by all
//! queries) and the sums start from −128·Σq. Sums wrap; with the offset they stay within 65,536·127·255 = 2,122,383,360 < 2³¹ anyway.

use std::arch::x86_64::*;

use super::{Block, Line, PAIR, TILE, for_group};
use crate::kernels::level::{Avx512, Avx512Vnni};

pub(super) fn products(_: Avx512, _: Avx512Vnni, block: Block<'_>, out: &mut [i32]) {
    let rows = block.rows;
    for (pair, lines) in block.lines.chunks_exact(2 * block.steps).enumerate() {
        // SAFETY: the tokens prove the features; `super::products` checked the lengths, and `pair` is below rows / 32.
        unsafe {
            let out = out.as_mut_ptr().add(pair * PAIR);
            for_group!(block.n(), tiles(block, lines, out, rows));
        }
    }
}

/// # Safety
/// `block` holds `N` queries, `lines` two tiles of its steps, and `out` 32 places from each multiple of `rows`, `N` times.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn tiles<const N: usize>(block: Block<'_>, lines: &[Line], out: *mut i32, rows: usize) {
    let (steps, line, mut query) = (block.steps, lines.as_ptr(), block.queries.as_ptr().cast::<i32>());
    let flip = _mm512_set1_epi8(-128);
    let mut sums: [[__m512i; 2]; N] = std::array::from_fn(|i| [_mm512_set1_epi32(block.offsets[i]); 2]);
    for i in 0..steps {
        // SAFETY: i < steps, so both lines are among the 2·steps, and the queries hold N dwords a step.
        unsafe {
            let first = _mm512_xor_si512(_mm512_load_si512(line.add(i).cast()), flip);
            let second = _mm512_xor_si512(_mm512_load_si512(line.add(steps + i).cast()), flip);
            for (j, sums) in sums.iter_mut().enumerate() {
                let q = _mm512_set1_epi32(query.add(j).read_unaligned());
                sums[0] = _mm512_dpbusd_epi32(sums[0], first, q);
                sums[1] = _mm512_dpbusd_epi32(sums[1], second, q);
            }
            query = query.add(N);
        }
    }
    for (j, sums) in sums.into_iter().enumerate() {
        for (half, sum) in sums.into_iter().enumerate() {
            // SAFETY: the caller gives 32 places of query j.
            unsafe {
                let out = out.add(j * rows + half * TILE).cast();
                _mm512_storeu_si512(out, sum);
            }
        }
    }
}
