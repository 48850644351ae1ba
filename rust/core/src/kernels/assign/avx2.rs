//! Assignment with AVX2: eight binary searches at once, tables of up to eight boundaries in registers.

use std::arch::x86_64::*;

use super::{Products, Table, scalar};
use crate::kernels::lanes::{LANES, fold};
use crate::kernels::level::Avx2;

pub(super) fn assign(_: Avx2, table: &Table, y: &[f32], m: usize, codes: &mut [u8], products: &mut [Products]) {
    // SAFETY: the token proves AVX2.
    unsafe {
        match table.bits {
            1 => rows::<1>(table, y, m, codes, products),
            2 => rows::<2>(table, y, m, codes, products),
            3 => rows::<3>(table, y, m, codes, products),
            4 => rows::<4>(table, y, m, codes, products),
            5 => rows::<5>(table, y, m, codes, products),
            6 => rows::<6>(table, y, m, codes, products),
            7 => rows::<7>(table, y, m, codes, products),
            _ => rows::<8>(table, y, m, codes, products),
        }
    }
}

#[target_feature(enable = "avx2")]
fn rows<const BITS: usize>(table: &Table, y: &[f32], m: usize, codes: &mut [u8], products: &mut [Products]) {
    assert!(table.tree.len() == (1 << BITS) - 1 && table.levels.len() >= 1 << BITS, "the table is of {BITS} bits");
    let steps = first_steps(table);
    // SAFETY: the table is of `BITS` bits.
    unsafe {
        match m {
            8 => return short_rows::<BITS, 1>(table, &steps, y, codes, products),
            16 => return short_rows::<BITS, 2>(table, &steps, y, codes, products),
            24 => return short_rows::<BITS, 3>(table, &steps, y, codes, products),
            32 => return short_rows::<BITS, 4>(table, &steps, y, codes, products),
            _ => {}
        }
    }
    for ((y, codes), products) in y.chunks_exact(m).zip(codes.chunks_exact_mut(m)).zip(products) {
        let (mut yc, mut cc) = ([0.0; LANES], [0.0; LANES]);
        let whole = m / 64 * 64;
        for start in (0..whole).step_by(64) {
            // SAFETY: start + 64 ≤ m, the length of `y` and `codes`; the lanes are 64; the table was checked above.
            unsafe {
                sixty_four::<BITS>(
                    table,
                    &steps,
                    y.as_ptr().add(start),
                    codes.as_mut_ptr().add(start),
                    yc.as_mut_ptr(),
                    cc.as_mut_ptr(),
                );
            }
        }
        let eights = m / 8 * 8;
        for start in (whole..eights).step_by(8) {
            // SAFETY: start + 8 ≤ m, and its lanes start − whole … + 8 are among the 64; the table was checked above.
            unsafe {
                let (y, codes) = (y.as_ptr().add(start), codes.as_mut_ptr().add(start));
                let (yc, cc) = (yc.as_mut_ptr().add(start - whole), cc.as_mut_ptr().add(start - whole));
                let found = eight::<BITS>(table, &steps, y, yc, cc);
                let words = _mm_packs_epi32(_mm256_castsi256_si128(found), _mm256_extracti128_si256::<1>(found));
                _mm_storel_epi64(codes.cast(), _mm_packus_epi16(words, words));
            }
        }
        scalar::tail(table, &y[eights..], &mut codes[eights..], eights - whole, &mut yc, &mut cc);
        *products = Products { yc: fold(&mut yc, m), cc: fold(&mut cc, m) };
    }
}

/// Rows of `N` registers, up to four, as segments of fitted codecs are: a lane has one term, and registers are folded where they are.
///
/// # Safety
/// `table` is of `BITS` bits.
#[target_feature(enable = "avx2")]
unsafe fn short_rows<const BITS: usize, const N: usize>(
    table: &Table,
    steps: &[__m256; 4],
    y: &[f32],
    codes: &mut [u8],
    products: &mut [Products],
) {
    let zero = _mm256_setzero_ps();
    for ((y, codes), products) in y.chunks_exact(8 * N).zip(codes.chunks_exact_mut(8 * N)).zip(products) {
        let (mut yc, mut cc) = ([zero; 4], [zero; 4]);
        for i in 0..N {
            // SAFETY: 8·i + 8 ≤ 8·N, the length of y and codes; the table is as the caller promises.
            unsafe {
                let value = _mm256_loadu_ps(y.as_ptr().add(8 * i));
                let found = search::<BITS>(table, steps, value);
                let c = levels_of::<BITS>(table, found);
                yc[i] = _mm256_add_ps(zero, _mm256_mul_ps(value, c));
                cc[i] = _mm256_mul_ps(c, c);
                let words = _mm_packs_epi32(_mm256_castsi256_si128(found), _mm256_extracti128_si256::<1>(found));
                _mm_storel_epi64(codes.as_mut_ptr().add(8 * i).cast(), _mm_packus_epi16(words, words));
            }
        }
        *products = Products { yc: halve(yc), cc: halve(cc) };
    }
}

/// The sum of 32 lanes by halving.
#[target_feature(enable = "avx2")]
#[inline]
fn halve([a, b, c, d]: [__m256; 4]) -> f32 {
    let eight = _mm256_add_ps(_mm256_add_ps(a, c), _mm256_add_ps(b, d));
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// The tree's first four steps, 1, 2, 4 and 8 boundaries, each in one register.
#[target_feature(enable = "avx2")]
fn first_steps(table: &Table) -> [__m256; 4] {
    std::array::from_fn(|step| {
        let mut entries = [0.0_f32; 8];
        for (j, entry) in entries.iter_mut().enumerate().take(1 << step) {
            *entry = table.tree.get((1 << step) - 1 + j).copied().unwrap_or(0.0);
        }
        // SAFETY: eight values are read from an array of eight.
        unsafe { _mm256_loadu_ps(entries.as_ptr()) }
    })
}

/// # Safety
/// `y`, `codes`, `yc` and `cc` hold 64 values; `table` is of `BITS` bits.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn sixty_four<const BITS: usize>(
    table: &Table,
    steps: &[__m256; 4],
    y: *const f32,
    codes: *mut u8,
    yc: *mut f32,
    cc: *mut f32,
) {
    for half in [0, 32] {
        let mut found = [_mm256_setzero_si256(); 4];
        for (i, found) in found.iter_mut().enumerate() {
            let at = half + 8 * i;
            // SAFETY: at + 8 ≤ 64.
            *found = unsafe { eight::<BITS>(table, steps, y.add(at), yc.add(at), cc.add(at)) };
        }
        // Narrow 4 × 8 values to 32 bytes; the packs work within 128-bit halves, the permutation puts groups in order.
        let low = _mm256_packs_epi32(found[0], found[1]);
        let high = _mm256_packs_epi32(found[2], found[3]);
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
        // SAFETY: half + 32 ≤ 64.
        unsafe { _mm256_storeu_si256(codes.add(half).cast(), bytes) }
    }
}

/// The codes of eight values; their products are added to eight lanes.
///
/// # Safety
/// `y`, `yc` and `cc` hold 8 values; `table` is of `BITS` bits.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn eight<const BITS: usize>(
    table: &Table,
    steps: &[__m256; 4],
    y: *const f32,
    yc: *mut f32,
    cc: *mut f32,
) -> __m256i {
    // SAFETY: as the caller promises.
    unsafe {
        let value = _mm256_loadu_ps(y);
        let found = search::<BITS>(table, steps, value);
        let c = levels_of::<BITS>(table, found);
        _mm256_storeu_ps(yc, _mm256_add_ps(_mm256_loadu_ps(yc), _mm256_mul_ps(value, c)));
        _mm256_storeu_ps(cc, _mm256_add_ps(_mm256_loadu_ps(cc), _mm256_mul_ps(c, c)));
        found
    }
}

/// # Safety
/// `table` is of `BITS` bits.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn search<const BITS: usize>(table: &Table, steps: &[__m256; 4], value: __m256) -> __m256i {
    let mut found = _mm256_setzero_si256();
    for step in 0..BITS {
        let bound = if let Some(&entries) = steps.get(step) {
            _mm256_permutevar8x32_ps(entries, found)
        } else {
            let index = _mm256_add_epi32(found, _mm256_set1_epi32((1 << step) - 1));
            // SAFETY: found < 2^step, so index < 2^BITS − 1, the length of the tree.
            unsafe { _mm256_i32gather_ps::<4>(table.tree.as_ptr(), index) }
        };
        // The comparison gives −1 where the value is above the boundary.
        let above = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(value, bound));
        found = _mm256_sub_epi32(_mm256_add_epi32(found, found), above);
    }
    found
}

/// # Safety
/// `table` is of `BITS` bits and codes are below 2^BITS.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn levels_of<const BITS: usize>(table: &Table, codes: __m256i) -> __m256 {
    let levels = table.levels.as_ptr();
    // SAFETY: the table holds max(16, 2^BITS) levels.
    unsafe {
        match BITS {
            1..=3 => _mm256_permutevar8x32_ps(_mm256_loadu_ps(levels), codes),
            4 => {
                let low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(levels), codes);
                let high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(levels.add(8)), codes);
                _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(codes)))
            }
            _ => _mm256_i32gather_ps::<4>(levels, codes),
        }
    }
}
