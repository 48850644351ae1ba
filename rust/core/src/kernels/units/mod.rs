//! Units: 1, 2 or 4 bits of every coordinate of a row, packed low bits first (docs/numerics.md section 8).

#[cfg(target_arch = "x86_64")]
pub(in crate::kernels) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(in crate::kernels) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(in crate::kernels) mod neon;
mod scalar;

use super::Level;

/// Bytes of one unit of `width` bits of `m` coordinates.
pub(crate) const fn unit_bytes(m: usize, width: u32) -> usize {
    (m * width as usize).div_ceil(8)
}

/// Where a unit stands: `width` bits, the lowest of which is bit `shift` of a code, at byte `offset` of rows of `stride` bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    pub(crate) width: u32,
    pub(crate) shift: u32,
    pub(crate) offset: usize,
    pub(crate) stride: usize,
}

impl Place {
    /// The unit's bytes within each row.
    pub(in crate::kernels) fn range(&self, m: usize) -> std::ops::Range<usize> {
        self.offset..self.offset + unit_bytes(m, self.width)
    }
}

/// Packs the unit of every row of `codes` (rows of `m`) into `packed`; padding bits become 0.
///
/// # Panics
/// If the lengths do not describe the same number of rows, or the width is not 1, 2 or 4.
pub(crate) fn pack(level: Level, codes: &[u8], m: usize, place: Place, packed: &mut [u8]) {
    check(codes.len(), m, place, packed.len());
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(token) | Level::AvxVnni(token, _) => avx2::pack(token, codes, m, place, packed),
        // Too short for registers of 64 codes.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512(token) | Level::Avx512Vnni(token, _) | Level::Amx(token, ..) if m < 64 => {
            avx2::pack(token.into(), codes, m, place, packed);
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx512(token) | Level::Avx512Vnni(token, _) | Level::Amx(token, ..) => {
            avx512::pack(token, codes, m, place, packed)
        }
        #[cfg(target_arch = "aarch64")]
        Level::Neon(token) | Level::NeonDot(token, _) | Level::NeonI8mm(token, _) => {
            neon::pack(token, codes, m, place, packed)
        }
        _ => {
            for (codes, row) in codes.chunks_exact(m).zip(packed.chunks_exact_mut(place.stride)) {
                scalar::pack(codes, place.width, place.shift, &mut row[place.range(m)]);
            }
        }
    }
}

/// Shifts every code left by the unit's width and puts the unit's bits below: units in order rebuild the codes.
///
/// # Panics
/// As for [`pack`].
pub(crate) fn unpack(level: Level, packed: &[u8], m: usize, place: Place, codes: &mut [u8]) {
    check(codes.len(), m, place, packed.len());
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(token) | Level::AvxVnni(token, _) => avx2::unpack(token, packed, m, place, codes),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512(token) | Level::Avx512Vnni(token, _) | Level::Amx(token, ..) => {
            avx512::unpack(token, packed, m, place, codes)
        }
        #[cfg(target_arch = "aarch64")]
        Level::Neon(token) | Level::NeonDot(token, _) | Level::NeonI8mm(token, _) => {
            neon::unpack(token, packed, m, place, codes)
        }
        _ => {
            for (codes, row) in codes.chunks_exact_mut(m).zip(packed.chunks_exact(place.stride)) {
                scalar::unpack(&row[place.range(m)], place.width, codes);
            }
        }
    }
}

fn check(codes: usize, m: usize, place: Place, packed: usize) {
    assert!(matches!(place.width, 1 | 2 | 4), "units are 1, 2 or 4 bits wide");
    assert!(codes.is_multiple_of(m) && codes / m * place.stride == packed, "the same rows on both sides");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bytes, other_levels};

    #[test]
    fn unpack_undoes_pack_and_levels_equal_scalar() {
        for level in other_levels().into_iter().chain([Level::Scalar]) {
            for m in (1..=130).chain([200, 1000, 1024]) {
                for width in [1, 2, 4] {
                    for shift in 0..=8 - width {
                        let codes = bytes(3 * m, m as u64);
                        let stride = unit_bytes(m, width) + 2;
                        let place = Place { width, shift, offset: 1, stride };
                        let (mut want, mut got) = (vec![9; 3 * stride], vec![9; 3 * stride]);
                        pack(Level::Scalar, &codes, m, place, &mut want);
                        pack(level, &codes, m, place, &mut got);
                        assert_eq!(got, want, "{}: pack m {m} width {width} shift {shift}", level.name());
                        let mut back = bytes(3 * m, 5).iter().map(|code| code & 1).collect::<Vec<_>>();
                        let mask = (1 << width) - 1;
                        let both = back.iter().zip(&codes);
                        let expected: Vec<_> = both.map(|(b, c)| b << width | ((c >> shift) & mask)).collect();
                        unpack(level, &got, m, place, &mut back);
                        assert_eq!(back, expected, "{}: unpack m {m} width {width}", level.name());
                    }
                }
            }
        }
    }
}
