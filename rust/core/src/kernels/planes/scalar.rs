//! Sums of table entries, plain.

use super::{BLOCK, Column, ENTRIES, Tables};

/// What one byte of a row adds.
#[inline(always)]
pub(super) fn entries(byte: u8, table: &[u8; ENTRIES]) -> u32 {
    u32::from(table[usize::from(byte & 15)]) + u32::from(table[16 + usize::from(byte >> 4)])
}

pub(super) fn run(columns: &[Column], tables: &Tables) -> [u16; BLOCK] {
    let mut sums = [0; BLOCK];
    for (column, table) in columns.iter().zip(tables) {
        for (sum, &byte) in sums.iter_mut().zip(column) {
            *sum += entries(byte, table) as u16;
        }
    }
    sums
}
