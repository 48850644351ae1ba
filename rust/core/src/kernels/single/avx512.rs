//! A row's products with AVX-512: a unit of one bit is a mask register, levels are looked up in registers.

use std::arch::x86_64::*;

use super::{BLOCK, Group, ONE_BYTE, SPARE};
use crate::kernels::level::Avx512;
use crate::kernels::units::Place;
use crate::kernels::units::avx512::{fours, twos};

pub(super) fn product(_: Avx512, group: &Group, words: &[[i16; BLOCK]], row: &[u8]) -> i64 {
    // SAFETY: the token proves the features; `Single` checked that units lie in the row, which `SPARE` bytes follow.
    unsafe {
        match group.bits {
            ..=ONE_BYTE => one_byte(group, words, row),
            5 => two_bytes::<1>(group, words, row),
            6 => two_bytes::<2>(group, words, row),
            7 => two_bytes::<4>(group, words, row),
            _ => two_bytes::<8>(group, words, row),
        }
    }
}

/// The codes of block `block` of a part; those of padding are any below 2^bits.
///
/// # Safety
/// The units lie in a row that `SPARE` bytes follow, and the part has more than `block` blocks.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
unsafe fn codes(units: &[Place], block: usize, row: *const u8) -> __m512i {
    const { assert!(SPARE >= 32, "a block of four bits") };
    let mut codes = _mm512_setzero_si512();
    for unit in units {
        // SAFETY: the block starts inside the unit, and its at most 32 bytes end inside the row or the spare bytes.
        codes = unsafe {
            let at = row.add(unit.offset + block * 8 * unit.width as usize);
            match unit.width {
                1 => {
                    let twice = _mm512_add_epi8(codes, codes);
                    _mm512_mask_add_epi8(twice, at.cast::<u64>().read_unaligned(), twice, _mm512_set1_epi8(1))
                }
                2 => _mm512_or_si512(_mm512_slli_epi16::<2>(codes), twos(_mm_loadu_si128(at.cast()))),
                _ => _mm512_or_si512(_mm512_slli_epi16::<4>(codes), fours(_mm256_loadu_si256(at.cast()))),
            }
        };
    }
    codes
}

/// # Safety
/// As for [`codes`]; the group's codes are below 16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn one_byte(group: &Group, words: &[[i16; BLOCK]], row: &[u8]) -> i64 {
    // SAFETY: the table has more than 16 entries, which fit a byte.
    let levels = unsafe { _mm256_cvtepi16_epi8(_mm256_loadu_si256(group.levels.as_ptr().cast())) };
    let levels = _mm512_broadcast_i32x4(levels);
    let mut sums = [_mm512_setzero_si512(); 2];
    for part in &group.parts {
        for (block, words) in words[part.blocks.clone()].iter().enumerate() {
            // SAFETY: a block holds 64 words.
            let (codes, words) = unsafe { (codes(&part.units, block, row.as_ptr()), words_of(words)) };
            let bytes = _mm512_shuffle_epi8(levels, codes);
            let low = _mm512_cvtepi8_epi16(_mm512_castsi512_si256(bytes));
            let high = _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64::<1>(bytes));
            sums[0] = _mm512_add_epi32(sums[0], _mm512_madd_epi16(low, words[0]));
            sums[1] = _mm512_add_epi32(sums[1], _mm512_madd_epi16(high, words[1]));
        }
    }
    i64::from(_mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1])))
}

/// # Safety
/// As for [`codes`]; the group's codes are below 32·`TABLES`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn two_bytes<const TABLES: usize>(group: &Group, words: &[[i16; BLOCK]], row: &[u8]) -> i64 {
    // SAFETY: a table has 256 entries.
    let levels: [__m512i; TABLES] =
        std::array::from_fn(|i| unsafe { _mm512_loadu_si512(group.levels.as_ptr().add(32 * i).cast()) });
    let mut sum = _mm512_setzero_si512();
    for part in &group.parts {
        for (block, words) in words[part.blocks.clone()].iter().enumerate() {
            // SAFETY: a block holds 64 words.
            let (codes, words) = unsafe { (codes(&part.units, block, row.as_ptr()), words_of(words)) };
            let halves = [_mm512_castsi512_si256(codes), _mm512_extracti64x4_epi64::<1>(codes)];
            for (half, words) in halves.into_iter().zip(words) {
                let products = _mm512_madd_epi16(look_up(&levels, _mm512_cvtepu8_epi16(half)), words);
                sum = _mm512_add_epi64(sum, _mm512_cvtepi32_epi64(_mm512_castsi512_si256(products)));
                sum = _mm512_add_epi64(sum, _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64::<1>(products)));
            }
        }
    }
    _mm512_reduce_add_epi64(sum)
}

/// The levels of 32 codes.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn look_up<const TABLES: usize>(levels: &[__m512i; TABLES], codes: __m512i) -> __m512i {
    if TABLES == 1 {
        return _mm512_permutexvar_epi16(codes, levels[0]);
    }
    // An instruction looks up 64 entries by the low six bits.
    let mut found = _mm512_permutex2var_epi16(levels[0], codes, levels[1]);
    for i in 1..TABLES / 2 {
        let these = _mm512_cmpeq_epi16_mask(_mm512_srli_epi16::<6>(codes), _mm512_set1_epi16(i as i16));
        let others = _mm512_permutex2var_epi16(levels[2 * i], codes, levels[2 * i + 1]);
        found = _mm512_mask_mov_epi16(found, these, others);
    }
    found
}

#[target_feature(enable = "avx512f")]
#[inline]
fn words_of(words: &[i16; BLOCK]) -> [__m512i; 2] {
    // SAFETY: twice 32 words.
    unsafe { [_mm512_loadu_si512(words.as_ptr().cast()), _mm512_loadu_si512(words.as_ptr().add(32).cast())] }
}
