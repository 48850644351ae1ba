//! Codes to integer levels, for the scan's panels.

use super::level::Level;

/// Writes `table[code]` for every code; `entries` (a power of two) bounds the codes.
pub(crate) fn integers(level: Level, codes: &[u8], table: &[i8; 256], entries: usize, out: &mut [i8]) {
    assert_eq!(codes.len(), out.len(), "one level a code");
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(_) | Level::AvxVnni(..) | Level::Avx512(_) | Level::Avx512Vnni(..) | Level::Amx(..)
            if entries <= 16 =>
        {
            // SAFETY: the token proves AVX2; the lengths are equal.
            unsafe { x86::sixteen(codes, table, out) }
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the token proves NEON; the lengths are equal.
        Level::Neon(_) | Level::NeonDot(..) | Level::NeonI8mm(..) if entries <= 16 => unsafe {
            arm::sixteen(codes, table, out)
        },
        _ => any(codes, table, out),
    }
}

fn any(codes: &[u8], table: &[i8; 256], out: &mut [i8]) {
    for (out, &code) in out.iter_mut().zip(codes) {
        *out = table[usize::from(code)];
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Codes are below 16, so one byte shuffle looks 32 of them up.
    ///
    /// # Safety
    /// `codes` and `out` are equally long.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn sixteen(codes: &[u8], table: &[i8; 256], out: &mut [i8]) {
        let whole = codes.len() / 32 * 32;
        // SAFETY: the table has 16 entries; i + 32 ≤ whole ≤ both lengths.
        unsafe {
            let entries = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            for i in (0..whole).step_by(32) {
                let index = _mm256_loadu_si256(codes.as_ptr().add(i).cast());
                _mm256_storeu_si256(out.as_mut_ptr().add(i).cast(), _mm256_shuffle_epi8(entries, index));
            }
        }
        super::any(&codes[whole..], table, &mut out[whole..]);
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::*;

    /// Codes are below 16, so one table instruction looks 16 of them up.
    ///
    /// # Safety
    /// `codes` and `out` are equally long.
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn sixteen(codes: &[u8], table: &[i8; 256], out: &mut [i8]) {
        let whole = codes.len() / 16 * 16;
        // SAFETY: the table has 16 entries; i + 16 ≤ whole ≤ both lengths.
        unsafe {
            let entries = vld1q_s8(table.as_ptr());
            for i in (0..whole).step_by(16) {
                let index = vld1q_u8(codes.as_ptr().add(i));
                vst1q_s8(out.as_mut_ptr().add(i), vqtbl1q_s8(entries, index));
            }
        }
        super::any(&codes[whole..], table, &mut out[whole..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bytes, other_levels};

    #[test]
    fn levels_equal_scalar() {
        let table: [i8; 256] = std::array::from_fn(|i| (i as i8).wrapping_mul(37));
        for level in other_levels() {
            for entries in [2, 4, 8, 16, 32, 256] {
                for n in (0..=130).chain([1000]) {
                    let codes: Vec<u8> = bytes(n, 3).iter().map(|code| (usize::from(*code) % entries) as u8).collect();
                    let (mut want, mut got) = (vec![0; n], vec![0; n]);
                    integers(Level::Scalar, &codes, &table, entries, &mut want);
                    integers(level, &codes, &table, entries, &mut got);
                    assert_eq!(got, want, "{entries} entries, {n} codes");
                }
            }
        }
    }
}
