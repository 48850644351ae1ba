//! Sums of table entries, plain.

use super::{BLOCK, Column, Tables};

/// What one byte of a row adds.
#[inline(always)]
pub(super) fn entries(byte: u8, [low, high]: [&[u8; 16]; 2]) -> u32 {
    u32::from(low[usize::from(byte & 15)]) + u32::from(high[usize::from(byte >> 4)])
}

pub(super) fn run(columns: &[Column], tables: Tables<'_>) -> [u16; BLOCK] {
    let mut sums = [0; BLOCK];
    for (column, tables) in columns.iter().zip(tables.each()) {
        for (sum, &byte) in sums.iter_mut().zip(column) {
            *sum += entries(byte, tables) as u16;
        }
    }
    sums
}
