//! The layout of a packed row: units, stages, bytes (docs/numerics.md section 8).
//!
//! ```text
//! 4 bits, 16 coordinates:   | plane 3 (2 bytes) | plane 2 (2 bytes) | bits 1 and 0 (4 bytes) |
//!                             stage 1             stage 2             stage 3
//! ```
//! Every prefix of stages is a good code of fewer bits, so one encode serves every rate.

use crate::kernels::Level;
use crate::kernels::units::{self, Place, unit_bytes};

/// Widths of the units of a code, most significant bits first. Only 1, 2 and 4 occur: no field straddles a byte.
pub(crate) const fn unit_widths(bits: u32) -> &'static [u32] {
    match bits {
        1 => &[1],
        2 => &[1, 1],
        3 => &[1, 2],
        4 => &[1, 1, 2],
        5 => &[1, 1, 2, 1],
        6 => &[1, 1, 2, 2],
        7 => &[1, 1, 2, 1, 2],
        _ => &[1, 1, 2, 4],
    }
}

/// The most units a code is cut into.
pub(crate) const MOST_UNITS: usize = 8;

/// The bit counts at which a stage of a `bits`-bit code ends: the rates it can be truncated to.
pub(crate) const fn stage_ends(bits: u32) -> &'static [u32] {
    match bits {
        1 => &[1],
        2 => &[1, 2],
        3 => &[1, 3],
        4 => &[1, 2, 4],
        5 => &[1, 2, 4, 5],
        6 => &[1, 2, 4, 6],
        7 => &[1, 2, 4, 7],
        _ => &[1, 2, 4, 8],
    }
}

/// A unit in a packed row: `width` bits of every coordinate, the lowest of which is bit `shift` of a code, from byte `offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) width: u32,
    pub(crate) shift: u32,
    pub(crate) offset: usize,
}

impl Unit {
    /// Its place in rows of `stride` bytes.
    pub(crate) fn place(self, stride: usize) -> Place {
        Place { width: self.width, shift: self.shift, offset: self.offset, stride }
    }
}

/// The units that hold the top `keep` bits: (width, lowest bit of the code, byte offset in the row).
pub(crate) fn units_of(m: usize, bits: u32, keep: u32) -> impl Iterator<Item = (u32, u32, usize)> {
    let (mut shift, mut offset) = (bits, 0);
    unit_widths(bits).iter().map_while(move |&width| {
        if shift == bits - keep {
            return None;
        }
        shift -= width;
        let at = offset;
        offset += unit_bytes(m, width);
        Some((width, shift, at))
    })
}

/// Bytes of the top `keep` of `bits` bits of `m` coordinates.
pub(crate) fn row_bytes(m: usize, bits: u32, keep: u32) -> usize {
    units_of(m, bits, keep).map(|(width, ..)| unit_bytes(m, width)).sum()
}

/// Packs the given units of `codes` (rows of `m`) into `packed` rows of `stride` bytes.
pub(crate) fn pack(level: Level, codes: &[u8], m: usize, units: &[Unit], packed: &mut [u8], stride: usize) {
    units.iter().for_each(|unit| units::pack(level, codes, m, unit.place(stride), packed));
}

/// Unpacks the bits that the given units, most significant first, hold of every code (rows of `m`).
pub(crate) fn unpack(level: Level, packed: &[u8], m: usize, units: &[Unit], stride: usize, codes: &mut [u8]) {
    codes.fill(0);
    units.iter().for_each(|unit| units::unpack(level, packed, m, unit.place(stride), codes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_and_stages_agree() {
        for bits in 1..=8 {
            assert_eq!(unit_widths(bits).iter().sum::<u32>(), bits);
            assert!(unit_widths(bits).len() <= MOST_UNITS);
            let mut ends = unit_widths(bits).iter().scan(0, |sum, width| {
                *sum += width;
                Some(*sum)
            });
            for end in stage_ends(bits) {
                assert!(ends.any(|sum| sum == *end), "a stage of {bits} bits ends at {end}, where a unit ends");
            }
        }
        assert_eq!(row_bytes(97, 4, 4), 13 + 13 + 25);
        assert_eq!(row_bytes(97, 4, 2), 13 + 13);
    }
}
