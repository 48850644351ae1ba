//! Packing with NEON, 16 coordinates at a time: one shift a lane, then pairwise sums (fields do not overlap, so sums are ORs).

use std::arch::aarch64::*;

use super::{Place, scalar};
use crate::kernels::level::Neon;

pub(super) fn pack(_: Neon, codes: &[u8], m: usize, place: Place, packed: &mut [u8]) {
    // SAFETY: the token proves NEON.
    unsafe { pack_rows(codes, m, place, packed) }
}

pub(super) fn unpack(_: Neon, packed: &[u8], m: usize, place: Place, codes: &mut [u8]) {
    // SAFETY: the token proves NEON.
    unsafe { unpack_rows(packed, m, place, codes) }
}

#[target_feature(enable = "neon")]
fn pack_rows(codes: &[u8], m: usize, place: Place, packed: &mut [u8]) {
    let Place { width, shift, .. } = place;
    let whole = m / 16 * 16;
    let bytes = whole / 8 * width as usize;
    for (codes, row) in codes.chunks_exact(m).zip(packed.chunks_exact_mut(place.stride)) {
        let unit = &mut row[place.range(m)];
        for (codes, out) in codes[..whole].chunks_exact(16).zip(unit[..bytes].chunks_exact_mut(2 * width as usize)) {
            // SAFETY: `codes` holds 16 values.
            let packed = unsafe { pack_sixteen(codes, width, shift) };
            out.copy_from_slice(&packed[..2 * width as usize]);
        }
        scalar::pack(&codes[whole..], width, shift, &mut unit[bytes..]);
    }
}

#[target_feature(enable = "neon")]
fn unpack_rows(packed: &[u8], m: usize, place: Place, codes: &mut [u8]) {
    let width = place.width;
    let whole = m / 16 * 16;
    let bytes = whole / 8 * width as usize;
    for (codes, row) in codes.chunks_exact_mut(m).zip(packed.chunks_exact(place.stride)) {
        let unit = &row[place.range(m)];
        for (codes, from) in codes[..whole].chunks_exact_mut(16).zip(unit[..bytes].chunks_exact(2 * width as usize)) {
            let mut source = [0_u8; 16];
            source[..from.len()].copy_from_slice(from);
            // SAFETY: `codes` holds 16 values.
            unsafe { unpack_sixteen(&source, width, codes) };
        }
        scalar::unpack(&unit[bytes..], width, &mut codes[whole..]);
    }
}

/// By the logarithm of the width: the bytes that hold the fields of 16 coordinates, and the fields' shifts in them.
const FIELDS: ([[u8; 16]; 3], [[i8; 16]; 3]) = {
    let (mut bytes, mut shifts, mut i) = ([[0; 16]; 3], [[0; 16]; 3], 0);
    while i < 48 {
        let bit = (i % 16) << (i / 16);
        bytes[i / 16][i % 16] = (bit / 8) as u8;
        shifts[i / 16][i % 16] = (bit % 8) as i8;
        i += 1;
    }
    (bytes, shifts)
};

/// The 16 fields of the first 2·width bytes, one a byte.
#[target_feature(enable = "neon")]
#[inline]
pub(in crate::kernels) fn fields(from: uint8x16_t, width: u32) -> uint8x16_t {
    let of_width = width.ilog2() as usize;
    // SAFETY: both lists hold 16 bytes.
    let (bytes, shifts) = unsafe { (vld1q_u8(FIELDS.0[of_width].as_ptr()), vld1q_s8(FIELDS.1[of_width].as_ptr())) };
    vandq_u8(vshlq_u8(vqtbl1q_u8(from, bytes), vnegq_s8(shifts)), vdupq_n_u8((1 << width) - 1))
}

/// # Safety
/// `codes` holds 16 values.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn pack_sixteen(codes: &[u8], width: u32, shift: u32) -> [u8; 16] {
    // SAFETY: 16 bytes are readable from `codes` and a list of shifts, 16 writable in `out`.
    unsafe {
        let v = vshlq_u8(vld1q_u8(codes.as_ptr()), vdupq_n_s8(-(shift as i8)));
        let field = vandq_u8(v, vdupq_n_u8((1 << width) - 1));
        let placed = vshlq_u8(field, vld1q_s8(FIELDS.1[width.ilog2() as usize].as_ptr()));
        let pairs = vpaddlq_u8(placed);
        let bytes = match width {
            4 => vmovn_u16(pairs),
            2 => vmovn_u16(vcombine_u16(vmovn_u32(vpaddlq_u16(pairs)), vdup_n_u16(0))),
            _ => {
                let sums = vpaddlq_u32(vpaddlq_u16(pairs));
                let words = vcombine_u32(vmovn_u64(sums), vdup_n_u32(0));
                vmovn_u16(vcombine_u16(vmovn_u32(words), vdup_n_u16(0)))
            }
        };
        let mut out = [0; 16];
        vst1_u8(out.as_mut_ptr(), bytes);
        out
    }
}

/// # Safety
/// `codes` holds 16 values.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn unpack_sixteen(source: &[u8; 16], width: u32, codes: &mut [u8]) {
    // SAFETY: `source` and `codes` hold 16 bytes.
    unsafe {
        let field = fields(vld1q_u8(source.as_ptr()), width);
        let old = vshlq_u8(vld1q_u8(codes.as_ptr()), vdupq_n_s8(width as i8));
        vst1q_u8(codes.as_mut_ptr(), vorrq_u8(old, field));
    }
}
