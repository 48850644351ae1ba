//! The segments of a group side by side: their units of one bit become units of the whole group, which one panel takes.

use crate::codec::Group;
use crate::kernels::Level;
use crate::kernels::units::{self, Place};

/// Buffers, reused from block to block.
#[derive(Debug, Default)]
pub(super) struct Joined {
    bytes: Vec<u8>,
    codes: Vec<u8>,
    part: Vec<u8>,
}

impl Joined {
    /// Units of the group's kept bits, one bit each, of `n` rows, in rows of their own; `segments` holds those of the group's segments.
    pub(super) fn units(
        &mut self,
        level: Level,
        group: &Group,
        segments: &[Vec<(&[u8], Place)>],
        n: usize,
    ) -> Vec<(&[u8], Place)> {
        let len = group.dim.div_ceil(8);
        let stride = group.keep as usize * len;
        let places =
            (0..group.keep).map(|i| Place { width: 1, shift: group.keep - 1 - i, offset: i as usize * len, stride });
        let places: Vec<_> = places.collect();
        self.bytes.clear();
        self.bytes.resize(n * stride, 0);
        let (_, whole) = group.segments.split_last().expect("a group has segments");
        if whole.iter().all(|(_, dim)| dim.is_multiple_of(8)) {
            let mut start = 0;
            for (&(_, dim), units) in group.segments.iter().zip(segments) {
                for (&(rows, from), to) in units.iter().zip(&places) {
                    copy(rows, from, &mut self.bytes, *to, start, dim.div_ceil(8));
                }
                start += dim / 8;
            }
        } else {
            self.repack(level, group, segments, n, &places);
        }
        places.into_iter().map(|place| (&self.bytes[..], place)).collect()
    }

    /// For segments that end inside a byte: through the codes.
    fn repack(&mut self, level: Level, group: &Group, segments: &[Vec<(&[u8], Place)>], n: usize, places: &[Place]) {
        self.codes.clear();
        self.codes.resize(n * group.dim, 0);
        let mut start = 0;
        for (&(_, dim), units) in group.segments.iter().zip(segments) {
            self.part.clear();
            self.part.resize(n * dim, 0);
            for &(rows, place) in units {
                units::unpack(level, rows, dim, place, &mut self.part);
            }
            for (part, row) in self.part.chunks_exact(dim).zip(self.codes.chunks_exact_mut(group.dim)) {
                row[start..start + dim].copy_from_slice(part);
            }
            start += dim;
        }
        for &place in places {
            units::pack(level, &self.codes, group.dim, place, &mut self.bytes);
        }
    }
}

/// Copies a unit of `len` bytes of every row to byte `start` of a unit in other rows.
fn copy(rows: &[u8], from: Place, out: &mut [u8], to: Place, start: usize, len: usize) {
    /// Lengths that are constants are single moves.
    fn short<const LEN: usize>(rows: &[u8], from: Place, out: &mut [u8], to: Place, start: usize) {
        for (row, out) in rows.chunks_exact(from.stride).zip(out.chunks_exact_mut(to.stride)) {
            out[to.offset + start..][..LEN].copy_from_slice(&row[from.offset..][..LEN]);
        }
    }
    match len {
        1 => short::<1>(rows, from, out, to, start),
        2 => short::<2>(rows, from, out, to, start),
        3 => short::<3>(rows, from, out, to, start),
        4 => short::<4>(rows, from, out, to, start),
        8 => short::<8>(rows, from, out, to, start),
        _ => {
            for (row, out) in rows.chunks_exact(from.stride).zip(out.chunks_exact_mut(to.stride)) {
                out[to.offset + start..][..len].copy_from_slice(&row[from.offset..][..len]);
            }
        }
    }
}
