//! Packing with AVX-512, 64 coordinates at a time: a unit of one bit is a mask register.

use std::arch::x86_64::*;

use super::{Place, scalar};
use crate::kernels::level::Avx512;

pub(super) fn pack(_: Avx512, codes: &[u8], m: usize, place: Place, packed: &mut [u8]) {
    // SAFETY: the token proves the features.
    unsafe {
        match place.width {
            1 => pack_rows::<1>(codes, m, place, packed),
            2 => pack_rows::<2>(codes, m, place, packed),
            _ => pack_rows::<4>(codes, m, place, packed),
        }
    }
}

pub(super) fn unpack(_: Avx512, packed: &[u8], m: usize, place: Place, codes: &mut [u8]) {
    // SAFETY: the token proves the features.
    unsafe {
        match place.width {
            1 => unpack_rows::<1>(packed, m, place, codes),
            2 => unpack_rows::<2>(packed, m, place, codes),
            _ => unpack_rows::<4>(packed, m, place, codes),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn pack_rows<const WIDTH: usize>(codes: &[u8], m: usize, place: Place, packed: &mut [u8]) {
    let whole = m / 64 * 64;
    let bytes = whole / 8 * WIDTH;
    for (codes, row) in codes.chunks_exact(m).zip(packed.chunks_exact_mut(place.stride)) {
        let unit = &mut row[place.range(m)];
        let blocks = codes.as_chunks::<64>().0.iter().zip(unit[..bytes].chunks_exact_mut(8 * WIDTH));
        for (codes, out) in blocks {
            // SAFETY: `codes` holds 64 values and `out` 8·WIDTH bytes.
            unsafe {
                let v = _mm512_loadu_si512(codes.as_ptr().cast());
                match WIDTH {
                    1 => {
                        let bits = _mm512_test_epi8_mask(v, _mm512_set1_epi8((1_u8 << place.shift) as i8));
                        out.copy_from_slice(&bits.to_le_bytes());
                    }
                    2 => {
                        // f0 + 4·f1 in 16 bits, then + 16·(f2 + 4·f3) in 32 bits, of which the low byte is wanted.
                        let pairs = _mm512_maddubs_epi16(fields(v, place.shift, 3), _mm512_set1_epi16(0x0401));
                        let quads = _mm512_madd_epi16(pairs, _mm512_set1_epi32(0x0010_0001));
                        _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(quads));
                    }
                    _ => {
                        let pairs = _mm512_maddubs_epi16(fields(v, place.shift, 15), _mm512_set1_epi16(0x1001));
                        _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_cvtepi16_epi8(pairs));
                    }
                }
            }
        }
        scalar::pack(&codes[whole..], place.width, place.shift, &mut unit[bytes..]);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn unpack_rows<const WIDTH: usize>(packed: &[u8], m: usize, place: Place, codes: &mut [u8]) {
    let whole = m / 64 * 64;
    let bytes = whole / 8 * WIDTH;
    for (codes, row) in codes.chunks_exact_mut(m).zip(packed.chunks_exact(place.stride)) {
        let unit = &row[place.range(m)];
        let blocks = codes.as_chunks_mut::<64>().0.iter_mut().zip(unit[..bytes].chunks_exact(8 * WIDTH));
        for (codes, from) in blocks {
            // SAFETY: `codes` holds 64 values and `from` 8·WIDTH bytes.
            unsafe {
                let old = _mm512_loadu_si512(codes.as_ptr().cast());
                // Codes stay below 256, so no bit crosses a byte.
                let new = match WIDTH {
                    1 => {
                        let bits = from.as_ptr().cast::<u64>().read_unaligned();
                        let twice = _mm512_add_epi8(old, old);
                        _mm512_mask_add_epi8(twice, bits, twice, _mm512_set1_epi8(1))
                    }
                    2 => _mm512_or_si512(_mm512_slli_epi16::<2>(old), twos(_mm_loadu_si128(from.as_ptr().cast()))),
                    _ => _mm512_or_si512(_mm512_slli_epi16::<4>(old), fours(_mm256_loadu_si256(from.as_ptr().cast()))),
                };
                _mm512_storeu_si512(codes.as_mut_ptr().cast(), new);
            }
        }
        scalar::unpack(&unit[bytes..], place.width, &mut codes[whole..]);
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn fields(codes: __m512i, shift: u32, mask: i8) -> __m512i {
    _mm512_and_si512(_mm512_srl_epi16(codes, _mm_cvtsi32_si128(shift as i32)), _mm512_set1_epi8(mask))
}

/// The 64 fields of two bits of 16 bytes, one a byte.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
pub(in crate::kernels) fn twos(from: __m128i) -> __m512i {
    // Each 128-bit lane repeats its four bytes four times.
    let spread = _mm512_set_epi32(
        0x0F0F_0F0F,
        0x0E0E_0E0E,
        0x0D0D_0D0D,
        0x0C0C_0C0C,
        0x0B0B_0B0B,
        0x0A0A_0A0A,
        0x0909_0909,
        0x0808_0808,
        0x0707_0707,
        0x0606_0606,
        0x0505_0505,
        0x0404_0404,
        0x0303_0303,
        0x0202_0202,
        0x0101_0101,
        0x0000_0000,
    );
    let bytes = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(from), spread);
    // The fields of a byte go to bits 0–1 (first and third) and 2–3 (second and fourth) of their places, then to 0–1.
    let words = _mm512_srlv_epi16(bytes, _mm512_set1_epi32(0x0004_0000));
    let even = _mm512_and_si512(words, _mm512_set1_epi16(0x0003));
    let odd = _mm512_and_si512(_mm512_srli_epi16::<2>(words), _mm512_set1_epi16(0x0300));
    _mm512_or_si512(even, odd)
}

/// The 64 fields of four bits of 32 bytes, one a byte.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
pub(in crate::kernels) fn fours(from: __m256i) -> __m512i {
    let words = _mm512_cvtepu8_epi16(from);
    _mm512_and_si512(_mm512_or_si512(words, _mm512_slli_epi16::<4>(words)), _mm512_set1_epi8(15))
}
