//! Panels: blocks of rows decoded to int8 levels, and their products with queries.

use std::ops::Range;

use super::PANEL_ROWS;
use super::query::{PreparedQueries, SegmentQueries};
use crate::codebook::{halves, integer_levels};
use crate::codec::{Segment, TurboQuant};
use crate::codes::CodesView;
use crate::error::Result;
use crate::kernels::Level;
use crate::kernels::dot::{PANEL_STEP, add_products};
use crate::kernels::lookup;
use crate::kernels::units::{self, Place};
use crate::parallel::Exec;
use crate::units::units_of;

/// Where the units of all segments lie: packed rows, or one array a stage.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    /// For each segment its units: the array and the place in its rows.
    pub(crate) segments: Vec<Vec<(&'a [u8], Place)>>,
    /// Scales, one a segment and row.
    pub(crate) scales: &'a [f32],
}

impl<'a> Rows<'a> {
    /// The units of packed rows.
    pub(crate) fn packed(codec: &TurboQuant, codes: &CodesView<'a>) -> Self {
        let stride = codes.row_bytes;
        let mut start = 0;
        let segments = codec.spec().segments.iter().zip(codes.keep).map(|(segment, &keep)| {
            let units = units_of(segment.dim, segment.bits, keep)
                .map(|(width, shift, offset)| (codes.packed, Place { width, shift, offset: start + offset, stride }));
            let units = units.collect();
            start += crate::units::row_bytes(segment.dim, segment.bits, keep);
            units
        });
        Self { segments: segments.collect(), scales: codes.scales }
    }
}

/// Integer levels of a segment, by code.
#[derive(Debug)]
struct Levels {
    segment: Segment,
    /// Padded number of coordinates.
    width: usize,
    entries: usize,
    high: [i8; 256],
    /// Low bytes of two-byte levels, for widths from 5.
    low: Option<[i8; 256]>,
}

/// Scores blocks of rows; holds the buffers of one task.
#[derive(Debug)]
pub(crate) struct Scanner {
    level: Level,
    levels: Vec<Levels>,
    codes: Vec<u8>,
    high: Vec<i8>,
    low: Vec<i8>,
    products: [Vec<i32>; 3],
    /// Products of a segment as float32.
    rounded: Vec<f32>,
    row_scales: Vec<f32>,
    scores: Vec<f32>,
}

impl Scanner {
    pub(crate) fn new(codec: &TurboQuant, keep: &[u32], exec: Exec) -> Result<Self> {
        let levels =
            codec.spec().segments.iter().zip(keep).map(|(&segment, &keep)| Levels::new(segment, keep)).collect();
        Ok(Self {
            level: exec.level()?,
            levels,
            codes: Vec::new(),
            high: Vec::new(),
            low: Vec::new(),
            products: [const { Vec::new() }; 3],
            rounded: Vec::new(),
            row_scales: Vec::new(),
            scores: Vec::new(),
        })
    }

    /// Scores `queries` against rows `range`, a panel at a time: `each(query, first row, scores of consecutive rows)`.
    pub(crate) fn scan(
        &mut self,
        rows: &Rows<'_>,
        range: Range<usize>,
        queries: &PreparedQueries,
        mut each: impl FnMut(usize, usize, &[f32]),
    ) {
        for first in range.clone().step_by(PANEL_ROWS) {
            let n = PANEL_ROWS.min(range.end - first);
            self.scores.clear();
            self.scores.resize(queries.len() * n, 0.0);
            for i in 0..self.levels.len() {
                self.decode(i, &rows.segments[i], first, n);
                self.add_segment(i, rows, first, n, &queries.segments[i]);
            }
            for (query, scores) in self.scores.chunks_exact(n).enumerate() {
                each(query, first, scores);
            }
        }
    }

    /// Decodes segment `i` of rows `first .. first + n` to a panel of int8 levels.
    fn decode(&mut self, i: usize, units: &[(&[u8], Place)], first: usize, n: usize) {
        let levels = &self.levels[i];
        let m = levels.segment.dim;
        self.codes.clear();
        self.codes.resize(n * m, 0);
        for &(bytes, place) in units {
            let block = &bytes[first * place.stride..(first + n) * place.stride];
            units::unpack(self.level, block, m, place, &mut self.codes);
        }
        let fill = |table: &[i8; 256], panel: &mut Vec<i8>| {
            panel.resize(n * levels.width, 0);
            for (codes, row) in self.codes.chunks_exact(m).zip(panel.chunks_exact_mut(levels.width)) {
                lookup::integers(self.level, codes, table, levels.entries, &mut row[..m]);
                // The panel may hold another segment's longer rows.
                row[m..].fill(0);
            }
        };
        fill(&levels.high, &mut self.high);
        if let Some(low) = &levels.low {
            fill(low, &mut self.low);
        }
    }

    /// Adds segment `i`'s share to the scores.
    fn add_segment(&mut self, i: usize, rows: &Rows<'_>, first: usize, n: usize, queries: &SegmentQueries) {
        let Levels { width, ref low, .. } = self.levels[i];
        let (level, norms) = (self.level, self.levels.len());
        let (pairs, panel) = (queries.factors.len() * n, &self.high[..n * width]);
        let [hh, cross, ll] = &mut self.products;
        let product = |products: &mut Vec<i32>, terms: &[(&[i8], &[i8])]| {
            products.clear();
            products.resize(pairs, 0);
            terms.iter().for_each(|(queries, panel)| add_products(level, queries, panel, width, products));
        };
        product(hh, &[(&queries.high, panel)]);
        self.rounded.clear();
        if low.is_some() {
            let low_panel = &self.low[..n * width];
            product(cross, &[(&queries.high, low_panel), (&queries.low, panel)]);
            product(ll, &[(&queries.low, low_panel)]);
            let parts = hh.iter().zip(cross.iter().zip(ll.iter()));
            // Up to 2^44 in magnitude, exact in 64 bits, rounded once.
            let whole = |(&hh, (&cross, &ll))| i64::from(hh) * 16_384 + i64::from(cross) * 128 + i64::from(ll);
            self.rounded.extend(parts.map(|parts| whole(parts) as f32));
        } else {
            self.rounded.extend(hh.iter().map(|&product| product as f32));
        }
        let scales = &rows.scales[first * norms..(first + n) * norms];
        self.row_scales.clear();
        self.row_scales.extend(scales.iter().skip(i).step_by(norms));
        let outputs = self.scores.chunks_exact_mut(n).zip(self.rounded.chunks_exact(n));
        for (&factor, (scores, products)) in queries.factors.iter().zip(outputs) {
            for (score, (product, scale)) in scores.iter_mut().zip(products.iter().zip(&self.row_scales)) {
                let share = (factor * product) * scale;
                *score = if i == 0 { share } else { *score + share };
            }
        }
    }
}

impl Levels {
    fn new(segment: Segment, keep: u32) -> Self {
        let integers = integer_levels(segment.bits, keep, segment.dim).values;
        let (mut high, mut low) = ([0; 256], [0; 256]);
        for (code, &value) in integers.iter().enumerate() {
            (high[code], low[code]) = if keep <= 4 { (value as i8, 0) } else { halves(value) };
        }
        Self {
            segment,
            width: segment.dim.next_multiple_of(PANEL_STEP),
            entries: 1 << keep,
            high,
            low: (keep > 4).then_some(low),
        }
    }
}
