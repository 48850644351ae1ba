//! A row's products with NEON: 16 codes a register, levels looked up by bytes.

use std::arch::aarch64::*;

use super::{BLOCK, Group, ONE_BYTE, SPARE};
use crate::kernels::level::Neon;
use crate::kernels::lookup::arm::found;
use crate::kernels::units::Place;
use crate::kernels::units::neon::fields;

pub(super) fn product(_: Neon, group: &Group, words: &[[i16; BLOCK]], row: &[u8]) -> i64 {
    // SAFETY: the token proves the features; `Single` checked that units lie in the row, which `SPARE` bytes follow.
    unsafe {
        match group.bits {
            ..=ONE_BYTE => one_byte(group, words, row),
            5 | 6 => two_bytes::<1>(group, words, row),
            7 => two_bytes::<2>(group, words, row),
            _ => two_bytes::<4>(group, words, row),
        }
    }
}

/// The codes of quarter `quarter`, sixteen coordinates, of block `block` of a part; those of padding are any below 2^bits.
///
/// # Safety
/// The units lie in a row that `SPARE` bytes follow, and the part has more than `block` blocks.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn codes(units: &[Place], block: usize, quarter: usize, row: *const u8) -> uint8x16_t {
    const { assert!(SPARE >= 40, "a block of four bits, and eight bytes that are read where two are meant") };
    let mut codes = vdupq_n_u8(0);
    for &Place { width, offset, .. } in units {
        let at = row.wrapping_add(offset + (4 * block + quarter) * 2 * width as usize);
        // SAFETY: the block starts inside the unit, so eight bytes from a quarter of it end inside the row or the spare bytes.
        let from = unsafe { vcombine_u8(vld1_u8(at), vdup_n_u8(0)) };
        codes = vorrq_u8(vshlq_u8(codes, vdupq_n_s8(width as i8)), fields(from, width));
    }
    codes
}

/// # Safety
/// As for [`codes`]; the group's codes are below 16.
#[target_feature(enable = "neon")]
unsafe fn one_byte(group: &Group, words: &[[i16; BLOCK]], row: &[u8]) -> i64 {
    // SAFETY: a table has more than 16 entries, which fit its low bytes.
    let levels = unsafe { vld1q_s8(group.bytes[0].as_ptr()) };
    let mut sums = [vdupq_n_s32(0); 4];
    for part in &group.parts {
        for (block, words) in words[part.blocks.clone()].iter().enumerate() {
            for (quarter, words) in words.as_chunks::<16>().0.iter().enumerate() {
                // SAFETY: as the caller promises; 16 words.
                let (codes, words) = unsafe { (codes(&part.units, block, quarter, row.as_ptr()), words_of(words)) };
                let levels = vqtbl1q_s8(levels, codes);
                let levels = [vmovl_s8(vget_low_s8(levels)), vmovl_high_s8(levels)];
                sums = add(sums, levels, words);
            }
        }
    }
    // The whole product fits 32 bits.
    let sums = vaddq_s32(vaddq_s32(sums[0], sums[1]), vaddq_s32(sums[2], sums[3]));
    i64::from(vaddvq_s32(sums))
}

/// # Safety
/// As for [`codes`]; the group's codes are below 64·`TABLES`.
#[target_feature(enable = "neon")]
unsafe fn two_bytes<const TABLES: usize>(group: &Group, words: &[[i16; BLOCK]], row: &[u8]) -> i64 {
    let mut sum = vdupq_n_s64(0);
    for part in &group.parts {
        for (block, words) in words[part.blocks.clone()].iter().enumerate() {
            // Four products: 4·16,319² = 1,065,239,044 < 2³¹.
            let mut products = [vdupq_n_s32(0); 4];
            for (quarter, words) in words.as_chunks::<16>().0.iter().enumerate() {
                // SAFETY: as the caller promises.
                let codes = unsafe { codes(&part.units, block, quarter, row.as_ptr()) };
                let [low, high] = found::<TABLES, 2>([&group.bytes[0], &group.bytes[1]], codes);
                let levels = [vzip1q_s8(low, high), vzip2q_s8(low, high)].map(|bytes| vreinterpretq_s16_s8(bytes));
                products = add(products, levels, words_of(words));
            }
            for four in products {
                sum = vpadalq_s32(sum, four);
            }
        }
    }
    vaddvq_s64(sum)
}

/// Adds sixteen products, one a lane.
#[target_feature(enable = "neon")]
#[inline]
fn add(sums: [int32x4_t; 4], levels: [int16x8_t; 2], words: [int16x8_t; 2]) -> [int32x4_t; 4] {
    [
        vmlal_s16(sums[0], vget_low_s16(levels[0]), vget_low_s16(words[0])),
        vmlal_high_s16(sums[1], levels[0], words[0]),
        vmlal_s16(sums[2], vget_low_s16(levels[1]), vget_low_s16(words[1])),
        vmlal_high_s16(sums[3], levels[1], words[1]),
    ]
}

#[target_feature(enable = "neon")]
#[inline]
fn words_of(words: &[i16; 16]) -> [int16x8_t; 2] {
    // SAFETY: twice 8 words.
    unsafe { [vld1q_s16(words.as_ptr()), vld1q_s16(words.as_ptr().add(8))] }
}
