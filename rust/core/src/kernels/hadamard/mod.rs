//! Block transforms of the rotation: multiply by ±p^−½ and Walsh–Hadamard, or its inverse (docs/numerics.md section 4).
//!
//! Stages run by ascending stride; within a stage the pairs are independent, so kernels may merge stages (in registers, radix 4)
//! as long as each value passes through its stages in order. Cost: log2(p) additions and one product a coordinate.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
mod vector;

use super::Level;

/// Whether factors are applied before the stages (forward) or after them (inverse).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Forward,
    Inverse,
}

/// Transforms `rows[r·stride + offset ..][.. p]` of every row, p = `factors.len()`, a power of two.
///
/// # Panics
/// If p is no power of two, a block leaves its row, or `rows` is not whole rows.
pub(crate) fn transform(
    level: Level,
    direction: Direction,
    rows: &mut [f32],
    stride: usize,
    offset: usize,
    factors: &[f32],
) {
    let p = factors.len();
    assert!(p.is_power_of_two(), "a block has a power of two of coordinates");
    assert!(offset + p <= stride && rows.len().is_multiple_of(stride), "blocks lie inside rows");
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(token) | Level::AvxVnni(token, _) => {
            avx2::transform(token, direction, rows, stride, offset, factors)
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx512(token) | Level::Avx512Vnni(token, _) | Level::Amx(token, ..) => {
            avx512::transform(token, direction, rows, stride, offset, factors)
        }
        #[cfg(target_arch = "aarch64")]
        Level::Neon(token) | Level::NeonDot(token, _) | Level::NeonI8mm(token, _) => {
            neon::transform(token, direction, rows, stride, offset, factors)
        }
        _ => scalar::transform(direction, rows, stride, offset, factors),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{floats, other_levels};

    #[test]
    fn levels_equal_scalar_bit_for_bit() {
        for level in other_levels() {
            for log in 0..=13 {
                let p = 1 << log;
                let (stride, offset) = (p + 5, 3);
                let factors: Vec<f32> = floats(p, 1).iter().map(|v| v.signum() * 0.37).collect();
                for direction in [Direction::Forward, Direction::Inverse] {
                    let mut want = floats(3 * stride, log as u64);
                    let mut got = want.clone();
                    transform(Level::Scalar, direction, &mut want, stride, offset, &factors);
                    transform(level, direction, &mut got, stride, offset, &factors);
                    let same = want.iter().zip(&got).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{} differs from scalar at p = {p}, {direction:?}", level.name());
                }
            }
        }
    }

    #[test]
    fn inverse_undoes_forward() {
        let factors = [-0.5_f32, 0.5, 0.5, -0.5];
        let mut row = vec![1.0_f32, 2.0, -3.0, 5.0];
        transform(Level::Scalar, Direction::Forward, &mut row, 4, 0, &factors);
        transform(Level::Scalar, Direction::Inverse, &mut row, 4, 0, &factors);
        assert_eq!(row, [1.0, 2.0, -3.0, 5.0]);
    }
}
