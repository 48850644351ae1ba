//! Assignment with AVX-512: sixteen binary searches at once, tables of up to 32 boundaries in registers.

use std::arch::x86_64::*;

use super::{Products, Table};
use crate::kernels::lanes::{LANES, fold};
use crate::kernels::level::Avx512;

pub(super) fn assign(_: Avx512, table: &Table, y: &[f32], m: usize, codes: &mut [u8], products: &mut [Products]) {
    // SAFETY: the token proves the features.
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

/// The parts of a table that fit registers.
struct Registers {
    /// The search's first five steps, 1 to 16 boundaries each; then the 32 of the sixth.
    steps: [__m512; 5],
    sixth: [__m512; 2],
    /// The first 32 levels.
    levels: [__m512; 2],
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rows<const BITS: usize>(table: &Table, y: &[f32], m: usize, codes: &mut [u8], products: &mut [Products]) {
    assert!(table.tree.len() == (1 << BITS) - 1 && table.levels.len() >= 1 << BITS, "the table is of {BITS} bits");
    let registers = registers(table);
    if m <= 32 {
        // SAFETY: the table is of `BITS` bits.
        return unsafe { short_rows::<BITS>(table, &registers, y, m, codes, products) };
    }
    for ((y, codes), products) in y.chunks_exact(m).zip(codes.chunks_exact_mut(m)).zip(products) {
        let (mut yc, mut cc) = ([_mm512_setzero_ps(); 4], [_mm512_setzero_ps(); 4]);
        let whole = m / LANES * LANES;
        for (y, codes) in y.as_chunks::<LANES>().0.iter().zip(codes.as_chunks_mut::<LANES>().0) {
            for i in 0..4 {
                // SAFETY: y and codes hold 64 values; the table was checked above.
                unsafe {
                    let value = _mm512_loadu_ps(y.as_ptr().add(16 * i));
                    let found = search::<BITS>(table, &registers, value);
                    let c = levels_of::<BITS>(table, &registers, found);
                    yc[i] = _mm512_add_ps(yc[i], _mm512_mul_ps(value, c));
                    cc[i] = _mm512_add_ps(cc[i], _mm512_mul_ps(c, c));
                    _mm_storeu_si128(codes.as_mut_ptr().add(16 * i).cast(), _mm512_cvtepi32_epi8(found));
                }
            }
        }
        for (i, start) in (whole..m).step_by(16).enumerate() {
            let mask = 0xFFFF_u16 >> (16 - (m - start).min(16));
            // SAFETY: masked places are below m, the length of y and codes; the table was checked above.
            unsafe {
                let value = _mm512_maskz_loadu_ps(mask, y.as_ptr().add(start));
                let found = search::<BITS>(table, &registers, value);
                // Lanes that have no value add 0.
                let c = _mm512_maskz_mov_ps(mask, levels_of::<BITS>(table, &registers, found));
                yc[i] = _mm512_add_ps(yc[i], _mm512_mul_ps(value, c));
                cc[i] = _mm512_add_ps(cc[i], _mm512_mul_ps(c, c));
                _mm512_mask_cvtepi32_storeu_epi8(codes.as_mut_ptr().add(start).cast(), mask, found);
            }
        }
        let (mut yc, mut cc) = (to_lanes(yc), to_lanes(cc));
        *products = Products { yc: fold(&mut yc, m), cc: fold(&mut cc, m) };
    }
}

/// Rows of up to 32 values, as segments of fitted codecs are: a lane has one term, and two registers are folded where they are.
///
/// # Safety
/// `table` is of `BITS` bits.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn short_rows<const BITS: usize>(
    table: &Table,
    registers: &Registers,
    y: &[f32],
    m: usize,
    codes: &mut [u8],
    products: &mut [Products],
) {
    let zero = _mm512_setzero_ps();
    let masks = [0, 16].map(|start| ((1_u32 << m.saturating_sub(start).min(16)) - 1) as u16);
    for ((y, codes), products) in y.chunks_exact(m).zip(codes.chunks_exact_mut(m)).zip(products) {
        let (mut yc, mut cc) = (zero, zero);
        for (i, mask) in masks.into_iter().enumerate().take(m.div_ceil(16)) {
            // SAFETY: masked places are below m, the length of y and codes; the table is as the caller promises.
            unsafe {
                let value = _mm512_maskz_loadu_ps(mask, y.as_ptr().add(16 * i));
                let found = search::<BITS>(table, registers, value);
                let c = _mm512_maskz_mov_ps(mask, levels_of::<BITS>(table, registers, found));
                // Each lane starts from +0, and the fold adds lane j + 16 to lane j first.
                yc = _mm512_add_ps(yc, _mm512_add_ps(zero, _mm512_mul_ps(value, c)));
                cc = _mm512_add_ps(cc, _mm512_mul_ps(c, c));
                _mm512_mask_cvtepi32_storeu_epi8(codes.as_mut_ptr().add(16 * i).cast(), mask, found);
            }
        }
        *products = Products { yc: halve(yc), cc: halve(cc) };
    }
}

/// The sum of sixteen lanes by halving.
#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
pub(super) fn halve(sums: __m512) -> f32 {
    let eight = _mm256_add_ps(_mm512_castps512_ps256(sums), _mm512_extractf32x8_ps::<1>(sums));
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn to_lanes(sums: [__m512; 4]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    for (sum, lanes) in sums.into_iter().zip(lanes.as_chunks_mut::<16>().0) {
        // SAFETY: a chunk holds 16 values.
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sum) };
    }
    lanes
}

#[target_feature(enable = "avx512f")]
#[inline]
fn registers(table: &Table) -> Registers {
    let part = |values: &[f32], from: usize, n: usize| {
        let mut entries = [0.0_f32; 16];
        for (entry, value) in entries.iter_mut().zip(values.get(from..).unwrap_or_default()).take(n) {
            *entry = *value;
        }
        // SAFETY: sixteen values are read from an array of sixteen.
        unsafe { _mm512_loadu_ps(entries.as_ptr()) }
    };
    Registers {
        steps: std::array::from_fn(|step| part(&table.tree, (1 << step) - 1, 1 << step)),
        sixth: [part(&table.tree, 31, 16), part(&table.tree, 47, 16)],
        levels: [part(&table.levels, 0, 16), part(&table.levels, 16, 16)],
    }
}

/// # Safety
/// `table` is of `BITS` bits.
#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
unsafe fn search<const BITS: usize>(table: &Table, registers: &Registers, value: __m512) -> __m512i {
    let one = _mm512_set1_epi32(1);
    let mut found = _mm512_setzero_si512();
    for step in 0..BITS {
        let bound = match step {
            0..=4 => _mm512_permutexvar_ps(found, registers.steps[step]),
            5 => _mm512_permutex2var_ps(registers.sixth[0], found, registers.sixth[1]),
            _ => {
                let index = _mm512_add_epi32(found, _mm512_set1_epi32((1 << step) - 1));
                // SAFETY: found < 2^step, so index < 2^BITS − 1, the length of the tree.
                unsafe { _mm512_i32gather_ps::<4>(index, table.tree.as_ptr()) }
            }
        };
        let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(value, bound);
        let twice = _mm512_add_epi32(found, found);
        found = _mm512_mask_add_epi32(twice, above, twice, one);
    }
    found
}

/// # Safety
/// `table` is of `BITS` bits and codes are below 2^BITS.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn levels_of<const BITS: usize>(table: &Table, registers: &Registers, codes: __m512i) -> __m512 {
    match BITS {
        1..=4 => _mm512_permutexvar_ps(codes, registers.levels[0]),
        5 => _mm512_permutex2var_ps(registers.levels[0], codes, registers.levels[1]),
        // SAFETY: the table holds 2^BITS levels.
        _ => unsafe { _mm512_i32gather_ps::<4>(codes, table.levels.as_ptr()) },
    }
}
