//! The integer products of one query with one row, straight from the row's units: for the few rows that a first stage leaves, where
//! panels would not pay.
//!
//! A row is taken 64 coordinates at a time: units to codes, codes to levels of 16 bits, products of words. The query's words are 0 in
//! padded coordinates, so that whatever bits are read there count nothing; a row must be followed by [`SPARE`] bytes.
//!
//! Bounds: widths 1–4 as in `product`, below 2³¹ in all. Two-byte levels: a pair of products is at most 2·16,319² < 2³⁰, summed in 64
//! bits. Cost (AVX-512): four instructions for 64 bits of a unit, then eleven (two-byte levels more) for 64 coordinates; AVX2 ten and
//! eighteen, of two-byte levels five for every 16 entries and 32 coordinates.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

use super::Level;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::lookup;
use super::units::{Place, unit_bytes};

/// Bytes that may be read after a row.
pub(crate) const SPARE: usize = 64;
/// Coordinates that are taken together.
const BLOCK: usize = 64;
/// The largest width whose levels one look-up of sixteen bytes finds; those of wider codes are taken as words, also where they fit a byte.
const ONE_BYTE: u32 = 4;

/// A run of coordinates whose units lie in one piece each.
#[derive(Debug)]
struct Part {
    units: Vec<Place>,
    /// Its blocks among the query's.
    blocks: std::ops::Range<usize>,
}

#[derive(Debug)]
struct Group {
    parts: Vec<Part>,
    bits: u32,
    /// Levels by code.
    levels: Box<[i16; 256]>,
    /// Their low and high bytes, as `found` of `lookup` takes them.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    bytes: Box<[[i8; 256]; 2]>,
}

/// One query, in groups of coordinates with one set of levels each.
#[derive(Debug)]
pub(crate) struct Single {
    groups: Vec<Group>,
    words: Vec<[i16; BLOCK]>,
    /// Bytes of a row.
    bytes: usize,
}

impl Single {
    /// No groups yet, for rows of so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { groups: Vec::new(), words: Vec::new(), bytes }
    }

    /// Appends a group: its levels by code of `bits` bits, the coordinates and the units of its parts, and the query's integers there.
    pub(crate) fn push(
        &mut self,
        bits: u32,
        levels: &[i32],
        parts: impl Iterator<Item = (usize, Vec<Place>)>,
        integers: &[i32],
    ) {
        assert!((1..=8).contains(&bits) && levels.len() == 1 << bits, "levels of every code");
        let mut table = Box::new([0; 256]);
        table.iter_mut().zip(levels).for_each(|(to, &level)| *to = level as i16);
        let (mut left, mut of_group) = (integers, Vec::new());
        for (m, units) in parts {
            let fit = units.iter().all(|unit| unit.offset + unit_bytes(m, unit.width) <= self.bytes);
            assert!(fit && units.iter().map(|unit| unit.width).sum::<u32>() == bits, "whole codes inside a row");
            let (values, rest) = left.split_at(m);
            let first = self.words.len();
            for values in values.chunks(BLOCK) {
                let mut words = [0; BLOCK];
                words.iter_mut().zip(values).for_each(|(to, &value)| *to = value as i16);
                self.words.push(words);
            }
            of_group.push(Part { units, blocks: first..self.words.len() });
            left = rest;
        }
        assert!(left.is_empty(), "an integer a coordinate");
        self.groups.push(Group {
            parts: of_group,
            bits,
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            bytes: Box::new([0, 8].map(|shift| lookup::chained(table.map(|level| (level >> shift) as i8)))),
            levels: table,
        });
    }

    /// Calls `each` with the product of every group, in order; `row` is a row and [`SPARE`] bytes.
    pub(crate) fn products(&self, level: Level, row: &[u8], mut each: impl FnMut(i64)) {
        assert_eq!(row.len(), self.bytes + SPARE, "a row with spare bytes");
        for group in &self.groups {
            each(match level {
                #[cfg(target_arch = "x86_64")]
                Level::Avx512(token) | Level::Avx512Vnni(token, _) | Level::Amx(token, ..) => {
                    avx512::product(token, group, &self.words, row)
                }
                #[cfg(target_arch = "x86_64")]
                Level::Avx2(token) | Level::AvxVnni(token, _) => avx2::product(token, group, &self.words, row),
                #[cfg(target_arch = "aarch64")]
                Level::Neon(token) | Level::NeonDot(token, _) | Level::NeonI8mm(token, _) => {
                    neon::product(token, group, &self.words, row)
                }
                _ => product(group, &self.words, row),
            });
        }
    }
}

fn product(group: &Group, words: &[[i16; BLOCK]], row: &[u8]) -> i64 {
    let mut sum = 0;
    for part in &group.parts {
        for (block, words) in words[part.blocks.clone()].iter().enumerate() {
            let mut codes = [[0_u8; 8]; BLOCK / 8];
            for unit in &part.units {
                add_unit(&row[unit.offset + block * 8 * unit.width as usize..], unit.width, &mut codes);
            }
            let products = codes.as_flattened().iter().zip(words);
            let products = products.map(|(&code, &q)| i32::from(group.levels[usize::from(code)]) * i32::from(q));
            sum +=
                if group.bits <= ONE_BYTE { i64::from(products.sum::<i32>()) } else { products.map(i64::from).sum() };
        }
    }
    sum
}

/// Appends the bits of a unit to the codes of a block.
fn add_unit(bytes: &[u8], width: u32, codes: &mut [[u8; 8]; BLOCK / 8]) {
    match width {
        1 => {
            for (codes, &byte) in codes.iter_mut().zip(bytes) {
                // Bit i of the byte to byte i, then to its lowest bit.
                let spread = (u64::from(byte) * 0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
                let bits = (spread + 0x7F7F_7F7F_7F7F_7F7F) >> 7 & 0x0101_0101_0101_0101;
                *codes = (u64::from_le_bytes(*codes) << 1 | bits).to_le_bytes();
            }
        }
        2 => {
            for (i, code) in codes.as_flattened_mut().iter_mut().enumerate() {
                *code = *code << 2 | bytes[i / 4] >> (2 * (i % 4)) & 3;
            }
        }
        _ => {
            for (i, code) in codes.as_flattened_mut().iter_mut().enumerate() {
                *code = *code << 4 | bytes[i / 2] >> (4 * (i % 2)) & 15;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bytes, other_levels};
    use crate::kernels::units;

    /// A query and packed rows of one part a group, with the products that they must have.
    fn case(parts: &[(usize, u32)], worst: bool) -> (Single, Vec<u8>, Vec<i64>) {
        let (mut offset, mut packed, mut wanted, mut pushes) = (0, Vec::new(), Vec::new(), Vec::new());
        for (i, &(m, bits)) in parts.iter().enumerate() {
            let widths: &[u32] = match (i % 2, bits) {
                (0, 4) => &[1, 1, 2],
                (0, 8) => &[1, 1, 2, 4],
                (0, 3) => &[1, 2],
                _ => &[1; 8][..bits as usize],
            };
            let reach = if bits <= ONE_BYTE { 127 } else { 16_319 };
            let value = |byte: u8| if worst { reach } else { i32::from(byte) * 911 % (2 * reach + 1) - reach };
            let codes: Vec<_> = bytes(m, 3).iter().map(|code| code & ((1_u16 << bits) - 1) as u8).collect();
            let levels: Vec<_> = bytes(1 << bits, 4).iter().map(|&byte| value(byte)).collect();
            let integers: Vec<_> = bytes(m, 5).iter().map(|&byte| -value(byte)).collect();
            let products = codes.iter().zip(&integers);
            wanted.push(products.map(|(&c, &q)| i64::from(levels[usize::from(c)]) * i64::from(q)).sum());
            let (mut shift, mut places) = (bits, Vec::new());
            for &width in widths {
                shift -= width;
                let mut unit = vec![0; unit_bytes(m, width)];
                units::pack(Level::Scalar, &codes, m, Place { width, shift, offset: 0, stride: unit.len() }, &mut unit);
                places.push(Place { width, shift, offset, stride: 0 });
                packed.extend_from_slice(&unit);
                offset += unit.len();
            }
            pushes.push((bits, levels, m, places, integers));
        }
        let mut single = Single::new(offset);
        for (bits, levels, m, places, integers) in pushes {
            single.push(bits, &levels, [(m, places)].into_iter(), &integers);
        }
        packed.resize(offset + SPARE, 0xA5);
        (single, packed, wanted)
    }

    #[test]
    fn every_level_equals_plain_sums() {
        for level in other_levels().into_iter().chain([Level::Scalar]) {
            for m in (1..=66).chain([127, 128, 200, 1000, 65_536]) {
                for worst in [false, true] {
                    let parts: Vec<_> = (1..=8).map(|bits| (m, bits)).chain([(m, 4), (5, 8), (m, 3)]).collect();
                    let (single, row, wanted) = case(if m > 1000 { &parts[3..5] } else { &parts }, worst);
                    let mut found = Vec::new();
                    single.products(level, &row, |product| found.push(product));
                    assert_eq!(found, wanted, "{}: {m} coordinates", level.name());
                }
            }
        }
    }
}
