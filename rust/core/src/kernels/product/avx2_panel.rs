//! Interleaving with AVX2: 8 rows × 8 steps at a time, transposed in registers.

use std::arch::x86_64::*;

use super::{Form, Line};
use crate::kernels::level::Avx2;

/// Interleaves whole blocks of eight steps of eight rows, `levels` being rows of `width`; returns how many coordinates of each row are
/// in their places now.
pub(super) fn interleave(
    _: Avx2,
    form: Form,
    levels: &[[i8; 8]],
    width: usize,
    half: usize,
    tile: &mut [Line],
) -> usize {
    let block = 8 * form.coordinates();
    let whole = width / block * block;
    assert!(form != Form::EightBytes && levels.len() * 8 >= 8 * width && half < 2, "eight rows of a form of x86");
    assert!(tile.len() >= whole / form.coordinates(), "a line a step");
    for start in (0..whole).step_by(block) {
        let lines = &mut tile[start / form.coordinates()..][..8];
        // SAFETY: the token proves AVX2; start + block ≤ width, and there are eight rows of `width`.
        unsafe { block_of_steps(form == Form::TwoWords, levels.as_ptr().cast::<i8>().add(start), width, half, lines) }
    }
    whole
}

/// # Safety
/// `levels` is readable for a block (8 steps) at each of 8 multiples of `width`; there are 8 lines.
#[target_feature(enable = "avx2")]
unsafe fn block_of_steps(words: bool, levels: *const i8, width: usize, half: usize, lines: &mut [Line]) {
    let mut rows = [_mm256_setzero_si256(); 8];
    for (r, row) in rows.iter_mut().enumerate() {
        // SAFETY: the caller gives 16 (words) or 32 bytes of each row.
        *row = unsafe {
            let at = levels.add(r * width);
            if words { _mm256_cvtepi8_epi16(_mm_loadu_si128(at.cast())) } else { _mm256_loadu_si256(at.cast()) }
        };
    }
    for (line, values) in lines.iter_mut().zip(transpose(rows)) {
        // SAFETY: a line holds two aligned halves of 32 bytes.
        unsafe { _mm256_store_si256(line.0.as_mut_ptr().add(32 * half).cast(), values) };
    }
}

/// Register r holds dwords 0 … 7 of row r; register c of the result holds dword c of rows 0 … 7.
#[target_feature(enable = "avx2")]
#[inline]
fn transpose(r: [__m256i; 8]) -> [__m256i; 8] {
    let low = |i: usize| _mm256_unpacklo_epi32(r[i], r[i + 1]);
    let high = |i: usize| _mm256_unpackhi_epi32(r[i], r[i + 1]);
    let (a, b) = ([low(0), low(2), low(4), low(6)], [high(0), high(2), high(4), high(6)]);
    // Dwords j and j + 4 (one a 128-bit half) of rows 0 … 3, then of rows 4 … 7.
    let first = [
        _mm256_unpacklo_epi64(a[0], a[1]),
        _mm256_unpackhi_epi64(a[0], a[1]),
        _mm256_unpacklo_epi64(b[0], b[1]),
        _mm256_unpackhi_epi64(b[0], b[1]),
    ];
    let second = [
        _mm256_unpacklo_epi64(a[2], a[3]),
        _mm256_unpackhi_epi64(a[2], a[3]),
        _mm256_unpacklo_epi64(b[2], b[3]),
        _mm256_unpackhi_epi64(b[2], b[3]),
    ];
    let mut out = r;
    for j in 0..4 {
        out[j] = _mm256_permute2x128_si256::<0x20>(first[j], second[j]);
        out[4 + j] = _mm256_permute2x128_si256::<0x31>(first[j], second[j]);
    }
    out
}
