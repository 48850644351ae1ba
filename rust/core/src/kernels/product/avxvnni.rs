//! The product with AVX-VNNI: `vpdpbusd` of 256-bit registers, a tile against up to six queries in twelve accumulators.
//!
//! Panels are offset by 128 and sums start from −128·Σq, as with AVX-512 VNNI.

use std::arch::x86_64::*;

use super::{Block, Line, SIX, TILE};
use crate::kernels::level::AvxVnni;

pub(super) fn products(_: AvxVnni, block: Block<'_>, out: &mut [i32]) {
    #[target_feature(enable = "avx2,avxvnni")]
    fn body(block: Block<'_>, out: &mut [i32]) {
        all_tiles(block, out, |sum, rows, query| _mm256_dpbusd_avx_epi32(sum, rows, query));
    }
    // SAFETY: the token proves AVX-VNNI, which no processor has without AVX2.
    unsafe { body(block, out) }
}

/// The kernel over an instruction for sum + unsigned rows · signed query; `inline(always)`: compiled with the caller's features.
#[inline(always)]
fn all_tiles(block: Block<'_>, out: &mut [i32], add: impl Fn(__m256i, __m256i, __m256i) -> __m256i + Copy) {
    let rows = block.rows;
    for (tile, lines) in block.lines.chunks_exact(block.steps).enumerate() {
        for first in (0..block.n()).step_by(SIX) {
            // SAFETY: the caller's features hold AVX2; `super::products` checked the lengths: `first` + the const argument ≤ n.
            unsafe {
                let out = out.as_mut_ptr().add(first * rows + tile * TILE);
                match block.n() - first {
                    1 => one_tile::<1>(block, first, lines, out, rows, add),
                    2 => one_tile::<2>(block, first, lines, out, rows, add),
                    3 => one_tile::<3>(block, first, lines, out, rows, add),
                    4 => one_tile::<4>(block, first, lines, out, rows, add),
                    5 => one_tile::<5>(block, first, lines, out, rows, add),
                    _ => one_tile::<SIX>(block, first, lines, out, rows, add),
                }
            }
        }
    }
}

/// # Safety
/// The processor has AVX2. `block` holds queries `first` … `first + N − 1` side by side, `lines` one tile of its steps, `out` 16 places from each
/// multiple of `rows`, `N` times.
#[inline(always)]
unsafe fn one_tile<const N: usize>(
    block: Block<'_>,
    first: usize,
    lines: &[Line],
    out: *mut i32,
    rows: usize,
    add: impl Fn(__m256i, __m256i, __m256i) -> __m256i,
) {
    let mut query = block.queries[4 * first * block.steps..].as_ptr().cast::<i32>();
    // SAFETY: AVX2 by the caller's word; a line holds 64 bytes, aligned; there are as many lines as steps, and the queries hold N
    // dwords a step; `out` has 16 places of each query.
    unsafe {
        let mut sums: [[__m256i; 2]; N] = [[_mm256_setzero_si256(); 2]; N];
        for (sums, &offset) in sums.iter_mut().zip(&block.offsets[first..]) {
            *sums = [_mm256_set1_epi32(offset); 2];
        }
        for line in lines {
            let line = line.0.as_ptr();
            let (low, high) = (_mm256_load_si256(line.cast()), _mm256_load_si256(line.add(32).cast()));
            for (j, sums) in sums.iter_mut().enumerate() {
                let q = _mm256_set1_epi32(query.add(j).read_unaligned());
                *sums = [add(sums[0], low, q), add(sums[1], high, q)];
            }
            query = query.add(N);
        }
        for (j, sums) in sums.into_iter().enumerate() {
            for (half, sum) in sums.into_iter().enumerate() {
                let out = out.add(j * rows + 8 * half).cast();
                _mm256_storeu_si256(out, sum);
            }
        }
    }
}

/// The same kernel over the AVX-512 form of the instruction, for machines that have that one.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Level;
    use crate::kernels::product::tests::{fill, plain, values};
    use crate::kernels::product::{Panel, Queries};
    use crate::kernels::testing::{bytes, other_levels};

    #[test]
    fn kernel_equals_the_plain_sum_where_the_wider_instruction_set_can_run_it() {
        #[target_feature(enable = "avx2,avx512vl,avx512vnni")]
        fn body(block: Block<'_>, out: &mut [i32]) {
            all_tiles(block, out, |sum, rows, query| _mm256_dpbusd_epi32(sum, rows, query));
        }
        // Its panels and queries are those of this level.
        let Some(level) = other_levels().into_iter().find(|level| matches!(level, Level::Avx512Vnni(..))) else {
            eprintln!("SKIPPED: no AVX-512 VNNI on this machine to run the AVX-VNNI kernel with");
            return;
        };
        let table: [i8; 256] = std::array::from_fn(|code| (code as u8 as i8).max(-127));
        for m in (1..=70).chain([1000]) {
            for n in (1..=13).chain([24]) {
                let mut queries = Queries::new(level, m);
                let integers = values(n * m, 3);
                integers.chunks_exact(m).for_each(|query| queries.push(query));
                queries.finish();
                let codes = bytes(64 * m, 5);
                let mut panel = Panel::default();
                panel.begin(level, 64, m);
                for (tile, codes) in codes.chunks(TILE * m).enumerate() {
                    fill(&mut panel, level, tile, codes, m, &table, 256);
                }
                let (packed, offsets) = queries.group(0);
                let steps = panel.width() / 4;
                let block = Block { queries: packed, offsets, lines: panel.lines(), steps, rows: 64 };
                let mut got = vec![5; n * 64];
                // SAFETY: the level has the features.
                unsafe { body(block, &mut got) };
                let levels: Vec<_> = codes.iter().map(|code| table[usize::from(*code)]).collect();
                assert!(got == plain(&integers, &levels, m), "m {m}, {n} queries");
            }
        }
    }
}
