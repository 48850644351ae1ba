//! The product with AMX: 32 queries against 32 rows in four tiles of sums.
//!
//! A *tile* of AMX is a register of 16 rows of 64 bytes. `tdpbssd` takes 16 queries × 64 coordinates and 64 coordinates × 16 rows, and
//! adds to each of 16 × 16 sums the 64 products of a query and a row. The second operand has four consecutive coordinates of a row side by side, and
//! the rows next to one another: that is 16 lines of a panel as they lie. Bytes are signed on both sides, so nothing is offset.
//!
//! ```text
//! sums 0: queries 0–15  × rows 0–15     sums 1: queries 0–15  × rows 16–31      from queries 4 and 5 and rows 6 and 7:
//! sums 2: queries 16–31 × rows 0–15     sums 3: queries 16–31 × rows 16–31      four loads for four products
//! ```
//! Tiles of queries and of sums are as high as there are queries; coordinates are padded to 64, which costs no time, as a
//! product takes a cycle a query. A call configures tiles and releases them, so that no state of them outlives it.

use super::{Image, Line, PAIR, TILE};

/// What is multiplied, lengths checked.
#[derive(Clone, Copy)]
pub(super) struct TileBlock<'a> {
    /// For every 16 queries `steps` images: 64 coordinates of each query in a line.
    pub(super) queries: &'a [Image],
    /// How many queries there are.
    pub(super) n: usize,
    /// For every 16 rows, an even number of times, `steps` images of a panel.
    pub(super) panel: &'a [Image],
    /// Images that hold all coordinates.
    pub(super) steps: usize,
    /// Rows, padding included: what one query's products take.
    pub(super) rows: usize,
}

/// What `ldtilecfg` reads: palette 1, and of each register the bytes of a row and the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct Shapes {
    palette: u8,
    start: u8,
    zeros: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// The shapes for up to 16 queries in register 4 and up to 16 in register 5; of 0 the registers are not there.
    pub(super) fn new(upper: usize, lower: usize) -> Self {
        let rows = [upper, upper, lower, lower, upper, lower, TILE, TILE];
        let mut shapes = Self { palette: 1, start: 0, zeros: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        for (i, rows) in rows.into_iter().enumerate().filter(|(_, rows)| *rows > 0) {
            (shapes.row_bytes[i], shapes.rows[i]) = (64, rows as u8);
        }
        shapes
    }

    /// Rows of a register.
    pub(super) fn rows(&self, register: usize) -> usize {
        usize::from(self.rows[register])
    }
}

/// Eight registers of tiles. What was configured is released when this is dropped.
pub(super) trait Tiles {
    /// `ldtilecfg`: gives the registers their shapes, and zeros.
    fn configure(&mut self, shapes: &Shapes);
    /// `tilezero`.
    fn zero<const T: u8>(&mut self);
    /// `tileloadd`: as many lines as the register has rows.
    fn load<const T: u8>(&mut self, image: &Image);
    /// `tdpbssd`: adds to dword r of row q of `SUMS`, for all dwords k of a row, the four products of the signed bytes of dword k of row q of
    /// `QUERIES` and of dword r of row k of `ROWS`.
    fn multiply<const SUMS: u8, const QUERIES: u8, const ROWS: u8>(&mut self);
    /// `tilestored`: row i of the register goes to `out[i·stride ..][..16]`.
    fn store<const T: u8>(&self, out: &mut [i32], stride: usize);
}

/// Writes ⟨query i, row r⟩ to `out[i·rows + r]`.
#[inline(always)]
pub(super) fn products(tiles: &mut impl Tiles, block: TileBlock<'_>, out: &mut [i32]) {
    let TileBlock { queries, n, panel, steps, rows } = block;
    let mut configured = None;
    for first in (0..n).step_by(2 * TILE) {
        let shapes = Shapes::new((n - first).min(TILE), (n - first).saturating_sub(TILE).min(TILE));
        if configured != Some(shapes) {
            tiles.configure(&shapes);
            configured = Some(shapes);
        }
        let (upper, lower) = queries[first / TILE * steps..].split_at(steps);
        for (pair, images) in panel.chunks_exact(2 * steps).enumerate() {
            let (left, right) = images.split_at(steps);
            let out = &mut out[first * rows + pair * PAIR..];
            tiles.zero::<0>();
            tiles.zero::<1>();
            if shapes.rows(5) == 0 {
                for (query, (left, right)) in upper.iter().zip(left.iter().zip(right)) {
                    tiles.load::<4>(query);
                    tiles.load::<6>(left);
                    tiles.multiply::<0, 4, 6>();
                    tiles.load::<7>(right);
                    tiles.multiply::<1, 4, 7>();
                }
            } else {
                tiles.zero::<2>();
                tiles.zero::<3>();
                for ((upper, lower), (left, right)) in upper.iter().zip(lower).zip(left.iter().zip(right)) {
                    tiles.load::<4>(upper);
                    tiles.load::<6>(left);
                    tiles.multiply::<0, 4, 6>();
                    tiles.load::<7>(right);
                    tiles.multiply::<1, 4, 7>();
                    tiles.load::<5>(lower);
                    tiles.multiply::<2, 5, 6>();
                    tiles.multiply::<3, 5, 7>();
                }
                let out = &mut out[TILE * rows..];
                tiles.store::<2>(out, rows);
                tiles.store::<3>(&mut out[TILE..], rows);
            }
            tiles.store::<0>(out, rows);
            tiles.store::<1>(&mut out[TILE..], rows);
        }
    }
}

/// Whether tiles multiply as the plain sum does: 64 rows and 128 coordinates, and numbers of queries that need every kind of shape.
pub(super) fn agree(tiles: &mut impl Tiles) -> bool {
    const STEPS: usize = 2;
    const MOST: usize = 2 * TILE + 3;
    const ROWS: usize = 2 * PAIR;
    // All values from −127 to 127, in another order for another factor.
    let value = |row: usize, at: usize, factor: usize| (((row * 64 * STEPS + at) * factor % 255) as i16 - 127) as i8;
    let (query, row) = (|q, at| value(q, at, 91), |r, at| value(r, at, 37));
    let empty = [Line([0; 64]); TILE];
    let (mut queries, mut panel) = ([empty; 3 * STEPS], [empty; ROWS / TILE * STEPS]);
    for at in 0..64 * STEPS {
        let (step, byte) = (at / 64, at % 64);
        for q in 0..MOST {
            queries[q / TILE * STEPS + step][q % TILE].0[byte] = query(q, at);
        }
        for r in 0..ROWS {
            panel[r / TILE * STEPS + step][byte / 4].0[r % TILE * 4 + byte % 4] = row(r, at);
        }
    }
    let mut out = [1; MOST * ROWS];
    [3, TILE + 5, MOST].into_iter().all(|n| {
        let block = TileBlock { queries: &queries, n, panel: &panel, steps: STEPS, rows: ROWS };
        products(tiles, block, &mut out[..n * ROWS]);
        out[..n * ROWS].iter().enumerate().all(|(i, &product)| {
            let terms = (0..64 * STEPS).map(|at| i32::from(query(i / ROWS, at)) * i32::from(row(i % ROWS, at)));
            product == terms.sum::<i32>()
        })
    })
}
