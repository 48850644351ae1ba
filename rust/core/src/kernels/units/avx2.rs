//! Packing with AVX2, 32 coordinates at a time.

use std::arch::x86_64::*;

use super::{Place, scalar};
use crate::kernels::level::Avx2;

pub(super) fn pack(_: Avx2, codes: &[u8], m: usize, place: Place, packed: &mut [u8]) {
    // SAFETY: the token proves AVX2.
    unsafe {
        match place.width {
            1 => pack_rows::<1>(codes, m, place, packed),
            2 => pack_rows::<2>(codes, m, place, packed),
            _ => pack_rows::<4>(codes, m, place, packed),
        }
    }
}

pub(super) fn unpack(_: Avx2, packed: &[u8], m: usize, place: Place, codes: &mut [u8]) {
    // SAFETY: the token proves AVX2.
    unsafe { unpack_rows(packed, m, place, codes) }
}

#[target_feature(enable = "avx2")]
fn pack_rows<const WIDTH: usize>(codes: &[u8], m: usize, place: Place, packed: &mut [u8]) {
    let shift = place.shift;
    let whole = m / 32 * 32;
    let bytes = whole / 8 * WIDTH;
    for (codes, row) in codes.chunks_exact(m).zip(packed.chunks_exact_mut(place.stride)) {
        let unit = &mut row[place.range(m)];
        for (codes, out) in codes.as_chunks::<32>().0.iter().zip(unit[..bytes].chunks_exact_mut(4 * WIDTH)) {
            // SAFETY: `codes` holds 32 values.
            unsafe {
                match WIDTH {
                    1 => out.copy_from_slice(&pack_ones(codes, shift).to_le_bytes()),
                    2 => out.copy_from_slice(&pack_twos(codes, shift).to_le_bytes()),
                    _ => out.copy_from_slice(&pack_fours(codes, shift)),
                }
            }
        }
        scalar::pack(&codes[whole..], place.width, shift, &mut unit[bytes..]);
    }
}

#[target_feature(enable = "avx2")]
fn unpack_rows(packed: &[u8], m: usize, place: Place, codes: &mut [u8]) {
    let width = place.width;
    let whole = m / 32 * 32;
    let bytes = whole / 8 * width as usize;
    let shift = _mm_cvtsi32_si128(width as i32);
    for (codes, row) in codes.chunks_exact_mut(m).zip(packed.chunks_exact(place.stride)) {
        let unit = &row[place.range(m)];
        for (codes, from) in codes[..whole].chunks_exact_mut(32).zip(unit[..bytes].chunks_exact(4 * width as usize)) {
            // SAFETY: `codes` holds 32 values and `from` 4·width bytes.
            unsafe {
                let fields = match width {
                    1 => ones(from.as_ptr()),
                    2 => twos(from.as_ptr()),
                    _ => fours(from.as_ptr()),
                };
                let old = _mm256_loadu_si256(codes.as_ptr().cast());
                // Codes stay below 256, so no bit crosses a byte.
                let new = _mm256_or_si256(_mm256_sll_epi16(old, shift), fields);
                _mm256_storeu_si256(codes.as_mut_ptr().cast(), new);
            }
        }
        scalar::unpack(&unit[bytes..], width, &mut codes[whole..]);
    }
}

/// # Safety
/// `codes` holds 32 values.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn pack_ones(codes: &[u8], shift: u32) -> u32 {
    // SAFETY: 32 bytes are readable.
    let v = unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) };
    // Bit `shift` of each byte goes to bit 7, where movemask reads; what crosses bytes lands below bit 7.
    let top = _mm256_sll_epi16(v, _mm_cvtsi32_si128(7 - shift as i32));
    _mm256_movemask_epi8(top) as u32
}

/// # Safety
/// `codes` holds 32 values.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn fields(codes: &[u8], shift: u32, mask: i8) -> __m256i {
    // SAFETY: 32 bytes are readable.
    let v = unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) };
    _mm256_and_si256(_mm256_srl_epi16(v, _mm_cvtsi32_si128(shift as i32)), _mm256_set1_epi8(mask))
}

/// # Safety
/// `codes` holds 32 values.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn pack_twos(codes: &[u8], shift: u32) -> u64 {
    // SAFETY: the caller gives 32 codes.
    let fields = unsafe { fields(codes, shift, 3) };
    // f0 + 4·f1 in 16 bits, then + 16·(f2 + 4·f3) in 32 bits, of which the low byte is wanted.
    let pairs = _mm256_maddubs_epi16(fields, _mm256_set1_epi16(0x0401));
    let quads = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x0010_0001));
    let pick = _mm256_setr_epi8(
        0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, //
        0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
    );
    let bytes = _mm256_shuffle_epi8(quads, pick);
    let low = _mm256_extract_epi32::<0>(bytes) as u32;
    let high = _mm256_extract_epi32::<4>(bytes) as u32;
    u64::from(high) << 32 | u64::from(low)
}

/// # Safety
/// `codes` holds 32 values.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn pack_fours(codes: &[u8], shift: u32) -> [u8; 16] {
    // SAFETY: the caller gives 32 codes.
    let fields = unsafe { fields(codes, shift, 15) };
    let pairs = _mm256_maddubs_epi16(fields, _mm256_set1_epi16(0x1001));
    let bytes = _mm_packus_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
    let mut out = [0; 16];
    // SAFETY: 16 bytes are written to an array of 16.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), bytes) };
    out
}

/// The bits of 4 bytes, one a byte.
///
/// # Safety
/// `from` is readable for 4 bytes.
#[target_feature(enable = "avx2")]
#[inline]
pub(in crate::kernels) unsafe fn ones(from: *const u8) -> __m256i {
    // SAFETY: 4 bytes are readable, unaligned.
    let word = unsafe { from.cast::<i32>().read_unaligned() };
    let spread = _mm256_setr_epi8(
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3,
    );
    let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(word), spread);
    _mm256_min_epu8(_mm256_and_si256(bytes, bit), _mm256_set1_epi8(1))
}

/// The 32 fields of two bits of 8 bytes, one a byte.
///
/// # Safety
/// `from` is readable for 8 bytes.
#[target_feature(enable = "avx2")]
#[inline]
pub(in crate::kernels) unsafe fn twos(from: *const u8) -> __m256i {
    // SAFETY: 8 bytes are readable, unaligned.
    let bytes = _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(from.cast()) });
    // Field j of a byte, at bit 2j, goes to bit 8j; what else is moved lands between.
    let pairs = _mm256_or_si256(bytes, _mm256_slli_epi32::<6>(bytes));
    _mm256_and_si256(_mm256_or_si256(pairs, _mm256_slli_epi32::<12>(pairs)), _mm256_set1_epi8(3))
}

/// The 32 fields of four bits of 16 bytes, one a byte.
///
/// # Safety
/// `from` is readable for 16 bytes.
#[target_feature(enable = "avx2")]
#[inline]
pub(in crate::kernels) unsafe fn fours(from: *const u8) -> __m256i {
    // SAFETY: 16 bytes are readable, unaligned.
    let words = _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(from.cast()) });
    _mm256_and_si256(_mm256_or_si256(words, _mm256_slli_epi16::<4>(words)), _mm256_set1_epi8(15))
}
