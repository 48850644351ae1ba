//! Walsh–Hadamard with AVX2: eight lanes, strides 1, 2 and 4 inside a register.

use std::arch::x86_64::*;

use super::Direction;
use super::vector::{self, Vector};
use crate::kernels::level::Avx2;

#[derive(Clone, Copy)]
struct F32x8(__m256);

impl Vector for F32x8 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives 8 readable values on a processor with AVX2.
        Self(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives 8 writable values on a processor with AVX2.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller's processor has AVX2.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller's processor has AVX2.
        Self(unsafe { _mm256_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        // SAFETY: the caller's processor has AVX2.
        Self(unsafe { _mm256_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn inner_stages(self) -> Self {
        // SAFETY: the caller's processor has AVX2 and FMA.
        unsafe {
            let odd = _mm256_setr_ps(1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0);
            let pairs = _mm256_setr_ps(1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0);
            let halves = _mm256_setr_ps(1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0);
            let v = self.0;
            let v = _mm256_fmadd_ps(v, odd, _mm256_permute_ps::<0b10_11_00_01>(v));
            let v = _mm256_fmadd_ps(v, pairs, _mm256_permute_ps::<0b01_00_11_10>(v));
            Self(_mm256_fmadd_ps(v, halves, _mm256_permute2f128_ps::<1>(v, v)))
        }
    }
}

pub(super) fn transform(
    _: Avx2,
    direction: Direction,
    rows: &mut [f32],
    stride: usize,
    offset: usize,
    factors: &[f32],
) {
    #[target_feature(enable = "avx2,fma")]
    fn body(direction: Direction, rows: &mut [f32], stride: usize, offset: usize, factors: &[f32]) {
        // SAFETY: this function has AVX2 and FMA; `super::transform` checked that blocks lie inside rows.
        unsafe { vector::transform::<F32x8, 8>(direction, rows, stride, offset, factors) }
    }
    // SAFETY: the token proves AVX2 and FMA.
    unsafe { body(direction, rows, stride, offset, factors) }
}
