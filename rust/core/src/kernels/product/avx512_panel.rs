//! Panels with AVX-512: codes go from their units to interleaved levels in registers, 16 rows × 64 coordinates at a time.
//!
//! An instruction looks up 16 entries, so b bits take 2^(b − 4): two for 5 bits, four for 6. Fits give few coordinates more than that.

use std::arch::x86_64::*;

use super::{Form, Line, TILE, avx512vbmi_panel};
use crate::kernels::level::{Avx512, Avx512Vbmi};
use crate::kernels::units::Place;
use crate::kernels::units::avx512::{fours, twos};

/// Fills a tile of each panel with `table[code]` of `rows` rows of `m` codes below `entries`, which `units` hold.
pub(super) fn decode<const N: usize>(
    token: Avx512,
    form: Form,
    units: &[(&[u8], Place)],
    (rows, m): (usize, usize),
    tables: [&[i8; 256]; N],
    entries: usize,
    tiles: &mut [&mut [Line]; N],
) {
    assert!((1..=TILE).contains(&rows) && tiles.iter().all(|tile| tile.len() * 4 >= m), "room for the rows");
    for (bytes, place) in units {
        assert!(bytes.len() == rows * place.stride && place.range(m).end <= place.stride, "units lie inside rows");
    }
    let (columns, flip) = (form == Form::Columns, if form.is_unsigned() { i8::MIN } else { 0 });
    if columns
        && rows == TILE
        && let Some(vbmi) = Avx512Vbmi::beside(token)
        // SAFETY: units lie inside their rows, which fill the tile.
        && unsafe { avx512vbmi_panel::decode(vbmi, units, m, tables, flip, tiles) }
    {
        return;
    }
    // SAFETY: the token proves the features; units lie inside their rows.
    unsafe {
        match entries {
            ..=16 => decode_tile::<N, 1>((columns, flip), units, rows, m, tables, tiles),
            32 => decode_tile::<N, 2>((columns, flip), units, rows, m, tables, tiles),
            64 => decode_tile::<N, 4>((columns, flip), units, rows, m, tables, tiles),
            128 => decode_tile::<N, 8>((columns, flip), units, rows, m, tables, tiles),
            _ => decode_tile::<N, 16>((columns, flip), units, rows, m, tables, tiles),
        }
    }
}

/// An array of the value for each row of a tile, `$r` its number. Indices are literals: arrays that loops index fall out of registers.
macro_rules! of_rows {
    ($r:ident => $value:expr) => {
        of_rows!(@ $r => $value, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $r:ident => $value:expr, $($number:literal)*) => {
        [$({ let $r: usize = $number; $value }),*]
    };
}

/// # Safety
/// Each unit lies inside `rows` rows, at least one, of its stride.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn decode_tile<const N: usize, const SIXTEENS: usize>(
    (columns, flip): (bool, i8),
    units: &[(&[u8], Place)],
    rows: usize,
    m: usize,
    tables: [&[i8; 256]; N],
    tiles: &mut [&mut [Line]; N],
) {
    for block in 0..m.div_ceil(64) {
        let start = 64 * block;
        // Coordinates of the block that exist.
        let count = (m - start).min(64);
        let mut codes = [_mm512_setzero_si512(); TILE];
        for &(bytes, Place { width, offset, stride, .. }) in units {
            // SAFETY: the first of the block's bytes is byte start·width/8 of a unit that lies inside its rows.
            codes = unsafe {
                let at = bytes.as_ptr().add(offset + start * width as usize / 8);
                match (width, count) {
                    (1, 64) => add::<1, true>(at, (rows, stride), count, codes),
                    (1, _) => add::<1, false>(at, (rows, stride), count, codes),
                    (2, 64) => add::<2, true>(at, (rows, stride), count, codes),
                    (2, _) => add::<2, false>(at, (rows, stride), count, codes),
                    (_, 64) => add::<4, true>(at, (rows, stride), count, codes),
                    _ => add::<4, false>(at, (rows, stride), count, codes),
                }
            };
        }
        for (table, tile) in tables.into_iter().zip(&mut *tiles) {
            let mut levels = look_up::<SIXTEENS>(table, flip, &codes);
            if columns {
                levels = of_rows!(row => by_columns(levels[row]));
            }
            let levels = transpose(levels);
            for (line, values) in tile.chunks_mut(16).nth(block).into_iter().flatten().zip(levels) {
                // SAFETY: a line holds 64 bytes, aligned.
                unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), values) };
            }
        }
    }
}

/// The levels of codes below 16·`SIXTEENS`, some bits flipped.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn look_up<const SIXTEENS: usize>(table: &[i8; 256], flip: i8, codes: &[__m512i; TILE]) -> [__m512i; TILE] {
    let sixteens: [__m512i; SIXTEENS] = std::array::from_fn(|i| {
        // SAFETY: i < 16, so sixteen entries start at 16·i.
        let entries = _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(table.as_ptr().add(16 * i).cast()) });
        _mm512_xor_si512(entries, _mm512_set1_epi8(flip))
    });
    let low_bits = _mm512_set1_epi8(15);
    of_rows!(row => {
        let codes = codes[row];
        if SIXTEENS == 1 {
            _mm512_shuffle_epi8(sixteens[0], codes)
        } else {
            let (entry, sixteen) = (_mm512_and_si512(codes, low_bits), _mm512_andnot_si512(low_bits, codes));
            let mut found = _mm512_shuffle_epi8(sixteens[0], entry);
            for (i, table) in sixteens.iter().enumerate().skip(1) {
                let these = _mm512_cmpeq_epi8_mask(sixteen, _mm512_set1_epi8((16 * i) as i8));
                found = _mm512_mask_shuffle_epi8(found, these, *table, entry);
            }
            found
        }
    })
}

/// Codes with the fields of a unit appended, `count` of each of `rows` rows; rows of a tile behind them get those of the last one.
///
/// # Safety
/// `at` and `stride` bytes after it, and so on, start the fields of the rows, at least one; `WHOLE` says that they are 64.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
unsafe fn add<const WIDTH: usize, const WHOLE: bool>(
    at: *const u8,
    (rows, stride): (usize, usize),
    count: usize,
    codes: [__m512i; TILE],
) -> [__m512i; TILE] {
    // Masks keep reads inside the unit.
    let len = (count * WIDTH).div_ceil(8);
    // SAFETY: the caller gives `len` bytes of every row, 8·WIDTH where it says so.
    unsafe { of_rows!(row => added::<WIDTH, WHOLE>(at.add(row.min(rows - 1) * stride), len, codes[row])) }
}

/// A row's codes with `len` bytes of fields appended.
///
/// # Safety
/// `at` starts as many bytes; `WHOLE` says that they are 8·WIDTH.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
unsafe fn added<const WIDTH: usize, const WHOLE: bool>(at: *const u8, len: usize, codes: __m512i) -> __m512i {
    // SAFETY: as the caller says.
    unsafe {
        match WIDTH {
            1 => {
                let bits = if WHOLE {
                    at.cast::<u64>().read_unaligned()
                } else {
                    _mm_cvtsi128_si64(_mm_maskz_loadu_epi8(0xFF >> (8 - len), at.cast())) as u64
                };
                let twice = _mm512_add_epi8(codes, codes);
                _mm512_mask_add_epi8(twice, bits, twice, _mm512_set1_epi8(1))
            }
            2 => {
                let bytes = if WHOLE {
                    _mm_loadu_si128(at.cast())
                } else {
                    _mm_maskz_loadu_epi8(0xFFFF >> (16 - len), at.cast())
                };
                _mm512_or_si512(_mm512_slli_epi16::<2>(codes), twos(bytes))
            }
            _ => {
                let bytes = if WHOLE {
                    _mm256_loadu_si256(at.cast())
                } else {
                    _mm256_maskz_loadu_epi8(u32::MAX >> (32 - len), at.cast())
                };
                _mm512_or_si512(_mm512_slli_epi16::<4>(codes), fours(bytes))
            }
        }
    }
}

/// The order of [`Form::Columns`].
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn by_columns(levels: __m512i) -> __m512i {
    let order = _mm_set_epi8(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    _mm512_shuffle_epi8(levels, _mm512_broadcast_i32x4(order))
}

/// Register r holds dwords 0 … 15 of row r; register c of the result holds dword c of rows 0 … 15.
#[target_feature(enable = "avx512f")]
#[inline]
fn transpose(rows: [__m512i; TILE]) -> [__m512i; TILE] {
    let mut a = rows;
    for i in 0..8 {
        a[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    // b[4·g + j]: dwords j, j + 4, j + 8, j + 12 (one a 128-bit lane) of rows 4g … 4g + 3.
    let mut b = rows;
    for g in 0..4 {
        b[4 * g] = _mm512_unpacklo_epi64(a[4 * g], a[4 * g + 2]);
        b[4 * g + 1] = _mm512_unpackhi_epi64(a[4 * g], a[4 * g + 2]);
        b[4 * g + 2] = _mm512_unpacklo_epi64(a[4 * g + 1], a[4 * g + 3]);
        b[4 * g + 3] = _mm512_unpackhi_epi64(a[4 * g + 1], a[4 * g + 3]);
    }
    let mut out = rows;
    for j in 0..4 {
        // 4 × 4 lanes of 128 bits: lane c of group g goes to lane g of result 4·c + j.
        let low = _mm512_shuffle_i32x4::<0b01_00_01_00>(b[j], b[4 + j]);
        let high = _mm512_shuffle_i32x4::<0b11_10_11_10>(b[j], b[4 + j]);
        let low2 = _mm512_shuffle_i32x4::<0b01_00_01_00>(b[8 + j], b[12 + j]);
        let high2 = _mm512_shuffle_i32x4::<0b11_10_11_10>(b[8 + j], b[12 + j]);
        out[j] = _mm512_shuffle_i32x4::<0b10_00_10_00>(low, low2);
        out[4 + j] = _mm512_shuffle_i32x4::<0b11_01_11_01>(low, low2);
        out[8 + j] = _mm512_shuffle_i32x4::<0b10_00_10_00>(high, high2);
        out[12 + j] = _mm512_shuffle_i32x4::<0b11_01_11_01>(high, high2);
    }
    out
}
