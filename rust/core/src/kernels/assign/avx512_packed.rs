//! Assignment and packing at once with AVX-512, up to four bits: what a step of the search finds in sixteen coordinates is a mask, and a plane
//! of the packed code is that mask.

use std::arch::x86_64::*;

use super::avx512::halve;
use super::{Products, Rotated, Table};
use crate::kernels::level::Avx512;
use crate::kernels::units::Place;

pub(super) fn assign(
    _: Avx512,
    table: &Table,
    rows: Rotated<'_>,
    places: &[Place],
    packed: &mut [u8],
    products: &mut [Products],
) {
    let n = products.len();
    assert!(rows.y.len() == rows.m * n && rows.gains.len() == n, "whole rows");
    let (shifts, widths) = (places.iter().map(|place| place.shift), places.iter().map(|place| place.width));
    let wanted: (&[u32], &[u32]) = match table.bits {
        1 => (&[0], &[1]),
        2 => (&[1, 0], &[1, 1]),
        3 => (&[2, 0], &[1, 2]),
        _ => (&[3, 2, 0], &[1, 1, 2]),
    };
    assert!(shifts.eq(wanted.0.iter().copied()) && widths.eq(wanted.1.iter().copied()), "units of the table's bits");
    // SAFETY: the token proves the features (BMI2 among what it proves of AVX2); the table and the places are of as many bits.
    unsafe {
        match table.bits {
            1 => each_row::<1>(table, &rows, places, packed, products),
            2 => each_row::<2>(table, &rows, places, packed, products),
            3 => each_row::<3>(table, &rows, places, packed, products),
            _ => each_row::<4>(table, &rows, places, packed, products),
        }
    }
}

/// # Safety
/// `table` is of `BITS` bits and `places` are their units.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,bmi2")]
unsafe fn each_row<const BITS: usize>(
    table: &Table,
    rows: &Rotated<'_>,
    places: &[Place],
    packed: &mut [u8],
    products: &mut [Products],
) {
    let m = rows.m;
    // SAFETY: an entry is sixteen values.
    let part = |step: usize| unsafe { _mm512_loadu_ps(table.found_first_lowest[step].as_ptr()) };
    let entry = |step: usize, i: usize| _mm512_set1_ps(table.found_first_lowest[step][i]);
    let registers = Registers {
        middle: entry(0, 0),
        quarters: [entry(1, 0), entry(1, 1)],
        steps: [part(0), part(1), part(2), part(3), part(4)],
    };
    let stride = places[0].stride;
    let all = rows.y.chunks_exact(m).zip(rows.gains).zip(packed.chunks_exact_mut(stride)).zip(products);
    for (((y, &gain), packed), products) in all {
        let zero = _mm512_setzero_ps();
        let (mut yc, mut cc) = ([zero; 4], [zero; 4]);
        let gain = _mm512_set1_ps(gain);
        let whole = m / 64 * 64;
        assert!(places.iter().all(|place| place.range(m).end <= stride), "units lie inside rows");
        // Units that the code lacks are never written.
        let offset = |unit: usize| places.get(unit).map_or(0, |place| place.offset);
        let (bytes, offsets) = (packed.as_mut_ptr(), [offset(0), offset(1), offset(2)]);
        macro_rules! put {
            ($units:ident, $at:expr; $($unit:literal)*) => { $(
                // SAFETY: sixteen coordinates below m have so many whole bytes in the unit, whose range was checked.
                unsafe {
                    match width::<BITS>($unit) {
                        0 => {}
                        1 => bytes.add(offsets[$unit] + 2 * $at).cast::<u16>().write_unaligned($units[$unit] as u16),
                        _ => bytes.add(offsets[$unit] + 4 * $at).cast::<u32>().write_unaligned($units[$unit]),
                    }
                }
            )* };
        }
        for (at, y) in y.as_chunks::<64>().0.iter().enumerate() {
            macro_rules! sixteen {
                ($($i:literal)*) => { $(
                    // SAFETY: `y` holds 64 values; the table is as the caller promises.
                    let value = _mm512_mul_ps(unsafe { _mm512_loadu_ps(y.as_ptr().add(16 * $i)) }, gain);
                    let (masks, c) = search::<BITS>(&registers, value);
                    yc[$i] = _mm512_add_ps(yc[$i], _mm512_mul_ps(value, c));
                    cc[$i] = _mm512_add_ps(cc[$i], _mm512_mul_ps(c, c));
                    let units = units_of::<BITS>(masks);
                    put!(units, 4 * at + $i; 0 1 2);
                )* };
            }
            sixteen!(0 1 2 3);
        }
        for (i, start) in (whole..m).step_by(16).enumerate() {
            let left = (m - start).min(16);
            let mask = 0xFFFF_u16 >> (16 - left);
            // SAFETY: masked places are below m, the length of y; the table is as the caller promises.
            let value = _mm512_mul_ps(unsafe { _mm512_maskz_loadu_ps(mask, y.as_ptr().add(start)) }, gain);
            let (masks, c) = search::<BITS>(&registers, value);
            // Lanes that have no value add 0.
            let c = _mm512_maskz_mov_ps(mask, c);
            yc[i] = _mm512_add_ps(yc[i], _mm512_mul_ps(value, c));
            cc[i] = _mm512_add_ps(cc[i], _mm512_mul_ps(c, c));
            let units = units_of::<BITS>(masks.map(|found| found & mask));
            for (unit, place) in units.iter().zip(places) {
                let width = place.width as usize;
                let bytes = (left * width).div_ceil(8);
                packed[place.offset + start / 8 * width..][..bytes].copy_from_slice(&unit.to_le_bytes()[..bytes]);
            }
        }
        *products = Products { yc: folded(yc), cc: folded(cc) };
    }
}

/// Bits of each unit; 0 after the last.
const fn width<const BITS: usize>(unit: usize) -> usize {
    let widths = [[1, 0, 0], [1, 1, 0], [1, 2, 0], [1, 1, 2]];
    widths[BITS - 1][unit]
}

/// The sum of 64 lanes by halving; lanes without a term are +0.
#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
fn folded([a, b, c, d]: [__m512; 4]) -> f32 {
    halve(_mm512_add_ps(_mm512_add_ps(a, c), _mm512_add_ps(b, d)))
}

/// A table in registers.
struct Registers {
    /// The boundaries of the first two steps: one, then one for each answer.
    middle: __m512,
    quarters: [__m512; 2],
    /// The entries of all steps, then the levels.
    steps: [__m512; 5],
}

/// What each step finds of sixteen values, and their levels.
#[target_feature(enable = "avx512f")]
#[inline]
fn search<const BITS: usize>(table: &Registers, value: __m512) -> ([__mmask16; 4], __m512) {
    let above = |bound: __m512| _mm512_cmp_ps_mask::<_CMP_GT_OQ>(value, bound);
    // The first two steps choose by masks, since permutations and comparisons share a port.
    let mut masks = [above(table.middle), 0, 0, 0];
    let mut index = _mm512_maskz_set1_epi32(masks[0], 1);
    macro_rules! step {
        ($step:literal, $bound:expr) => {
            if $step < BITS {
                masks[$step] = above($bound);
                index = _mm512_mask_or_epi32(index, masks[$step], index, _mm512_set1_epi32(1 << $step));
            }
        };
    }
    step!(1, _mm512_mask_blend_ps(masks[0], table.quarters[0], table.quarters[1]));
    step!(2, _mm512_permutexvar_ps(index, table.steps[2]));
    step!(3, _mm512_permutexvar_ps(index, table.steps[3]));
    (masks, _mm512_permutexvar_ps(index, table.steps[BITS]))
}

/// The units of sixteen coordinates: a plane's two bytes, or four bytes of pairs; a code has up to three.
#[target_feature(enable = "bmi2")]
#[inline]
fn units_of<const BITS: usize>(masks: [__mmask16; 4]) -> [u32; 3] {
    let pairs = |high: u16, low: u16| _pdep_u32(high.into(), 0xAAAA_AAAA) | _pdep_u32(low.into(), 0x5555_5555);
    let [a, b, c, d] = masks;
    match BITS {
        1 => [a.into(), 0, 0],
        2 => [a.into(), b.into(), 0],
        3 => [a.into(), pairs(b, c), 0],
        _ => [a.into(), b.into(), pairs(c, d)],
    }
}
