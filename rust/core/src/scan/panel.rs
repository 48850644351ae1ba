//! Panels: blocks of rows decoded to int8 levels, and their products with queries.

use std::ops::Range;

use super::PANEL_ROWS;
use super::query::{PreparedQueries, SegmentQueries};
use crate::codebook::{halves, integer_levels};
use crate::codec::{Segment, TurboQuant};
use crate::codes::CodesView;
use crate::error::Result;
use crate::kernels::Level;
use crate::kernels::prefetch::prefetch;
use crate::kernels::product::{GROUP, Panel, Queries, TILE, products};
use crate::kernels::scores::{Worth, from_halves, from_products};
use crate::kernels::units::Place;
use crate::parallel::Exec;
use crate::units::{MOST_UNITS, units_of};

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

    /// Asks for part `part` of `parts` of the bytes of some rows.
    fn prefetch(&self, rows: Range<usize>, part: usize, parts: usize) {
        let mut last = std::ptr::null();
        for &(bytes, Place { stride, .. }) in self.segments.iter().flatten() {
            // Units of packed rows, and those of a stage, lie in one array.
            if bytes.as_ptr() != last {
                let (start, len) = (rows.start * stride, rows.len() * stride);
                prefetch(&bytes[start + len * part / parts..start + len * (part + 1) / parts]);
                last = bytes.as_ptr();
            }
        }
    }
}

/// Integer levels of a segment, by code.
#[derive(Debug)]
struct Levels {
    segment: Segment,
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
    /// The decoded rows of each segment: levels, or their high and low bytes.
    panels: Vec<[Panel; 2]>,
    /// Products of a group of queries: whole in the first, or those of the bytes high·high, high·low, low·high, low·low.
    products: [Vec<i32>; 4],
    /// Scales of the panel's rows, a segment after the other.
    scales: Vec<f32>,
    scores: Vec<f32>,
}

impl Scanner {
    pub(crate) fn new(codec: &TurboQuant, keep: &[u32], exec: Exec) -> Result<Self> {
        let segments = codec.spec().segments.iter().zip(keep);
        let levels: Vec<_> = segments.map(|(&segment, &keep)| Levels::new(segment, keep)).collect();
        Ok(Self {
            level: exec.level()?,
            panels: levels.iter().map(|_| Default::default()).collect(),
            levels,
            products: [const { Vec::new() }; 4],
            scales: Vec::new(),
            scores: vec![0.0; GROUP * PANEL_ROWS],
        })
    }

    /// Scores `queries` against rows `range`, a panel of n ≤ [`PANEL_ROWS`] rows and a group of queries at a time:
    /// `each(queries, rows, scores)`, where query j's n scores start at j·[`PANEL_ROWS`]. The scores are the callee's to overwrite.
    pub(crate) fn scan(
        &mut self,
        rows: &Rows<'_>,
        range: Range<usize>,
        queries: &PreparedQueries,
        mut each: impl FnMut(Range<usize>, Range<usize>, &mut [f32]),
    ) {
        for first in range.clone().step_by(PANEL_ROWS) {
            let n = PANEL_ROWS.min(range.end - first);
            self.scales.clear();
            for i in 0..self.levels.len() {
                self.decode(i, &rows.segments[i], first, n);
                let scales = &rows.scales[first * self.levels.len()..(first + n) * self.levels.len()];
                self.scales.extend(scales.iter().skip(i).step_by(self.levels.len()));
            }
            let groups = queries.len().div_ceil(GROUP);
            // While this panel is multiplied, the next one is on its way: after all those products no stream is remembered.
            let next = first + n..range.end.min(first + n + PANEL_ROWS);
            for group in 0..groups {
                rows.prefetch(next.clone(), group, groups);
                let members = group * GROUP..queries.len().min((group + 1) * GROUP);
                for (i, segment) in queries.segments.iter().enumerate() {
                    self.add_segment(i, n, segment, group, members.clone());
                }
                each(members, first..first + n, &mut self.scores);
            }
        }
    }

    /// Decodes segment `i` of rows `first .. first + n` to its panel of int8 levels, or to two of bytes.
    fn decode(&mut self, i: usize, units: &[(&[u8], Place)], first: usize, n: usize) {
        let (level, levels) = (self.level, &self.levels[i]);
        let tables = [Some(&levels.high), levels.low.as_ref()];
        for (panel, table) in self.panels[i].iter_mut().zip(tables).filter_map(|(panel, table)| Some((panel, table?))) {
            panel.begin(level, n, levels.segment.dim);
            for (tile, start) in (first..first + n).step_by(TILE).enumerate() {
                let rows = start..(first + n).min(start + TILE);
                let mut of_rows = [(&[][..], Place::default()); MOST_UNITS];
                for (to, &(array, place)) in of_rows.iter_mut().zip(units) {
                    *to = (&array[rows.start * place.stride..rows.end * place.stride], place);
                }
                panel.fill(level, tile, &of_rows[..units.len()], table, levels.entries);
            }
        }
    }

    /// Adds segment `i`'s share to the scores of one group of queries.
    fn add_segment(&mut self, i: usize, n: usize, queries: &SegmentQueries, group: usize, members: Range<usize>) {
        let (level, [high, low]) = (self.level, &self.panels[i]);
        let stride = high.padded_rows();
        let scales = &self.scales[i * n..(i + 1) * n];
        let worth = Worth { factors: &queries.factors[members], scales, first: i == 0, stride };
        let places = worth.factors.len() * stride;
        let multiply = |out: &mut Vec<i32>, queries: &Queries, panel: &Panel| {
            out.resize(places, 0);
            products(level, queries, group, panel, out);
        };
        let [hh, hl, lh, ll] = &mut self.products;
        multiply(hh, &queries.high, high);
        if let Some(low_queries) = &queries.low {
            multiply(hl, &queries.high, low);
            multiply(lh, low_queries, high);
            multiply(ll, low_queries, low);
            from_halves(level, [hh, hl, lh, ll], worth, &mut self.scores);
        } else {
            from_products(level, hh, worth, &mut self.scores);
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
            entries: 1 << keep,
            high,
            low: (keep > 4).then_some(low),
        }
    }
}
