//! A row's products with AVX2: 32 codes a register, levels looked up by bytes.

use std::arch::x86_64::*;

use super::{BLOCK, Group, ONE_BYTE, SPARE};
use crate::kernels::level::Avx2;
use crate::kernels::lookup::x86::found;
use crate::kernels::units::Place;
use crate::kernels::units::avx2::{fours, ones, twos};

pub(super) fn product(_: Avx2, group: &Group, words: &[[i16; BLOCK]], row: &[u8]) -> i64 {
    // SAFETY: the token proves the features; `Single` checked that units lie in the row, which `SPARE` bytes follow.
    unsafe {
        match group.bits {
            ..=ONE_BYTE => one_byte(group, words, row),
            5 => two_bytes::<2>(group, words, row),
            6 => two_bytes::<4>(group, words, row),
            7 => two_bytes::<8>(group, words, row),
            _ => two_bytes::<16>(group, words, row),
        }
    }
}

/// The widths of units, four bits each, the last in the lowest: what loops over them are compiled for. None of [`ANY`].
type Widths = u32;
const ANY: Widths = 0;

/// The codes of block `block` of a part; those of padding are any below 2^bits.
///
/// # Safety
/// The units lie in a row that `SPARE` bytes follow, have the widths, and the part has more than `block` blocks.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn codes<const WIDTHS: Widths>(units: &[Place], block: usize, row: *const u8) -> [__m256i; 2] {
    const { assert!(SPARE >= 32, "a block of four bits") };
    let count = if WIDTHS == ANY { units.len() } else { WIDTHS.ilog2() as usize / 4 + 1 };
    let mut codes = [_mm256_setzero_si256(); 2];
    for (i, unit) in units[..count].iter().enumerate() {
        let width = if WIDTHS == ANY { unit.width } else { WIDTHS >> (4 * (count - 1 - i)) & 15 };
        let at = row.wrapping_add(unit.offset + block * 8 * width as usize);
        for (half, codes) in codes.iter_mut().enumerate() {
            // SAFETY: the block starts inside the unit, and its at most 32 bytes end inside the row or the spare bytes.
            *codes = unsafe {
                match width {
                    1 => _mm256_or_si256(_mm256_add_epi8(*codes, *codes), ones(at.add(4 * half))),
                    2 => _mm256_or_si256(_mm256_slli_epi16::<2>(*codes), twos(at.add(8 * half))),
                    _ => _mm256_or_si256(_mm256_slli_epi16::<4>(*codes), fours(at.add(16 * half))),
                }
            };
        }
    }
    codes
}

/// # Safety
/// As for [`codes`]; the group's codes are below 16.
#[target_feature(enable = "avx2")]
unsafe fn one_byte(group: &Group, words: &[[i16; BLOCK]], row: &[u8]) -> i64 {
    // SAFETY: a table has more than 16 entries, which fit its low bytes.
    let levels = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(group.bytes[0].as_ptr().cast()) });
    let mut sums = [_mm256_setzero_si256(); 2];
    for part in &group.parts {
        let (units, words) = (&part.units[..], &words[part.blocks.clone()]);
        // SAFETY: as the caller promises, of the widths that units have.
        unsafe {
            match units.iter().fold(0, |widths, unit| widths << 4 | unit.width) {
                0x1 => add_part::<0x1>(units, words, row, levels, &mut sums),
                0x11 => add_part::<0x11>(units, words, row, levels, &mut sums),
                0x111 => add_part::<0x111>(units, words, row, levels, &mut sums),
                0x1111 => add_part::<0x1111>(units, words, row, levels, &mut sums),
                0x12 => add_part::<0x12>(units, words, row, levels, &mut sums),
                0x112 => add_part::<0x112>(units, words, row, levels, &mut sums),
                _ => add_part::<ANY>(units, words, row, levels, &mut sums),
            }
        }
    }
    // The whole product fits 32 bits.
    let sums = _mm256_add_epi32(sums[0], sums[1]);
    let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    i64::from(_mm_cvtsi128_si32(two).wrapping_add(_mm_extract_epi32::<1>(two)))
}

/// # Safety
/// As for [`codes`], of as many blocks as there are of words; codes are below 16.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn add_part<const WIDTHS: Widths>(
    units: &[Place],
    words: &[[i16; BLOCK]],
    row: &[u8],
    levels: __m256i,
    sums: &mut [__m256i; 2],
) {
    for (block, words) in words.iter().enumerate() {
        // SAFETY: as the caller promises.
        let codes = unsafe { codes::<WIDTHS>(units, block, row.as_ptr()) };
        for (codes, words) in codes.into_iter().zip(words.as_chunks::<32>().0) {
            let bytes = _mm256_shuffle_epi8(levels, codes);
            let levels = [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)];
            for ((sum, levels), words) in sums.iter_mut().zip(levels).zip(words.as_chunks::<16>().0) {
                // SAFETY: 16 words.
                let words = unsafe { _mm256_loadu_si256(words.as_ptr().cast()) };
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_cvtepi8_epi16(levels), words));
            }
        }
    }
}

/// # Safety
/// As for [`codes`]; the group's codes are below 16·`TABLES`.
#[target_feature(enable = "avx2")]
unsafe fn two_bytes<const TABLES: usize>(group: &Group, words: &[[i16; BLOCK]], row: &[u8]) -> i64 {
    let mut sum = _mm256_setzero_si256();
    for part in &group.parts {
        for (block, words) in words[part.blocks.clone()].iter().enumerate() {
            // SAFETY: as the caller promises.
            let codes = unsafe { codes::<ANY>(&part.units, block, row.as_ptr()) };
            // Four pairs of products: 8·16,319² = 2,130,478,088 < 2³¹.
            let mut products = _mm256_setzero_si256();
            for (codes, words) in codes.into_iter().zip(words.as_chunks::<32>().0) {
                let [low, high] = found::<TABLES, 2>([&group.bytes[0], &group.bytes[1]], codes);
                // Coordinates 0 … 7 and 16 … 23, then the others.
                let levels = [_mm256_unpacklo_epi8(low, high), _mm256_unpackhi_epi8(low, high)];
                for (i, levels) in levels.into_iter().enumerate() {
                    // SAFETY: 8·i + 24 ≤ 32.
                    let words = unsafe {
                        let at = words.as_ptr().add(8 * i);
                        let first = _mm256_castsi128_si256(_mm_loadu_si128(at.cast()));
                        _mm256_inserti128_si256::<1>(first, _mm_loadu_si128(at.add(16).cast()))
                    };
                    products = _mm256_add_epi32(products, _mm256_madd_epi16(levels, words));
                }
            }
            sum = _mm256_add_epi64(sum, _mm256_cvtepi32_epi64(_mm256_castsi256_si128(products)));
            sum = _mm256_add_epi64(sum, _mm256_cvtepi32_epi64(_mm256_extracti128_si256::<1>(products)));
        }
    }
    let two = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    _mm_cvtsi128_si64(two) + _mm_extract_epi64::<1>(two)
}
