//! Assignment with NEON: up to 15 comparisons a coordinate, levels by one table instruction. Wider codes use the plain search.

use std::arch::aarch64::*;

use super::{Products, Table, scalar};
use crate::kernels::lanes::{LANES, fold};
use crate::kernels::level::Neon;

pub(super) fn assign(_: Neon, table: &Table, y: &[f32], m: usize, codes: &mut [u8], products: &mut [Products]) {
    if table.bits > 4 {
        return scalar::assign(table, y, m, codes, products);
    }
    for ((y, codes), products) in y.chunks_exact(m).zip(codes.chunks_exact_mut(m)).zip(products) {
        let (mut yc, mut cc) = ([0.0; LANES], [0.0; LANES]);
        let whole = m / LANES * LANES;
        for start in (0..whole).step_by(LANES) {
            let (y, codes) = (&y[start..start + LANES], &mut codes[start..start + LANES]);
            // SAFETY: the token proves NEON; both slices hold 64 values.
            unsafe { sixty_four(table, y, codes, &mut yc, &mut cc) };
        }
        scalar::tail(table, &y[whole..], &mut codes[whole..], 0, &mut yc, &mut cc);
        *products = Products { yc: fold(&mut yc, m), cc: fold(&mut cc, m) };
    }
}

/// # Safety
/// `y` and `codes` hold 64 values; the table is of at most 4 bits.
#[target_feature(enable = "neon")]
unsafe fn sixty_four(table: &Table, y: &[f32], codes: &mut [u8], yc: &mut [f32; LANES], cc: &mut [f32; LANES]) {
    // SAFETY: a table holds at least 16 levels, 64 bytes.
    let levels = unsafe { vld1q_u8_x4(table.levels.as_ptr().cast()) };
    for i in (0..LANES).step_by(4) {
        // SAFETY: i + 4 ≤ 64, the length of every slice here.
        unsafe {
            let value = vld1q_f32(y.as_ptr().add(i));
            let mut found = vdupq_n_u32(0);
            for &bound in &table.bounds {
                // The comparison gives all ones, −1, where the value is above the boundary.
                found = vsubq_u32(found, vcgtq_f32(value, vdupq_n_f32(bound)));
            }
            // Bytes 4·code … 4·code + 3 of the table are the level.
            let first = vmulq_n_u32(found, 0x0404_0404);
            let bytes = vaddq_u32(first, vdupq_n_u32(0x0302_0100));
            let c = vreinterpretq_f32_u8(vqtbl4q_u8(levels, vreinterpretq_u8_u32(bytes)));
            let sum = vaddq_f32(vld1q_f32(yc.as_ptr().add(i)), vmulq_f32(value, c));
            vst1q_f32(yc.as_mut_ptr().add(i), sum);
            let sum = vaddq_f32(vld1q_f32(cc.as_ptr().add(i)), vmulq_f32(c, c));
            vst1q_f32(cc.as_mut_ptr().add(i), sum);
            let narrow = vmovn_u16(vcombine_u16(vmovn_u32(found), vdup_n_u16(0)));
            let mut four = [0_u8; 8];
            vst1_u8(four.as_mut_ptr(), narrow);
            codes[i..i + 4].copy_from_slice(&four[..4]);
        }
    }
}
