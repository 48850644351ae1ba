//! Panels of columns with AVX-512 VBMI, from codes of up to four bits: rows change places with coordinates while they are packed.
//!
//! A dword of a packed row holds 16 fields of two bits, or 32 of one. Once a register holds the same dword of 16 rows, whatever is taken from
//! it is already in the places of a line, so that shuffles move four or eight times as many coordinates as among levels. Bits are then
//! spread to fields of two, two fields become a nibble, and shifts bring the nibbles of four steps to the lookup's index:
//!
//! ```text
//! a byte of fields       |f3 f2 f1 f0|   of coordinates 4k … 4k + 3 of a row's sixteen
//! two bytes of nibbles   |n2    n0   |n3    n1   |   n = (high field, low field)
//! steps 0 … 3            n0, n1, n2, n3 of k = 0 … 3 side by side: the order of `Form::Columns`
//! ```
//! Cost: three shuffles a line of 64 levels at four bits, and as many shifts and choices.

use std::arch::x86_64::*;
use std::hint::black_box;

use super::{Line, TILE};
use crate::kernels::level::Avx512Vbmi;
use crate::kernels::units::Place;

/// Coordinates whose bits of one plane are a register's lane.
const BLOCK: usize = 128;
/// Coordinates of a dword of two-bit fields; half of those of a plane's.
const GROUP: usize = 16;

/// Fills a tile of each panel with `table[code]`, some bits flipped, of [`TILE`] rows of `m` codes, if the units are planes of one bit, the
/// last of which may be one of two, of four bits in all; whether they are.
///
/// # Safety
/// Each unit lies inside so many rows of its stride.
pub(super) unsafe fn decode<const N: usize>(
    _: Avx512Vbmi,
    units: &[(&[u8], Place)],
    m: usize,
    tables: [&[i8; 256]; N],
    flip: i8,
    tiles: &mut [&mut [Line]; N],
) -> bool {
    let mut widths = [0; 4];
    if units.len() > widths.len() {
        return false;
    }
    widths.iter_mut().zip(units).for_each(|(width, (_, place))| *width = place.width);
    // SAFETY: the token proves the features; the rest is the caller's.
    unsafe {
        match widths {
            [1, 0, 0, 0] => decode_tile::<N, 1, false>(units, m, tables, flip, tiles),
            [1, 1, 0, 0] => decode_tile::<N, 2, false>(units, m, tables, flip, tiles),
            [1, 2, 0, 0] => decode_tile::<N, 1, true>(units, m, tables, flip, tiles),
            [1, 1, 1, 0] => decode_tile::<N, 3, false>(units, m, tables, flip, tiles),
            [1, 1, 2, 0] => decode_tile::<N, 2, true>(units, m, tables, flip, tiles),
            [1, 1, 1, 1] => decode_tile::<N, 4, false>(units, m, tables, flip, tiles),
            _ => return false,
        }
    }
    true
}

/// # Safety
/// As for [`decode`]; units are `PLANES` of one bit, and one of two if `TWOS`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
unsafe fn decode_tile<const N: usize, const PLANES: usize, const TWOS: bool>(
    units: &[(&[u8], Place)],
    m: usize,
    tables: [&[i8; 256]; N],
    flip: i8,
    tiles: &mut [&mut [Line]; N],
) {
    let tables = tables.map(|table| {
        // An index may have any bits above its nibble, or its two bits.
        // SAFETY: a table has 256 entries.
        let entries = unsafe { _mm_loadu_si128(table.as_ptr().cast()) };
        let wide = PLANES + 2 * usize::from(TWOS) > 2;
        let repeated = if wide { _mm512_broadcast_i32x4(entries) } else { _mm512_broadcastd_epi32(entries) };
        // LLVM 22 moves a constant through the look-ups and back without end.
        _mm512_xor_si512(repeated, _mm512_set1_epi8(black_box(flip)))
    });
    let (whole, blocks) = (m / BLOCK, m.div_ceil(BLOCK));
    for block in 0..whole {
        // SAFETY: the caller's; all coordinates of the block exist.
        unsafe { decode_block::<N, PLANES, TWOS, true>(units, (block, blocks), BLOCK, tables, tiles) };
    }
    if m > whole * BLOCK {
        // SAFETY: the caller's; so many coordinates of the block exist.
        unsafe { decode_block::<N, PLANES, TWOS, false>(units, (whole, blocks), m - whole * BLOCK, tables, tiles) };
    }
}

/// Decodes `count` coordinates of a block of [`BLOCK`]; `WHOLE` says that they are as many.
///
/// # Safety
/// As for [`decode_tile`], and the coordinates exist.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
#[inline]
unsafe fn decode_block<const N: usize, const PLANES: usize, const TWOS: bool, const WHOLE: bool>(
    units: &[(&[u8], Place)],
    (block, blocks): (usize, usize),
    count: usize,
    tables: [__m512i; N],
    tiles: &mut [&mut [Line]; N],
) {
    let dwords_of = |unit: usize, from: usize, bits: usize| {
        let (bytes, Place { offset, stride, .. }) = units[unit];
        let len = (count * bits).div_ceil(8).saturating_sub(from);
        let at = bytes.as_ptr().wrapping_add(offset + block * BLOCK * bits / 8 + from);
        // SAFETY: so many bytes of each row's unit follow `at`; 16 where the block is whole.
        unsafe { dwords::<WHOLE>(at, stride, len) }
    };
    ahead(units, block, blocks);
    let zero = [_mm512_setzero_si512(); 4];
    let plane = |unit: usize| if unit < PLANES { dwords_of(unit, 0, 1) } else { zero };
    let planes = [plane(0), plane(1), plane(2), plane(3)];
    let mut twos = zero;
    macro_rules! group {
        ($group:literal) => {
            let plane = |unit: usize| fields::<{ $group % 2 == 1 }>(planes[unit][$group / 2]);
            let twice = |fields: __m512i| _mm512_add_epi8(fields, fields);
            let pair = |high: usize| _mm512_or_si512(twice(plane(high)), plane(high + 1));
            let nibbles = |high, low| steps_of_nibbles(high, low);
            let steps = match (PLANES, TWOS) {
                (1, false) => steps_of_fields(plane(0)),
                (2, false) => steps_of_fields(pair(0)),
                (1, true) => nibbles(plane(0), twos[$group % 4]),
                (3, false) => nibbles(plane(0), pair(1)),
                (2, true) => nibbles(pair(0), twos[$group % 4]),
                _ => nibbles(pair(0), pair(2)),
            };
            for (table, tile) in tables.into_iter().zip(&mut *tiles) {
                // Lines behind the last coordinate do not exist.
                if let Some(lines) = tile.as_chunks_mut::<4>().0.get_mut(BLOCK / GROUP * block + $group) {
                    let [a, b, c, d] = lines.each_mut().map(|line| line.0.as_mut_ptr().cast());
                    // SAFETY: a line holds 64 bytes, aligned.
                    unsafe {
                        _mm512_store_si512(a, _mm512_permutexvar_epi8(steps[0], table));
                        _mm512_store_si512(b, _mm512_permutexvar_epi8(steps[1], table));
                        _mm512_store_si512(c, _mm512_permutexvar_epi8(steps[2], table));
                        _mm512_store_si512(d, _mm512_permutexvar_epi8(steps[3], table));
                    }
                }
            }
        };
    }
    if TWOS {
        twos = dwords_of(PLANES, 0, 2);
    }
    group!(0);
    group!(1);
    group!(2);
    group!(3);
    if TWOS {
        twos = dwords_of(PLANES, 16, 2);
    }
    group!(4);
    group!(5);
    group!(6);
    group!(7);
}

/// Asks for part `block` of `blocks` of what follows the units of a tile: most often those of the next one.
#[target_feature(enable = "avx512f")]
#[inline]
fn ahead(units: &[(&[u8], Place)], block: usize, blocks: usize) {
    for (bytes, _) in units {
        let (from, to) = (bytes.len() * block / blocks, bytes.len() * (block + 1) / blocks);
        for at in (from..to).step_by(64) {
            _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().wrapping_add(bytes.len() + at).cast());
        }
    }
}

/// Dwords 0 … 3 at `at` of a tile's rows, `len` bytes of each, of which there are 16 if `WHOLE`.
///
/// # Safety
/// `at` and `stride` bytes after it, and so on, start as many bytes of the rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
unsafe fn dwords<const WHOLE: bool>(at: *const u8, stride: usize, len: usize) -> [__m512i; 4] {
    let mask = if len < 16 { (1 << len) - 1 } else { u16::MAX };
    let row = |row: usize| {
        let at = at.wrapping_add(row * stride);
        // SAFETY: the caller's; masks keep reads inside the bytes.
        unsafe { if WHOLE { _mm_loadu_si128(at.cast()) } else { _mm_maskz_loadu_epi8(mask, at.cast()) } }
    };
    // Lane l: row 4·l + i.
    let four = |i: usize| {
        let lanes = _mm512_castsi128_si512(row(i));
        let lanes = _mm512_inserti32x4::<1>(lanes, row(4 + i));
        let lanes = _mm512_inserti32x4::<2>(lanes, row(8 + i));
        _mm512_inserti32x4::<3>(lanes, row(12 + i))
    };
    const { assert!(TILE == 16, "four rows a lane") };
    let [a, b, c, d] = [four(0), four(1), four(2), four(3)];
    let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
    let (ab2, cd2) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab, cd),
        _mm512_unpackhi_epi64(ab, cd),
        _mm512_unpacklo_epi64(ab2, cd2),
        _mm512_unpackhi_epi64(ab2, cd2),
    ]
}

/// The 16 bits of a half of each dword as fields of two bits.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
#[inline]
fn fields<const HIGH: bool>(plane: __m512i) -> __m512i {
    let bits = if HIGH { 0x3C38_3430_1C18_1410 } else { 0x2C28_2420_0C08_0400 };
    // Bytes whose low four bits are those wanted; the others choose among equal entries.
    let fours = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(bits), plane);
    let spread = _mm_set_epi8(0x55, 0x54, 0x51, 0x50, 0x45, 0x44, 0x41, 0x40, 0x15, 0x14, 0x11, 0x10, 5, 4, 1, 0);
    _mm512_permutexvar_epi8(fours, _mm512_broadcast_i32x4(spread))
}

/// Field t of every byte at its low end, for t = 0 … 3.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn steps_of_fields(fields: __m512i) -> [__m512i; 4] {
    [fields, _mm512_srli_epi16::<2>(fields), _mm512_srli_epi16::<4>(fields), _mm512_srli_epi16::<6>(fields)]
}

/// Fields t of every two bytes as a nibble at the low end, for t = 0 … 3.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn steps_of_nibbles(high: __m512i, low: __m512i) -> [__m512i; 4] {
    // Where the first is set the second, else the third.
    const CHOICE: i32 = 0xCA;
    let upper = _mm512_set1_epi8(0xCC_u8 as i8);
    let even = _mm512_ternarylogic_epi32::<CHOICE>(upper, _mm512_slli_epi16::<2>(high), low);
    let odd = _mm512_ternarylogic_epi32::<CHOICE>(upper, high, _mm512_srli_epi16::<2>(low));
    [even, odd, _mm512_srli_epi16::<4>(even), _mm512_srli_epi16::<4>(odd)]
}
