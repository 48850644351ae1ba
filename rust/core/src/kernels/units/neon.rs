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

/// Shift of the field of coordinate i within its byte.
fn places(width: u32) -> [i8; 16] {
    std::array::from_fn(|i| ((i as u32 * width) % 8) as i8)
}

/// # Safety
/// `codes` holds 16 values.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn pack_sixteen(codes: &[u8], width: u32, shift: u32) -> [u8; 16] {
    // SAFETY: 16 bytes are readable from `codes` and from `places`, 16 writable in `out`.
    unsafe {
        let v = vshlq_u8(vld1q_u8(codes.as_ptr()), vdupq_n_s8(-(shift as i8)));
        let field = vandq_u8(v, vdupq_n_u8((1 << width) - 1));
        let placed = vshlq_u8(field, vld1q_s8(places(width).as_ptr()));
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
    let index: [u8; 16] = std::array::from_fn(|i| (i as u32 * width / 8) as u8);
    // SAFETY: every array and `codes` hold 16 bytes.
    unsafe {
        let bytes = vqtbl1q_u8(vld1q_u8(source.as_ptr()), vld1q_u8(index.as_ptr()));
        let moved = vshlq_u8(bytes, vnegq_s8(vld1q_s8(places(width).as_ptr())));
        let field = vandq_u8(moved, vdupq_n_u8((1 << width) - 1));
        let old = vshlq_u8(vld1q_u8(codes.as_ptr()), vdupq_n_s8(width as i8));
        vst1q_u8(codes.as_mut_ptr(), vorrq_u8(old, field));
    }
}
