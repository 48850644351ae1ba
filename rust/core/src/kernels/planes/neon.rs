//! Sums of table entries with NEON: a byte of a block's 16 rows in one register.

use std::arch::aarch64::*;

use super::{BLOCK, Column, OfQuery, Planes, Tables};
use crate::kernels::level::Neon;

pub(super) fn upper_ends<const Q: usize>(_: Neon, rows: Planes<'_>, queries: [OfQuery<'_>; Q], outs: [&mut [f32]; Q]) {
    // SAFETY: the token proves the features.
    unsafe { upper_ends_of_rows(rows, queries, outs) }
}

#[target_feature(enable = "neon")]
fn upper_ends_of_rows<const Q: usize>(rows: Planes<'_>, queries: [OfQuery<'_>; Q], outs: [&mut [f32]; Q]) {
    super::body(|columns, tables| run(columns, tables), rows, queries, outs);
}

#[target_feature(enable = "neon")]
#[inline]
fn run<const Q: usize>(columns: &[Column], tables: [Tables<'_>; Q]) -> [[u16; BLOCK]; Q] {
    assert!(tables.iter().all(|tables| tables.bytes() == columns.len()), "tables of every column");
    let low_bits = vdupq_n_u8(15);
    let mut sums = [[vdupq_n_u16(0); 2]; Q];
    for (i, column) in columns.iter().enumerate() {
        // SAFETY: a column has 16 bytes.
        let bytes = unsafe { vld1q_u8(column.as_ptr()) };
        let (lower, upper) = (vandq_u8(bytes, low_bits), vshrq_n_u8::<4>(bytes));
        for (tables, sums) in tables.iter().zip(&mut sums) {
            // SAFETY: there are tables for every column, and a table has 16 bytes.
            let (lows, highs) = unsafe {
                (vld1q_u8(tables.lows.as_ptr().add(i).cast()), vld1q_u8(tables.highs.as_ptr().add(i).cast()))
            };
            let pair = vaddq_u8(vqtbl1q_u8(lows, lower), vqtbl1q_u8(highs, upper));
            sums[0] = vaddw_u8(sums[0], vget_low_u8(pair));
            sums[1] = vaddw_high_u8(sums[1], pair);
        }
    }
    let mut out = [[0; BLOCK]; Q];
    for (out, sums) in out.iter_mut().zip(sums) {
        // SAFETY: twice eight sums.
        unsafe {
            vst1q_u16(out.as_mut_ptr(), sums[0]);
            vst1q_u16(out.as_mut_ptr().add(8), sums[1]);
        }
    }
    out
}
