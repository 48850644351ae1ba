//! Walsh–Hadamard with NEON: four lanes, strides 1 and 2 inside a register.

use std::arch::aarch64::*;

use super::Direction;
use super::vector::{self, Vector};
use crate::kernels::level::Neon;

#[derive(Clone, Copy)]
struct F32x4(float32x4_t);

impl Vector for F32x4 {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives 4 readable values on a processor with NEON.
        Self(unsafe { vld1q_f32(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives 4 writable values on a processor with NEON.
        unsafe { vst1q_f32(to, self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller's processor has NEON.
        Self(unsafe { vaddq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller's processor has NEON.
        Self(unsafe { vsubq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the caller's processor has NEON.
        Self(unsafe { vmulq_f32(self.0, other.0) })
    }

    /// (a, b) ← (a + b, a − b) as swapped + signed: b + a is a + b, and a + (−b) is a − b, to the bit.
    #[inline(always)]
    unsafe fn inner_stages(self) -> Self {
        // SAFETY: the caller's processor has NEON; the sign tables are 4 values each.
        unsafe {
            let odd = vld1q_u32([0, 1 << 31, 0, 1 << 31].as_ptr());
            let pairs = vld1q_u32([0, 0, 1 << 31, 1 << 31].as_ptr());
            let v = self.0;
            let signed = vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(v), odd));
            let v = vaddq_f32(vrev64q_f32(v), signed);
            let signed = vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(v), pairs));
            Self(vaddq_f32(vextq_f32::<2>(v, v), signed))
        }
    }
}

pub(super) fn transform(
    _: Neon,
    direction: Direction,
    rows: &mut [f32],
    stride: usize,
    offset: usize,
    factors: &[f32],
) {
    #[target_feature(enable = "neon")]
    fn body(direction: Direction, rows: &mut [f32], stride: usize, offset: usize, factors: &[f32]) {
        // SAFETY: this function has NEON; `super::transform` checked that blocks lie inside rows.
        unsafe { vector::transform::<F32x4, 8>(direction, rows, stride, offset, factors) }
    }
    // SAFETY: the token proves NEON.
    unsafe { body(direction, rows, stride, offset, factors) }
}
