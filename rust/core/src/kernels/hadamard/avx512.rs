//! Walsh–Hadamard with AVX-512: sixteen lanes, strides 1 to 8 inside a register, up to 128 inside sixteen of them.

use std::arch::x86_64::*;

use super::vector::{self, Vector};
use super::{Direction, avx2};
use crate::kernels::level::Avx512;

#[derive(Clone, Copy)]
struct F32x16(__m512);

impl Vector for F32x16 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives 16 readable values on a processor with AVX-512.
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives 16 writable values on a processor with AVX-512.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller's processor has AVX-512.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller's processor has AVX-512.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the caller's processor has AVX-512.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn inner_stages(self) -> Self {
        // SAFETY: the caller's processor has AVX-512 F.
        unsafe {
            let signs = |negative: u16| _mm512_mask_blend_ps(negative, _mm512_set1_ps(1.0), _mm512_set1_ps(-1.0));
            let v = self.0;
            let v = _mm512_fmadd_ps(v, signs(0xAAAA), _mm512_permute_ps::<0b10_11_00_01>(v));
            let v = _mm512_fmadd_ps(v, signs(0xCCCC), _mm512_permute_ps::<0b01_00_11_10>(v));
            let v = _mm512_fmadd_ps(v, signs(0xF0F0), _mm512_shuffle_f32x4::<0b10_11_00_01>(v, v));
            Self(_mm512_fmadd_ps(v, signs(0xFF00), _mm512_shuffle_f32x4::<0b01_00_11_10>(v, v)))
        }
    }
}

pub(super) fn transform(
    token: Avx512,
    direction: Direction,
    rows: &mut [f32],
    stride: usize,
    offset: usize,
    factors: &[f32],
) {
    #[target_feature(enable = "avx512f")]
    fn wide(direction: Direction, rows: &mut [f32], stride: usize, offset: usize, factors: &[f32]) {
        // SAFETY: this function has AVX-512; `super::transform` checked that blocks lie inside rows.
        unsafe { vector::transform::<F32x16, 16>(direction, rows, stride, offset, factors) }
    }
    #[target_feature(enable = "avx512f")]
    fn narrow(direction: Direction, rows: &mut [f32], stride: usize, offset: usize, factors: &[f32]) {
        // SAFETY: this function has AVX-512; `super::transform` checked that blocks lie inside rows.
        unsafe { vector::transform::<F32x16, 8>(direction, rows, stride, offset, factors) }
    }
    match factors.len() {
        // Too short for eight registers of sixteen lanes.
        ..128 => avx2::transform(token.into(), direction, rows, stride, offset, factors),
        // SAFETY: the token proves the features.
        128 => unsafe { narrow(direction, rows, stride, offset, factors) },
        // SAFETY: the token proves the features.
        _ => unsafe { wide(direction, rows, stride, offset, factors) },
    }
}
