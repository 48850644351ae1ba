//! Sums of table entries over the patterns of bits in blocks of rows: the estimate of one query from a plane of one bit a coordinate.
//!
//! A block holds [`BLOCK`] rows byte by byte: byte j of all its rows, then byte j + 1. For every byte a query has 32 entries, 16 for its
//! low and 16 for its high four bits, and a row's sum is Σ_j low_j[byte & 15] + high_j[byte >> 4]. A look-up serves one byte of a
//! block's rows in each 16 bytes of a register, from a table of its own. A row that survives is put together from as few lines of memory
//! as blocks of so few rows allow: four of its bytes lie in each.
//!
//! Entries are at most 126, so two of them fit a byte; sums of [`RUN`] bytes stay within 16 bits (2·126·256 = 64,512 < 65,536) and are
//! then added in 32 bits. Cost (AVX-512): two look-ups, three additions and a shift for 32 bits of 16 rows and a query; a shift and two
//! masks for each [`SHARED`] of them.

mod bounds;
mod magnitudes;
mod scalar;
mod tables;
mod transpose;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

pub(crate) use bounds::Weights;
pub(crate) use magnitudes::{Sums, magnitude_sums};
pub(crate) use tables::{Tables, largest_four, tabulate};
pub(crate) use transpose::{from_rows, to_rows};

use super::Level;

/// Rows of a block.
pub(crate) const BLOCK: usize = 16;
/// The entry that stands for 0; entries lie in 0 … 126.
pub(crate) const CENTER: u8 = 63;
/// Bytes whose sums fit 16 bits.
const RUN: usize = 256;

/// Queries that share the taking apart of bytes.
pub(crate) const SHARED: usize = 4;

/// A byte of each row of a block.
pub(crate) type Column = [u8; BLOCK];

/// The rows that a scan reads: their blocks, and what turns their sums into upper ends of scores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planes<'a> {
    /// As many columns a block as queries have tables.
    pub(crate) blocks: &'a [Column],
    /// One a row, of whole blocks except the last; none where the planes are whole codes.
    pub(crate) bounds: &'a [u32],
    pub(crate) scales: &'a [f32],
}

/// What rows are worth to a query: its tables, and what turns their sums into upper ends.
pub(crate) type OfQuery<'a> = (Tables<'a>, Weights);

/// outs[q][r] = the upper end of row r's score for query q.
pub(crate) fn upper_ends<const Q: usize>(
    level: Level,
    rows: Planes<'_>,
    queries: [OfQuery<'_>; Q],
    outs: [&mut [f32]; Q],
) {
    let n = rows.scales.len();
    assert!([0, n].contains(&rows.bounds.len()) && outs.iter().all(|out| out.len() == n), "as many rows everywhere");
    for (tables, _) in queries {
        let fit = tables.bytes() > 0 && rows.blocks.len() == n.div_ceil(BLOCK) * tables.bytes();
        assert!(fit && tables.bytes() == queries[0].0.bytes(), "whole blocks");
    }
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512(token) | Level::Avx512Vnni(token, _) | Level::Amx(token, ..) => {
            avx512::upper_ends(token, rows, queries, outs);
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(token) | Level::AvxVnni(token, _) => avx2::upper_ends(token, rows, queries, outs),
        #[cfg(target_arch = "aarch64")]
        Level::Neon(token) | Level::NeonDot(token, _) | Level::NeonI8mm(token, _) => {
            neon::upper_ends(token, rows, queries, outs);
        }
        _ => body(|columns, tables| tables.map(|tables| scalar::run(columns, tables)), rows, queries, outs),
    }
}

/// What a level compiles with its own instructions unless it has a form of its own; `run` sums at most [`RUN`] bytes of a block.
#[inline(always)]
fn body<const Q: usize>(
    run: impl Fn(&[Column], [Tables<'_>; Q]) -> [[u16; BLOCK]; Q],
    rows: Planes<'_>,
    queries: [OfQuery<'_>; Q],
    mut outs: [&mut [f32]; Q],
) {
    let mut bounds = rows.bounds.chunks(BLOCK);
    let blocks = rows.blocks.chunks_exact(queries[0].0.bytes()).zip(rows.scales.chunks(BLOCK));
    for (first, (block, scales)) in (0..).step_by(BLOCK).zip(blocks) {
        let mut sums = [[0; BLOCK]; Q];
        for (start, columns) in (0..).step_by(RUN).zip(block.chunks(RUN)) {
            let parts = run(columns, queries.map(|(tables, _)| tables.of(start..start + columns.len())));
            for (sums, part) in sums.iter_mut().zip(parts) {
                sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += u32::from(part));
            }
        }
        let bounds = bounds.next();
        for ((sums, (_, weights)), out) in sums.iter().zip(queries).zip(&mut outs) {
            let rows = out[first..][..scales.len()].iter_mut().zip(sums).zip(scales);
            if let Some(bounds) = bounds {
                rows.zip(bounds)
                    .for_each(|(((out, &sum), &scale), &bounds)| *out = weights.upper_end(sum, bounds, scale));
            } else {
                rows.for_each(|((out, &sum), &scale)| *out = weights.upper_end_of_whole(sum, scale));
            }
        }
    }
}

/// The sum of one row's entries.
pub(crate) fn sum_of_row(bytes: &[u8], tables: Tables<'_>) -> u32 {
    assert_eq!(bytes.len(), tables.bytes(), "a table a byte");
    bytes.iter().zip(tables.each()).map(|(&byte, table)| scalar::entries(byte, table)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bytes, floats, other_levels};

    fn columns(n: usize, seed: u64) -> Vec<Column> {
        bytes(n * BLOCK, seed).as_chunks::<BLOCK>().0.to_vec()
    }

    #[test]
    fn levels_equal_scalar_and_rows_one_by_one() {
        for size in (1..=70).chain([255, 256, 257, 600]) {
            let tables_of = |seed| {
                let mut entries = vec![[0; 16]; Tables::entries(size)];
                let (lows, highs) = entries.split_at_mut(Tables::entries(size) / 2);
                for (half, seed) in [(lows, seed), (highs, seed + 9)] {
                    let random = bytes(16 * size, seed);
                    half.iter_mut().zip(random.as_chunks::<16>().0).for_each(|(to, from)| {
                        // Every second size: the largest entries, whose sums come nearest to overflow.
                        *to = if size % 2 == 0 { [2 * CENTER; 16] } else { from.map(|entry| entry % 127) };
                    });
                }
                entries
            };
            let entries = tables_of(1);
            let tables = Tables::new(size, &entries);
            let weights = Weights { offset: 126 * size as i32, factor: 3.1e-6, deviation: 2.7e-5, center: -1.7e-3 };
            for n in [1_usize, 15, 16, 17, 63, 64, 65, 150, 192] {
                let (blocks, scales) = (columns(n.div_ceil(BLOCK) * size, size as u64), floats(n, 3));
                let bounds: Vec<_> = bytes(4 * n, 2).as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect();
                // Without bounds planes are whole codes.
                for bounds in [&bounds[..], &[]] {
                    let rows = Planes { blocks: &blocks, bounds, scales: &scales };
                    let (mut want, mut got) = (vec![0.0; n], vec![7.0; n]);
                    upper_ends(Level::Scalar, rows, [(tables, weights)], [&mut want]);
                    for (i, end) in want.iter().enumerate() {
                        let block = &blocks[i / BLOCK * size..][..size];
                        let row: Vec<_> = block.iter().map(|column| column[i % BLOCK]).collect();
                        let sum = sum_of_row(&row, tables);
                        let alone = match bounds.get(i) {
                            Some(&bounds) => weights.upper_end(sum, bounds, scales[i]),
                            None => weights.upper_end_of_whole(sum, scales[i]),
                        };
                        assert_eq!(alone.to_bits(), end.to_bits(), "row {i} of {n}, {size} bytes");
                    }
                    for level in other_levels() {
                        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                        let case = format!("{}: {n} rows of {size} bytes, {} bounds", level.name(), bounds.len());
                        upper_ends(level, rows, [(tables, weights)], [&mut got]);
                        assert_eq!(bits(&got), bits(&want), "{case}");
                        // Queries that share the taking apart of bytes: others beside this one.
                        let others = [2, 3, 4].map(tables_of);
                        let negated = Weights { factor: -weights.factor, deviation: -weights.deviation, ..weights };
                        let [one, two, three] = others.each_ref().map(|other| (Tables::new(size, other), negated));
                        let mut together = [(); SHARED].map(|()| vec![7.0; n]);
                        let outs = together.each_mut().map(|out| &mut out[..]);
                        upper_ends(level, rows, [one, two, (tables, weights), three], outs);
                        assert_eq!(bits(&together[2]), bits(&want), "{case}");
                        for (query, together) in [one, two, three].into_iter().zip([0, 1, 3].map(|i| &together[i])) {
                            upper_ends(Level::Scalar, rows, [query], [&mut got]);
                            assert_eq!(bits(together), bits(&got), "{case}");
                        }
                    }
                }
            }
        }
    }
}
