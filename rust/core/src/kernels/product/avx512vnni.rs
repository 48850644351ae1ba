//! The product with AVX-512 VNNI: `vpdpbusd`, four tiles against up to six queries in 24 accumulators.
//!
//! The instruction multiplies unsigned by signed bytes: panels are offset by 128, and sums start from −128·Σq. Sums wrap; with the
//! offset they stay within 65,536·127·255 = 2,122,383,360 < 2³¹ anyway. Ten loads for 24 products: two tiles against twelve queries
//! take fourteen, and a sixth longer. 24 accumulators, four registers of rows and one query fit the 32 registers.

use std::arch::x86_64::*;

use super::{Block, Line, PAIR, SIX, TILE};
use crate::kernels::level::{Avx512, Avx512Vnni};

pub(super) fn products(_: Avx512, _: Avx512Vnni, block: Block<'_>, out: &mut [i32]) {
    let (n, rows) = (block.n(), block.rows);
    for (four, lines) in block.lines.chunks(4 * block.steps).enumerate() {
        for first in (0..n).step_by(SIX) {
            // SAFETY: the tokens prove the features; `super::products` checked the lengths: `first` + N ≤ n, and tiles come in pairs.
            unsafe {
                let out = out.as_mut_ptr().add(first * rows + four * 2 * PAIR);
                match n - first {
                    1 => some_tiles::<1>(block, first, lines, out),
                    2 => some_tiles::<2>(block, first, lines, out),
                    3 => some_tiles::<3>(block, first, lines, out),
                    4 => some_tiles::<4>(block, first, lines, out),
                    5 => some_tiles::<5>(block, first, lines, out),
                    _ => some_tiles::<SIX>(block, first, lines, out),
                }
            }
        }
    }
}

/// # Safety
/// As for [`tiles`], of as many tiles as `lines` hold: two or four.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn some_tiles<const N: usize>(block: Block<'_>, first: usize, lines: &[Line], out: *mut i32) {
    // SAFETY: as the caller says.
    unsafe {
        if lines.len() == 4 * block.steps {
            tiles::<4, N>(block, first, lines, out);
        } else {
            tiles::<2, N>(block, first, lines, out);
        }
    }
}

/// # Safety
/// `block` holds queries `first` … `first + N − 1` side by side, `lines` `T` tiles of its steps, and `out` 16·`T` places from each multiple of
/// `block.rows`, `N` times.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
unsafe fn tiles<const T: usize, const N: usize>(block: Block<'_>, first: usize, lines: &[Line], out: *mut i32) {
    let (steps, line) = (block.steps, lines.as_ptr());
    let mut query = block.queries[4 * first * steps..].as_ptr().cast::<i32>();
    let mut sums: [[__m512i; T]; N] = std::array::from_fn(|j| [_mm512_set1_epi32(block.offsets[first + j]); T]);
    for i in 0..steps {
        // SAFETY: i < steps, so the lines are among the T·steps, and the queries hold N dwords a step.
        unsafe {
            let rows: [__m512i; T] = std::array::from_fn(|tile| _mm512_load_si512(line.add(tile * steps + i).cast()));
            for (j, sums) in sums.iter_mut().enumerate() {
                let q = _mm512_set1_epi32(query.add(j).read_unaligned());
                for (sum, rows) in sums.iter_mut().zip(rows) {
                    *sum = _mm512_dpbusd_epi32(*sum, rows, q);
                }
            }
            query = query.add(N);
        }
    }
    for (j, sums) in sums.into_iter().enumerate() {
        for (tile, sum) in sums.into_iter().enumerate() {
            // SAFETY: the caller gives 16·T places of query j.
            unsafe {
                let out = out.add(j * block.rows + tile * TILE).cast();
                _mm512_storeu_si512(out, sum);
            }
        }
    }
}
