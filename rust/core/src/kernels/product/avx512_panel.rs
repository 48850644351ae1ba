//! Panels with AVX-512: codes of up to 4 bits go from their units to interleaved levels in registers, 16 rows × 64 coordinates
//! at a time.

use std::arch::x86_64::*;

use super::{Line, TILE};
use crate::kernels::level::Avx512;
use crate::kernels::units::Place;
use crate::kernels::units::avx512::{fours, twos};

/// Fills a tile with `table[code]` of `rows` rows of `m` codes below 16, which `units` hold.
pub(super) fn decode(_: Avx512, units: &[(&[u8], Place)], rows: usize, m: usize, table: &[i8; 256], tile: &mut [Line]) {
    assert!(rows <= TILE && tile.len() * 4 >= m, "room for the rows");
    for (bytes, place) in units {
        assert!(bytes.len() == rows * place.stride && place.range(m).end <= place.stride, "units lie inside rows");
    }
    // SAFETY: the token proves the features; units lie inside their rows.
    unsafe { decode_tile(units, rows, m, table, tile) }
}

/// # Safety
/// Each unit lies inside `rows` rows of its stride.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn decode_tile(units: &[(&[u8], Place)], rows: usize, m: usize, table: &[i8; 256], tile: &mut [Line]) {
    // SAFETY: the table has more than 16 entries.
    let entries = unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())) };
    for (block, lines) in tile.chunks_mut(16).enumerate() {
        let start = 64 * block;
        // Coordinates of the block that exist.
        let count = (m - start).min(64);
        let mut levels = [_mm512_setzero_si512(); TILE];
        for (r, levels) in levels.iter_mut().enumerate().take(rows) {
            let mut codes = _mm512_setzero_si512();
            for &(bytes, Place { width, offset, stride, .. }) in units {
                // Bytes of the block in this unit; masks keep reads inside it.
                let len = (count * width as usize).div_ceil(8);
                // SAFETY: the first of them is byte start·width/8 of a unit that lies inside row r; the mask covers `len`.
                codes = unsafe {
                    let at = bytes.as_ptr().add(r * stride + offset + start * width as usize / 8);
                    match width {
                        1 => {
                            let bits = _mm_maskz_loadu_epi8(0xFF >> (8 - len), at.cast());
                            let twice = _mm512_add_epi8(codes, codes);
                            _mm512_mask_add_epi8(twice, _mm_cvtsi128_si64(bits) as u64, twice, _mm512_set1_epi8(1))
                        }
                        2 => {
                            let fields = twos(_mm_maskz_loadu_epi8(0xFFFF >> (16 - len), at.cast()));
                            _mm512_or_si512(_mm512_slli_epi16::<2>(codes), fields)
                        }
                        _ => {
                            let fields = fours(_mm256_maskz_loadu_epi8(u32::MAX >> (32 - len), at.cast()));
                            _mm512_or_si512(_mm512_slli_epi16::<4>(codes), fields)
                        }
                    }
                };
            }
            *levels = _mm512_shuffle_epi8(entries, codes);
        }
        for (line, values) in lines.iter_mut().zip(transpose(levels)) {
            // SAFETY: a line holds 64 bytes, aligned.
            unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), values) };
        }
    }
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
