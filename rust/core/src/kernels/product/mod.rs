//! The integer product of the scan: groups of int8 queries against a panel of int8 rows, exact in int32.
//!
//! Rows stand in a [`Panel`] as tiles of 16. A *step* is a few consecutive coordinates, as many as one instruction sums in a lane: 4
//! bytes, 2 words of 16 bits for `vpmaddwd`, 8 bytes for `smmla`. One step of the 16 rows fills one
//! cache line (two for 8 bytes), so a register holds a step of several rows, and the same step of a query is broadcast against
//! it. No sum crosses lanes, and what a lane holds at the end is one row's product.
//!
//! ```text
//! a tile, 4 bytes:   row 0: c c c c | row 1: c c c c | … | row 15: c c c c         then the next 4 coordinates
//! queries:           query 0: c c c c | query 1: c c c c | … (up to 12, or 6)      then the next 4 coordinates
//! ```
//! AMX multiplies whole blocks of such lines (`amx`): its panels are padded to 64 coordinates, its groups hold up to 64 queries.
//!
//! Bound: |q|, |l| ≤ 127 and at most 65,536 coordinates, so |⟨q, l⟩| ≤ 65,536·127² = 1,057,030,144 < 2³¹. Sums wrap modulo 2³²
//! on the way where a kernel adds an offset, so only the result must fit. Cost: one byte product a query, row and coordinate.

#[cfg(any(target_arch = "x86_64", test))]
mod amx;
#[cfg(test)]
mod amx_model;
#[cfg(target_arch = "x86_64")]
mod amx_tiles;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_panel;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_panel;
#[cfg(target_arch = "x86_64")]
mod avx512vbmi_panel;
#[cfg(target_arch = "x86_64")]
mod avx512vnni;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_dot;
#[cfg(target_arch = "aarch64")]
mod neon_i8mm;
mod panel;
mod queries;
mod scalar;

use super::Level;
#[cfg(target_arch = "x86_64")]
use super::level::Amx;
pub(crate) use panel::Panel;
pub(crate) use queries::Queries;

/// Rows of a tile.
pub(crate) const TILE: usize = 16;
/// Rows are padded to this many: kernels take two tiles at a time.
const PAIR: usize = 2 * TILE;
/// Most queries that are multiplied together at any level: what buffers must hold.
pub(crate) const GROUP: usize = 4 * TILE;
/// Most queries that are multiplied together by kernels of signed panels that take them side by side.
pub(crate) const NARROW_GROUP: usize = 12;
/// Queries side by side of unsigned panels: what such kernels hold sums for; a group is several times as many.
const SIX: usize = 6;
/// Coordinates that a form of columns takes in another order.
const SIXTEEN: usize = 16;
/// AMX is for batches of so many queries: a product takes as long for fewer, almost. From what others measured, not from here.
const TILES_FROM: usize = 16;

/// The level that batches of so many queries are prepared for and panels are laid out for.
pub(crate) fn level_for(level: Level, queries: usize) -> Level {
    match level {
        Level::Amx(avx512, vnni, _) if queries < TILES_FROM => Level::Avx512Vnni(avx512, vnni),
        _ => level,
    }
}

/// Most queries that a level multiplies together.
pub(crate) fn group_size(level: Level) -> usize {
    Form::of(level).group()
}

/// One cache line of a panel.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([i8; 64]);

/// What a register of AMX, 16 rows of 64 bytes, is loaded from.
type Image = [Line; TILE];

/// What a step of one row or query is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    #[default]
    FourBytes,
    /// Four bytes, of a panel each plus 128: unsigned.
    FourUnsigned,
    /// Four such bytes of every [`SIXTEEN`] coordinates: step t holds those at t, t + 4, t + 8 and t + 12, which lie alike in bytes of two-bit
    /// fields.
    Columns,
    EightBytes,
    TwoWords,
    /// Four bytes, in whole registers of AMX.
    Tiles,
}

impl Form {
    /// The form that a level's kernel takes.
    const fn of(level: Level) -> Self {
        match level {
            Level::Avx2(_) => Form::TwoWords,
            Level::NeonI8mm(..) => Form::EightBytes,
            Level::Amx(..) => Form::Tiles,
            Level::AvxVnni(..) => Form::FourUnsigned,
            Level::Avx512Vnni(..) => Form::Columns,
            _ => Form::FourBytes,
        }
    }

    /// Coordinates of a step.
    const fn coordinates(self) -> usize {
        match self {
            Form::TwoWords => 2,
            Form::FourBytes | Form::FourUnsigned | Form::Columns | Form::Tiles => 4,
            Form::EightBytes => 8,
        }
    }

    /// Whether 128 is added to what stands in a panel.
    const fn is_unsigned(self) -> bool {
        matches!(self, Form::FourUnsigned | Form::Columns)
    }

    /// Lines of a tile that so many coordinates, whole steps, take.
    const fn lines(self, coordinates: usize) -> usize {
        coordinates / self.coordinates() * self.bytes() * TILE / 64
    }

    /// Bytes of a step.
    const fn bytes(self) -> usize {
        if matches!(self, Form::EightBytes) { 8 } else { 4 }
    }

    /// So many coordinates, padded: to whole steps of any level, to whole columns, or to whole registers of AMX.
    const fn width(self, coordinates: usize) -> usize {
        coordinates.next_multiple_of(match self {
            Form::Tiles => 64,
            Form::Columns => SIXTEEN,
            _ => 8,
        })
    }

    /// Most queries of a group.
    const fn group(self) -> usize {
        match self {
            Form::Tiles => GROUP,
            // Calls and epilogues for 12 cost a batch more than sums of 24 that leave the first-level cache.
            Form::FourUnsigned | Form::Columns => 4 * SIX,
            _ => NARROW_GROUP,
        }
    }

    /// Most queries whose steps stand side by side; a group is a multiple of it.
    const fn side_by_side(self) -> usize {
        if self.is_unsigned() { SIX } else { self.group() }
    }
}

/// What a kernel multiplies: one group of queries and one panel, lengths checked.
#[derive(Clone, Copy)]
struct Block<'a> {
    /// The group: `steps` times one step of each query, or of every six one after the other.
    queries: &'a [i8],
    /// −128·Σq of each query.
    offsets: &'a [i32],
    /// `steps` lines (twice as many of 8 bytes) a tile, an even number of tiles.
    lines: &'a [Line],
    /// Steps of a row.
    steps: usize,
    /// Rows, padding included: what one query's products take.
    rows: usize,
}

impl Block<'_> {
    /// Queries of the group.
    fn n(&self) -> usize {
        self.offsets.len()
    }
}

/// Writes ⟨query i, row r⟩ to `out[i·rows + r]` for the queries of group `group` and all [`Panel::padded_rows`] of the panel;
/// products of padding are unspecified.
///
/// # Panics
/// If the two are of another level or width, there is no such group, or `out` has another length.
pub(crate) fn products(level: Level, queries: &Queries, group: usize, panel: &Panel, out: &mut [i32]) {
    let (form, width, rows) = (Form::of(level), panel.width(), panel.padded_rows());
    assert!(queries.width() == width && queries.form() == form && panel.form() == form, "panel and queries fit");
    #[cfg(target_arch = "x86_64")]
    if let Level::Amx(_, _, token) = level {
        return tile_products(token, queries, group, panel, out);
    }
    let (values, offsets) = queries.group(group);
    let block = Block { queries: values, offsets, lines: panel.lines(), steps: width / form.coordinates(), rows };
    assert!((1..=form.group()).contains(&block.n()), "a group has queries");
    assert!(values.len() == block.n() * block.steps * form.bytes(), "a group is whole steps");
    assert!(rows.is_multiple_of(PAIR) && block.lines.len() * 64 == rows * block.steps * form.bytes(), "whole tiles");
    assert_eq!(out.len(), block.n() * rows, "one product a query and row");
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(token) => avx2::products(token, block, out),
        #[cfg(target_arch = "x86_64")]
        Level::AvxVnni(_, token) => avxvnni::products(token, block, out),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512(token) => avx512::products(token, block, out),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vnni(token, vnni) => avx512vnni::products(token, vnni, block, out),
        #[cfg(target_arch = "aarch64")]
        Level::Neon(token) => neon::products(token, block, out),
        #[cfg(target_arch = "aarch64")]
        Level::NeonDot(_, token) => neon_dot::products(token, block, out),
        #[cfg(target_arch = "aarch64")]
        Level::NeonI8mm(_, token) => neon_i8mm::products(token, block, out),
        _ => scalar::products(block, out),
    }
}

/// [`products`] in the form of tiles.
#[cfg(target_arch = "x86_64")]
fn tile_products(token: Amx, queries: &Queries, group: usize, panel: &Panel, out: &mut [i32]) {
    let (images, n) = (queries.images_of(group), queries.members(group).len());
    let (rows, steps) = (panel.padded_rows(), panel.width() / 64);
    let block = amx::TileBlock { queries: images, n, panel: panel.lines().as_chunks().0, steps, rows };
    assert!((1..=GROUP).contains(&n) && images.len() == n.div_ceil(TILE) * steps, "a group holds 1 to 64 queries");
    assert!(rows.is_multiple_of(PAIR) && block.panel.len() * TILE == rows * steps, "whole tiles");
    assert_eq!(out.len(), n * rows, "one product a query and row");
    #[cfg(test)]
    if !token.is_proof() {
        return amx::products(&mut amx_model::Model::default(), block, out);
    }
    amx::products(&mut amx_tiles::Registers::new(token), block, out);
}

/// Whether the registers of this processor multiply as the plain sum does.
#[cfg(target_arch = "x86_64")]
pub(super) fn tiles_agree(token: Amx) -> bool {
    amx::agree(&mut amx_tiles::Registers::new(token))
}

/// Calls `$tile::<N>` for the number of queries `$n`, 1 to 12.
#[allow(unused_macros, reason = "only SIMD kernels use it")]
macro_rules! for_group {
    ($n:expr, $tile:ident($($argument:expr),*)) => {
        match $n {
            1 => $tile::<1>($($argument),*),
            2 => $tile::<2>($($argument),*),
            3 => $tile::<3>($($argument),*),
            4 => $tile::<4>($($argument),*),
            5 => $tile::<5>($($argument),*),
            6 => $tile::<6>($($argument),*),
            7 => $tile::<7>($($argument),*),
            8 => $tile::<8>($($argument),*),
            9 => $tile::<9>($($argument),*),
            10 => $tile::<10>($($argument),*),
            11 => $tile::<11>($($argument),*),
            _ => $tile::<12>($($argument),*),
        }
    };
}
#[allow(unused_imports, reason = "only SIMD kernels use it")]
use for_group;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{bytes, other_levels};
    use crate::kernels::units::{Place, pack, unit_bytes};

    pub(super) fn values(n: usize, seed: u64) -> Vec<i8> {
        bytes(n, seed).iter().map(|byte| (*byte as i8).max(-127)).collect()
    }

    /// Fills a tile with codes, packed on the way as rows of an index are.
    pub(super) fn fill(
        panel: &mut Panel,
        level: Level,
        tile: usize,
        codes: &[u8],
        m: usize,
        table: &[i8; 256],
        entries: usize,
    ) {
        let (mut shift, mut units) = (entries.trailing_zeros(), Vec::new());
        let widths: &[u32] = match shift {
            1 => &[1],
            2 => &[1, 1],
            // As those of a fitted code's segments side by side.
            3.. if m.is_multiple_of(3) && shift < 5 => &[1; 4][..shift as usize],
            3 => &[1, 2],
            4 => &[1, 1, 2],
            5..8 => &[1; 7][..shift as usize],
            _ => &[1, 1, 2, 4],
        };
        for &width in widths {
            shift -= width;
            // A byte before and after: reads must stay inside the unit.
            let place = Place { width, shift, offset: 1, stride: unit_bytes(m, width) + 2 };
            let mut packed = vec![0xA5; codes.len() / m * place.stride];
            pack(Level::Scalar, codes, m, place, &mut packed);
            units.push((packed, place));
        }
        let units: Vec<_> = units.iter().map(|(bytes, place)| (&bytes[..], *place)).collect();
        Panel::fill([panel], level, tile, &units, [table], entries, &mut Vec::new());
    }

    /// All products of rows given as codes into `table`, through the panel and the kernel of a level.
    fn all_products(
        level: Level,
        queries: &[i8],
        codes: &[u8],
        m: usize,
        table: &[i8; 256],
        entries: usize,
    ) -> Vec<i32> {
        let rows = codes.len() / m;
        let mut packed = Queries::new(level, m);
        queries.chunks_exact(m).for_each(|query| packed.push(query));
        packed.finish();
        let mut panel = Panel::default();
        panel.begin(level, rows, m);
        for (tile, codes) in codes.chunks(TILE * m).enumerate() {
            fill(&mut panel, level, tile, codes, m, table, entries);
        }
        let mut found = Vec::new();
        let padded = panel.padded_rows();
        for group in 0..packed.len().div_ceil(group_size(level)) {
            let mut out = vec![3; packed.members(group).len() * padded];
            products(level, &packed, group, &panel, &mut out);
            out.chunks_exact(padded).for_each(|products| found.extend_from_slice(&products[..rows]));
        }
        found
    }

    pub(super) fn plain(queries: &[i8], rows: &[i8], m: usize) -> Vec<i32> {
        let dot = |q: &[i8], l: &[i8]| q.iter().zip(l).map(|(&q, &l)| i32::from(q) * i32::from(l)).sum::<i32>();
        queries.chunks_exact(m).flat_map(|q| rows.chunks_exact(m).map(move |l| dot(q, l))).collect()
    }

    #[test]
    fn every_level_equals_the_plain_sum() {
        // Signed bytes by code, −127 and 127 included.
        let table: [i8; 256] = std::array::from_fn(|code| (code as u8 as i8).wrapping_mul(91).max(-127));
        let depth = std::env::var("TURBOQUANT_TEST_DEPTH").unwrap_or_default();
        let last = if depth == "quick" { 70 } else { 260 };
        for level in other_levels().into_iter().chain([Level::Scalar]) {
            for m in (1..=last).chain([384, 1000, 1536]) {
                let cases = [
                    (1, 1, 2),
                    (3, 17, 16),
                    (12, 33, 4),
                    (13, 64, 256),
                    (69, 40, 16),
                    (2, 18, 32),
                    (4, 17, 16),
                    (5, 64, 4),
                    (23, 33, 4),
                    (30, 32, 16),
                    (2, 16, 64),
                    (1, 15, 128),
                    (2, 16, 8),
                ];
                for (nq, rows, entries) in cases {
                    let codes: Vec<u8> = bytes(rows * m, 5).iter().map(|b| (usize::from(*b) % entries) as u8).collect();
                    let queries = values(nq * m, 7);
                    let levels: Vec<i8> = codes.iter().map(|code| table[usize::from(*code)]).collect();
                    let got = all_products(level, &queries, &codes, m, &table, entries);
                    assert!(got == plain(&queries, &levels, m), "{}: m {m}, {nq} queries, {rows} rows", level.name());
                }
            }
        }
    }

    #[test]
    fn panels_that_are_filled_together_equal_panels_filled_alone() {
        let tables: [[i8; 256]; 2] =
            [91, 37].map(|odd| std::array::from_fn(|code| (code as i8).wrapping_mul(odd).max(-127)));
        for level in other_levels().into_iter().chain([Level::Scalar]) {
            for (m, rows, entries) in [(8, 16, 256), (64, 16, 32), (97, 13, 64), (96, 8, 128)] {
                let codes: Vec<_> = bytes(rows * m, 5).iter().map(|b| (usize::from(*b) % entries) as u8).collect();
                let place = Place { width: 1, shift: 0, offset: 0, stride: unit_bytes(m, 1) };
                let units = (0..entries.trailing_zeros()).rev().map(|shift| {
                    let mut packed = vec![0; rows * place.stride];
                    pack(Level::Scalar, &codes, m, Place { shift, ..place }, &mut packed);
                    packed
                });
                let units: Vec<_> = units.collect();
                let units: Vec<_> = units.iter().map(|packed| (&packed[..], place)).collect();
                let mut panels: [Panel; 4] = Default::default();
                panels.iter_mut().for_each(|panel| panel.begin(level, rows, m));
                let [a, b, c, d] = &mut panels;
                let codes = &mut Vec::new();
                Panel::fill([a, b], level, 0, &units, [&tables[0], &tables[1]], entries, codes);
                Panel::fill([c], level, 0, &units, [&tables[0]], entries, codes);
                Panel::fill([d], level, 0, &units, [&tables[1]], entries, codes);
                let of = |panel: &Panel| panel.lines().iter().flat_map(|line| line.0).collect::<Vec<_>>();
                assert!(of(a) == of(c) && of(b) == of(d) && of(a) != of(b), "{}: {rows} rows of {m}", level.name());
            }
        }
    }

    #[test]
    fn few_queries_are_not_for_tiles() {
        for level in other_levels().into_iter().chain([Level::Scalar]) {
            for queries in [1, 15, 16, 1_000] {
                let few = level.name() == "amx" && queries < 16;
                let expected = if few { "avx512vnni" } else { level.name() };
                assert_eq!(level_for(level, queries).name(), expected, "{queries} queries");
            }
        }
    }

    #[test]
    fn worst_values_do_not_saturate() {
        let table: [i8; 256] = std::array::from_fn(|code| if code == 0 { -127 } else { 127 });
        for level in other_levels().into_iter().chain([Level::Scalar]) {
            for m in [64, 3072, 65_536] {
                for sign in [-127, 127] {
                    let queries = vec![sign; 2 * m];
                    let codes: Vec<u8> = (0..3 * m).map(|i| (i / m % 2) as u8).collect();
                    let levels: Vec<i8> = codes.iter().map(|code| table[usize::from(*code)]).collect();
                    let got = all_products(level, &queries, &codes, m, &table, 2);
                    assert!(got == plain(&queries, &levels, m), "{}: m {m}, queries {sign}", level.name());
                }
            }
        }
    }
}
