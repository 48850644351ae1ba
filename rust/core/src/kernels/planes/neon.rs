//! Sums of table entries with NEON: a byte of 16 rows in one register, four registers a block.

use std::arch::aarch64::*;

use super::{BLOCK, Column, OfQuery, Planes, Tables};
use crate::kernels::level::Neon;

pub(super) fn upper_ends<const Q: usize>(_: Neon, rows: Planes<'_>, queries: [OfQuery<'_>; Q], outs: [&mut [f32]; Q]) {
    // SAFETY: the token proves the features.
    unsafe { upper_ends_of_rows(rows, queries, outs) }
}

#[target_feature(enable = "neon")]
fn upper_ends_of_rows<const Q: usize>(rows: Planes<'_>, queries: [OfQuery<'_>; Q], outs: [&mut [f32]; Q]) {
    super::body(|columns, tables| tables.map(|tables| run(columns, tables)), rows, queries, outs);
}

#[target_feature(enable = "neon")]
#[inline]
fn run(columns: &[Column], tables: &Tables) -> [u16; BLOCK] {
    let low_bits = vdupq_n_u8(15);
    let mut sums = [vdupq_n_u16(0); 8];
    for (column, table) in columns.iter().zip(tables) {
        // SAFETY: a table has 32 bytes.
        let (lows, highs) = unsafe { (vld1q_u8(table.as_ptr()), vld1q_u8(table.as_ptr().add(16))) };
        for quarter in 0..4 {
            // SAFETY: a column has 64 bytes.
            let bytes = unsafe { vld1q_u8(column.as_ptr().add(16 * quarter)) };
            let low = vqtbl1q_u8(lows, vandq_u8(bytes, low_bits));
            let pair = vaddq_u8(low, vqtbl1q_u8(highs, vshrq_n_u8::<4>(bytes)));
            sums[2 * quarter] = vaddw_u8(sums[2 * quarter], vget_low_u8(pair));
            sums[2 * quarter + 1] = vaddw_high_u8(sums[2 * quarter + 1], pair);
        }
    }
    let mut out = [0; BLOCK];
    for (i, &eight) in sums.iter().enumerate() {
        // SAFETY: eight sums of eight.
        unsafe { vst1q_u16(out.as_mut_ptr().add(8 * i), eight) };
    }
    out
}
