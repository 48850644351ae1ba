//! Panels: codes looked up and interleaved, once for all queries.

use super::{Form, Line, PAIR, TILE};
#[cfg(target_arch = "x86_64")]
use super::{avx2_panel, avx512_panel};
use crate::kernels::units::{self, Place};
use crate::kernels::{Level, lookup};

/// Rows of int8 levels in tiles of 16, for one level's kernel; reused from block to block.
#[derive(Debug, Default)]
pub(crate) struct Panel {
    lines: Vec<Line>,
    rows: usize,
    /// Coordinates, without and with padding.
    m: usize,
    width: usize,
    form: Form,
    /// Levels of a tile, in rows of whole eights.
    spare: Vec<[i8; 8]>,
}

impl Panel {
    /// Makes room for `rows` rows of `m` coordinates, to be filled tile by tile. Padding holds whatever stood there: queries are
    /// 0 in padded coordinates, and padded rows are nobody's.
    pub(crate) fn begin(&mut self, level: Level, rows: usize, m: usize) {
        let form = Form::of(level);
        (self.rows, self.m, self.width, self.form) = (rows, m, form.width(m), form);
        self.lines.resize(self.padded_rows() / TILE * self.lines_of_tile(), Line([0; 64]));
    }

    /// Fills tile `tile` of each panel with `table[code]`, by its own table, of every code of the tile's rows, which `units` hold: the
    /// bytes of these rows, and the place in them. The panels are alike; `entries` (a power of two) bounds the codes;
    /// `codes` is a buffer.
    pub(crate) fn fill<const N: usize>(
        panels: [&mut Self; N],
        level: Level,
        tile: usize,
        units: &[(&[u8], Place)],
        tables: [&[i8; 256]; N],
        entries: usize,
        codes: &mut Vec<u8>,
    ) {
        let (m, rows, form) = (panels[0].m, panels[0].rows_of_tile(tile), panels[0].form);
        for panel in &panels {
            let alike = panel.m == m && panel.rows_of_tile(tile) == rows;
            assert!(form == Form::of(level) && panel.form == form && alike, "panels of this level, and alike");
        }
        #[cfg(target_arch = "x86_64")]
        if let Level::Avx512(token) | Level::Avx512Vnni(token, _) | Level::Amx(token, ..) = level {
            let mut lines = panels.map(|panel| {
                let lines = panel.lines_of_tile();
                &mut panel.lines[tile * lines..][..lines]
            });
            return avx512_panel::decode(token, form, units, (rows, m), tables, entries, &mut lines);
        }
        let offset;
        let tables = if form.is_unsigned() {
            offset = tables.map(|table| table.map(|value| value ^ -128));
            offset.each_ref()
        } else {
            tables
        };
        codes.clear();
        codes.resize(rows * m, 0);
        for &(bytes, place) in units {
            units::unpack(level, bytes, m, place, codes);
        }
        for (panel, table) in panels.into_iter().zip(tables) {
            panel.interleave(level, tile, codes, table, entries);
        }
    }

    /// Fills tile `tile` with `table[code]` of the codes of its rows.
    fn interleave(&mut self, level: Level, tile: usize, codes: &[u8], table: &[i8; 256], entries: usize) {
        let (m, rows, lines) = (self.m, self.rows_of_tile(tile), self.lines_of_tile());
        let lines = &mut self.lines[tile * lines..][..lines];
        let eights = self.width / 8;
        self.spare.resize(TILE * eights, [0; 8]);
        for (row, levels) in codes.chunks_exact(m).zip(self.spare.chunks_exact_mut(eights)) {
            lookup::integers(level, row, table, entries, &mut levels.as_flattened_mut()[..m]);
        }
        for half in 0..rows.div_ceil(8) {
            let levels = &self.spare[8 * half * eights..][..8 * eights];
            #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut, reason = "only x86 has it done"))]
            let mut done = 0;
            #[cfg(target_arch = "x86_64")]
            if let Level::Avx2(token) | Level::AvxVnni(token, _) = level {
                done = avx2_panel::interleave(token, self.form, levels, self.width, half, lines);
            }
            for (r, row) in levels.chunks_exact(eights).enumerate() {
                place(self.form, &row.as_flattened()[done..], 8 * half + r, &mut lines[self.form.lines(done)..]);
            }
        }
    }

    /// Rows of a tile, the last ones of a panel less than 16.
    fn rows_of_tile(&self, tile: usize) -> usize {
        self.rows.saturating_sub(tile * TILE).min(TILE)
    }

    /// Rows with padding: what one query's products take.
    pub(crate) fn padded_rows(&self) -> usize {
        self.rows.next_multiple_of(PAIR)
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    fn lines_of_tile(&self) -> usize {
        self.form.lines(self.width)
    }
}

/// Puts the values of row `r` of a tile in their places, a step at a time.
fn place(form: Form, values: &[i8], r: usize, lines: &mut [Line]) {
    match form {
        Form::TwoWords => {
            for (line, values) in lines.iter_mut().zip(values.as_chunks::<2>().0) {
                let [[a, b], [c, d]] = values.map(|value| i16::from(value).to_ne_bytes());
                line.0.as_chunks_mut::<4>().0[r] = [a as i8, b as i8, c as i8, d as i8];
            }
        }
        // Columns are AVX-512's, which fills whole tiles.
        Form::FourBytes | Form::FourUnsigned | Form::Columns | Form::Tiles => {
            for (line, values) in lines.iter_mut().zip(values.as_chunks::<4>().0) {
                line.0.as_chunks_mut::<4>().0[r] = *values;
            }
        }
        Form::EightBytes => {
            for (lines, values) in lines.as_chunks_mut::<2>().0.iter_mut().zip(values.as_chunks::<8>().0) {
                lines[r / 8].0.as_chunks_mut::<8>().0[r % 8] = *values;
            }
        }
    }
}
