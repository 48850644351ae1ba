//! The candidates among a block's rows: their keys and ids side by side.
//!
//! Cost (AVX-512): two loads, a minimum, a comparison, three compressions and as many stores for 16 rows, however many of them enter.

use super::Level;

/// Rows of a block, so that a word has a bit for each.
const ROWS: usize = 64;

/// Appends key and id of each row r whose bit is set in `rows` and whose key, the lower of its two, is at least `floor`.
#[inline]
pub(crate) fn pick(
    level: Level,
    (rows, floor): (u64, f32),
    keys: [&[f32; ROWS]; 2],
    ids: &[i64; ROWS],
    to: (&mut Vec<f32>, &mut Vec<i64>),
) {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level's token proves AVX-512 F.
        Level::Avx512(_) | Level::Avx512Vnni(..) | Level::Amx(..) => unsafe { x86::pick((rows, floor), keys, ids, to) },
        _ => plain((rows, floor), keys, ids, to),
    }
}

fn plain(
    (mut rows, floor): (u64, f32),
    [some, others]: [&[f32; ROWS]; 2],
    ids: &[i64; ROWS],
    (to_keys, to_ids): (&mut Vec<f32>, &mut Vec<i64>),
) {
    while rows != 0 {
        let row = rows.trailing_zeros() as usize % ROWS;
        let key = if some[row] < others[row] { some[row] } else { others[row] };
        if key >= floor {
            to_keys.push(key);
            to_ids.push(ids[row]);
        }
        rows &= rows - 1;
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::ROWS;

    /// Floats of a register, for each of which two hold an id.
    const LANES: usize = 16;

    #[target_feature(enable = "avx512f")]
    pub(super) fn pick(
        (rows, floor): (u64, f32),
        [some, others]: [&[f32; ROWS]; 2],
        ids: &[i64; ROWS],
        (to_keys, to_ids): (&mut Vec<f32>, &mut Vec<i64>),
    ) {
        let (some, others) = (some.as_chunks::<LANES>().0, others.as_chunks::<LANES>().0);
        // SAFETY: a chunk holds 16 keys.
        let lower =
            |i: usize| unsafe { _mm512_min_ps(_mm512_loadu_ps(some[i].as_ptr()), _mm512_loadu_ps(others[i].as_ptr())) };
        let (keys, floor) = ([lower(0), lower(1), lower(2), lower(3)], _mm512_set1_ps(floor));
        let passed = |i: usize| u64::from(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(keys[i], floor)) << (LANES * i);
        let rows = rows & (passed(0) | passed(1) | passed(2) | passed(3));
        let (after, keys_at, ids_at) = (super::counts(rows), to_keys.len(), to_ids.len());
        let before = |i: usize| if i == 0 { 0 } else { usize::from(after[i - 1]) };
        to_keys.reserve(ROWS);
        to_ids.reserve(ROWS);
        let (key_places, id_places) =
            (to_keys.spare_capacity_mut().as_mut_ptr(), to_ids.spare_capacity_mut().as_mut_ptr());
        for (i, keys) in keys.into_iter().enumerate() {
            let these = (rows >> (LANES * i)) as u16;
            // SAFETY: at most 16·i rows came before, so that there is room for 16 more.
            unsafe { _mm512_storeu_ps(key_places.add(before(2 * i)).cast(), _mm512_maskz_compress_ps(these, keys)) };
        }
        for (i, ids) in ids.as_chunks::<{ LANES / 2 }>().0.iter().enumerate() {
            let these = (rows >> (LANES / 2 * i)) as u8;
            // SAFETY: a chunk holds 8 ids; at most 8·i rows came before, so that there is room for 8 more.
            unsafe {
                let ids = _mm512_maskz_compress_epi64(these, _mm512_loadu_epi64(ids.as_ptr()));
                _mm512_storeu_epi64(id_places.add(before(i)).cast(), ids);
            }
        }
        // SAFETY: so many are written.
        unsafe {
            to_keys.set_len(keys_at + usize::from(after[7]));
            to_ids.set_len(ids_at + usize::from(after[7]));
        }
    }
}

/// How many bits are set in the lowest byte of a word, the lowest two, and so on.
#[cfg(target_arch = "x86_64")]
fn counts(word: u64) -> [u8; 8] {
    let twos = word - (word >> 1 & 0x5555_5555_5555_5555);
    let fours = (twos & 0x3333_3333_3333_3333) + (twos >> 2 & 0x3333_3333_3333_3333);
    let bytes = (fours + (fours >> 4)) & 0x0F0F_0F0F_0F0F_0F0F;
    bytes.wrapping_mul(0x0101_0101_0101_0101).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bytes, floats, other_levels};

    #[test]
    fn levels_equal_scalar() {
        let marks = bytes(8 * 200, 1).as_chunks().0.iter().map(|&mark| u64::from_le_bytes(mark)).collect::<Vec<_>>();
        let marks = marks.into_iter().chain((0..ROWS).map(|row| 1 << row)).chain([0, u64::MAX]);
        let ids: [i64; ROWS] = std::array::from_fn(|row| (row as i64 - 9) << 40 | row as i64);
        for (seed, rows) in (2..).step_by(2).zip(marks) {
            let [mut some, mut others] =
                [seed, seed + 1].map(|seed| <[f32; ROWS]>::try_from(floats(ROWS, seed)).unwrap());
            // Zeros of either sign, equal keys, no upper end, and what lies behind the last row.
            (some[3], others[3], some[7], others[7], some[9]) = (0.0, -0.0, -0.0, 0.0, others[9]);
            (some[60], some[62], others[63]) = (f32::INFINITY, f32::NAN, f32::NAN);
            for floor in [f32::NEG_INFINITY, 0.0, some[5], others[21], f32::INFINITY] {
                let (mut want, mut got) = ((vec![1.5], vec![7]), (vec![1.5], vec![7]));
                plain((rows, floor), [&some, &others], &ids, (&mut want.0, &mut want.1));
                let found =
                    (0..ROWS).filter(|row| rows >> row & 1 == 1).filter(|&row| some[row].min(others[row]) >= floor);
                assert!(rows >> 62 != 0 || found.count() + 1 == want.0.len());
                for level in other_levels() {
                    pick(level, (rows, floor), [&some, &others], &ids, (&mut got.0, &mut got.1));
                    let bits = |keys: &[f32]| keys.iter().map(|key| key.to_bits()).collect::<Vec<_>>();
                    assert_eq!(
                        (bits(&got.0), &got.1),
                        (bits(&want.0), &want.1),
                        "{}: {rows:x} from {floor}",
                        level.name()
                    );
                    got.0.truncate(1);
                    got.1.truncate(1);
                }
            }
        }
    }
}
