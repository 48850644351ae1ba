//! The product with AVX-512 BW: |row|·(query with the row's sign), two tiles against up to 12 queries in 24 accumulators.
//!
//! `vpmaddubsw` adds two products in 16 bits: 2·127·127 = 32,258 < 32,767, so it never saturates. A mask negates the query's bytes.

use std::arch::x86_64::*;

use super::{Block, Line, PAIR, TILE, for_group};
use crate::kernels::level::Avx512;

pub(super) fn products(_: Avx512, block: Block<'_>, out: &mut [i32]) {
    let rows = block.rows;
    for (pair, lines) in block.lines.chunks_exact(2 * block.steps).enumerate() {
        // SAFETY: the token proves the features; `super::products` checked the lengths, and `pair` is below rows / 32.
        unsafe {
            let out = out.as_mut_ptr().add(pair * PAIR);
            for_group!(block.n(), tiles(block, lines, out, rows));
        }
    }
}

/// # Safety
/// `block` holds `N` queries, `lines` two tiles of its steps, and `out` 32 places from each multiple of `rows`, `N` times.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn tiles<const N: usize>(block: Block<'_>, lines: &[Line], out: *mut i32, rows: usize) {
    let (steps, line, mut query) = (block.steps, lines.as_ptr(), block.queries.as_ptr().cast::<i32>());
    let (zero, ones) = (_mm512_setzero_si512(), _mm512_set1_epi16(1));
    let mut sums = [[zero; 2]; N];
    for i in 0..steps {
        // SAFETY: i < steps, so both lines are among the 2·steps, and the queries hold N dwords a step.
        unsafe {
            let rows = [_mm512_load_si512(line.add(i).cast()), _mm512_load_si512(line.add(steps + i).cast())];
            let negative = rows.map(|row| _mm512_movepi8_mask(row));
            let magnitude = rows.map(|row| _mm512_abs_epi8(row));
            for (j, sums) in sums.iter_mut().enumerate() {
                let q = _mm512_set1_epi32(query.add(j).read_unaligned());
                for half in 0..2 {
                    let signed = _mm512_mask_sub_epi8(q, negative[half], zero, q);
                    let pairs = _mm512_maddubs_epi16(magnitude[half], signed);
                    sums[half] = _mm512_add_epi32(sums[half], _mm512_madd_epi16(pairs, ones));
                }
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
