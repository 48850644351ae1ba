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
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(_) | Level::AvxVnni(..) | Level::Avx512(_) | Level::Avx512Vnni(..) | Level::Amx(..) => {
            // SAFETY: the token proves AVX2; the lengths are equal.
            unsafe { x86::more(codes, table, entries, out) }
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the token proves NEON; the lengths are equal.
        Level::Neon(_) | Level::NeonDot(..) | Level::NeonI8mm(..) if entries <= 16 => unsafe {
            arm::sixteen(codes, table, out)
        },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the token proves NEON; the lengths are equal.
        Level::Neon(_) | Level::NeonDot(..) | Level::NeonI8mm(..) => unsafe { arm::more(codes, table, entries, out) },
        _ => any(codes, table, out),
    }
}

/// A table for `found`: on x86 every entry by what its bits differ from those of the entry 16 before, in each half of the table.
#[cfg(target_arch = "x86_64")]
pub(in crate::kernels) fn chained(table: [i8; 256]) -> [i8; 256] {
    let mut chained = table;
    for (half, from) in chained.as_chunks_mut::<128>().0.iter_mut().zip(table.as_chunks::<128>().0) {
        half[16..].iter_mut().zip(from).for_each(|(entry, before)| *entry ^= before);
    }
    chained
}

/// A table for `found`, as it is.
#[cfg(target_arch = "aarch64")]
pub(in crate::kernels) fn chained(table: [i8; 256]) -> [i8; 256] {
    table
}

fn any(codes: &[u8], table: &[i8; 256], out: &mut [i8]) {
    for (out, &code) in out.iter_mut().zip(codes) {
        *out = table[usize::from(code)];
    }
}

#[cfg(target_arch = "x86_64")]
pub(in crate::kernels) mod x86 {
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

    /// Codes below `entries`, a power of two above 16.
    ///
    /// # Safety
    /// `codes` and `out` are equally long.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn more(codes: &[u8], table: &[i8; 256], entries: usize, out: &mut [i8]) {
        let (whole, chained) = (codes.len() / 32 * 32, super::chained(*table));
        // SAFETY: the lengths of whole registers are equal.
        unsafe {
            match entries {
                32 => registers::<2>(&codes[..whole], &chained, out),
                64 => registers::<4>(&codes[..whole], &chained, out),
                128 => registers::<8>(&codes[..whole], &chained, out),
                _ => registers::<16>(&codes[..whole], &chained, out),
            }
        }
        super::any(&codes[whole..], table, &mut out[whole..]);
    }

    /// # Safety
    /// `codes` is whole registers of 32 below 16·`TABLES`, and `out` is as long or longer.
    #[target_feature(enable = "avx2")]
    unsafe fn registers<const TABLES: usize>(codes: &[u8], chained: &[i8; 256], out: &mut [i8]) {
        for i in (0..codes.len()).step_by(32) {
            // SAFETY: i + 32 ≤ both lengths.
            unsafe {
                let [found] = found::<TABLES, 1>([chained], _mm256_loadu_si256(codes.as_ptr().add(i).cast()));
                _mm256_storeu_si256(out.as_mut_ptr().add(i).cast(), found);
            }
        }
    }

    /// The entries of 32 codes below 16·`TABLES`, a power of two, in each of several [`chained`](super::chained) tables.
    ///
    /// An index falls by 16 from table to table, and one whose sign is set finds 0: what a code finds is the sum (XOR) of differences up to
    /// its own. Codes from 128 on are negative, so the second half of a table has an index of its own.
    #[target_feature(enable = "avx2")]
    #[inline]
    pub(in crate::kernels) fn found<const TABLES: usize, const N: usize>(
        chained: [&[i8; 256]; N],
        codes: __m256i,
    ) -> [__m256i; N] {
        const { assert!(TABLES <= 16, "tables of 256 entries") };
        let (mut found, mut index) = ([_mm256_setzero_si256(); N], codes);
        for i in 0..TABLES {
            if i == 8 {
                index = _mm256_xor_si256(codes, _mm256_set1_epi8(i8::MIN));
            }
            for (found, table) in found.iter_mut().zip(chained) {
                // SAFETY: 16·i + 16 ≤ 256.
                let entries = unsafe { _mm_loadu_si128(table.as_ptr().add(16 * i).cast()) };
                *found = _mm256_xor_si256(*found, _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(entries), index));
            }
            // Saturating, so that what is negative stays so.
            index = _mm256_subs_epi8(index, _mm256_set1_epi8(16));
        }
        found
    }
}

#[cfg(target_arch = "aarch64")]
pub(in crate::kernels) mod arm {
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
    /// Codes below `entries`, a power of two above 16.
    ///
    /// # Safety
    /// `codes` and `out` are equally long.
    #[target_feature(enable = "neon")]
    pub(super) unsafe fn more(codes: &[u8], table: &[i8; 256], entries: usize, out: &mut [i8]) {
        let whole = codes.len() / 16 * 16;
        // SAFETY: the lengths of whole registers are equal.
        unsafe {
            match entries {
                32 | 64 => registers::<1>(&codes[..whole], table, out),
                128 => registers::<2>(&codes[..whole], table, out),
                _ => registers::<4>(&codes[..whole], table, out),
            }
        }
        super::any(&codes[whole..], table, &mut out[whole..]);
    }

    /// # Safety
    /// `codes` is whole registers of 16 below 64·`TABLES`, and `out` is as long or longer.
    #[target_feature(enable = "neon")]
    unsafe fn registers<const TABLES: usize>(codes: &[u8], table: &[i8; 256], out: &mut [i8]) {
        for i in (0..codes.len()).step_by(16) {
            // SAFETY: i + 16 ≤ both lengths.
            unsafe {
                let [found] = found::<TABLES, 1>([table], vld1q_u8(codes.as_ptr().add(i)));
                vst1q_s8(out.as_mut_ptr().add(i), found);
            }
        }
    }

    /// The entries of 16 codes below 64·`TABLES` in each of several tables: an index that none of an instruction's 64 entries has leaves
    /// what was found.
    #[target_feature(enable = "neon")]
    #[inline]
    pub(in crate::kernels) fn found<const TABLES: usize, const N: usize>(
        tables: [&[i8; 256]; N],
        codes: uint8x16_t,
    ) -> [int8x16_t; N] {
        const { assert!(TABLES <= 4, "tables of 256 entries") };
        let (mut found, mut index) = ([vdupq_n_s8(0); N], codes);
        for i in 0..TABLES {
            for (found, table) in found.iter_mut().zip(tables) {
                // SAFETY: 64·i + 64 ≤ 256.
                let entries = unsafe { vld1q_s8_x4(table.as_ptr().add(64 * i)) };
                *found = vqtbx4q_s8(*found, entries, index);
            }
            index = vsubq_u8(index, vdupq_n_u8(64));
        }
        found
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
            for entries in (1..=8).map(|bits| 1 << bits) {
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
