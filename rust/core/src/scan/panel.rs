//! Panels: blocks of rows decoded to int8 levels, and their products with queries.

use std::ops::Range;

use super::PANEL_ROWS;
use super::query::{GroupQueries, PreparedQueries};
use crate::codebook::{halves, integer_levels};
use crate::codec::{Group, TurboQuant};
use crate::codes::CodesView;
use crate::error::Result;
use crate::kernels::Level;
use crate::kernels::dot::{PANEL_STEP, add_products};
use crate::kernels::lookup;
use crate::kernels::units::{self, Place};
use crate::parallel::Exec;

/// Where the units of all segments lie: packed rows, or one array a stage.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    /// For each segment its units: the array and the place in its rows.
    pub(crate) segments: Vec<Vec<(&'a [u8], Place)>>,
    /// Scales, one a norm and row.
    pub(crate) scales: &'a [f32],
}

impl<'a> Rows<'a> {
    /// The units of packed rows.
    pub(crate) fn packed(codec: &TurboQuant, codes: &CodesView<'a>) -> Self {
        let segments = codec.spec().units(codes.keep).into_iter();
        let place = |unit: crate::units::Unit| (codes.packed, unit.place(codes.row_bytes));
        let segments = segments.map(|units| units.into_iter().map(place).collect());
        Self { segments: segments.collect(), scales: codes.scales }
    }
}

/// Integer levels of a group of segments, by code.
#[derive(Debug)]
struct Levels {
    group: Group,
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
    norms: usize,
    /// Whether all groups of a row share its scale, which then multiplies their sum.
    one_scale: bool,
    codes: Vec<u8>,
    /// Codes of one of several segments.
    part: Vec<u8>,
    high: Vec<i8>,
    low: Vec<i8>,
    products: [Vec<i32>; 3],
    /// Products of a group as float32.
    rounded: Vec<f32>,
    row_scales: Vec<f32>,
    scores: Vec<f32>,
}

impl Scanner {
    pub(crate) fn new(codec: &TurboQuant, keep: &[u32], exec: Exec) -> Result<Self> {
        Ok(Self {
            level: exec.level()?,
            levels: codec.groups(keep).into_iter().map(Levels::new).collect(),
            norms: codec.spec().norms(),
            one_scale: codec.transform.is_some(),
            codes: Vec::new(),
            part: Vec::new(),
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
                self.decode(i, rows, first, n);
                self.add_group(i, rows, first, n, &queries.groups[i]);
            }
            if self.one_scale {
                let scales = &rows.scales[first..first + n];
                for scores in self.scores.chunks_exact_mut(n) {
                    scores.iter_mut().zip(scales).for_each(|(score, scale)| *score *= scale);
                }
            }
            if let Some(center) = &queries.center {
                for (scores, share) in self.scores.chunks_exact_mut(n).zip(center) {
                    scores.iter_mut().for_each(|score| *score += share);
                }
            }
            for (query, scores) in self.scores.chunks_exact(n).enumerate() {
                each(query, first, scores);
            }
        }
    }

    /// Decodes group `i` of rows `first .. first + n` to a panel of int8 levels.
    fn decode(&mut self, i: usize, rows: &Rows<'_>, first: usize, n: usize) {
        let levels = &self.levels[i];
        let m = levels.group.dim;
        self.codes.clear();
        self.codes.resize(n * m, 0);
        let mut start = 0;
        for &(segment, dim) in &levels.group.segments {
            let whole = dim == m;
            let codes = if whole { &mut self.codes } else { &mut self.part };
            codes.clear();
            codes.resize(n * dim, 0);
            for &(bytes, place) in &rows.segments[segment] {
                let block = &bytes[first * place.stride..(first + n) * place.stride];
                units::unpack(self.level, block, dim, place, codes);
            }
            if !whole {
                for (part, row) in self.part.chunks_exact(dim).zip(self.codes.chunks_exact_mut(m)) {
                    row[start..start + dim].copy_from_slice(part);
                }
            }
            start += dim;
        }
        let fill = |table: &[i8; 256], panel: &mut Vec<i8>| {
            panel.resize(n * levels.width, 0);
            for (codes, row) in self.codes.chunks_exact(m).zip(panel.chunks_exact_mut(levels.width)) {
                lookup::integers(self.level, codes, table, levels.entries, &mut row[..m]);
                // The panel may hold another group's longer rows.
                row[m..].fill(0);
            }
        };
        fill(&levels.high, &mut self.high);
        if let Some(low) = &levels.low {
            fill(low, &mut self.low);
        }
    }

    /// Adds group `i`'s share to the scores, of a fitted codec without its scale.
    fn add_group(&mut self, i: usize, rows: &Rows<'_>, first: usize, n: usize, queries: &GroupQueries) {
        let Levels { width, ref low, .. } = self.levels[i];
        let (level, norms) = (self.level, self.norms);
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
        if self.one_scale {
            self.row_scales.resize(n, 1.0);
        } else {
            self.row_scales.extend(scales.iter().skip(i).step_by(norms));
        }
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
    fn new(group: Group) -> Self {
        let Group { bits, keep, table_dim, dim, .. } = group;
        let integers = integer_levels(bits, keep, table_dim).values;
        let (mut high, mut low) = ([0; 256], [0; 256]);
        for (code, &value) in integers.iter().enumerate() {
            (high[code], low[code]) = if keep <= 4 { (value as i8, 0) } else { halves(value) };
        }
        Self {
            group,
            width: dim.next_multiple_of(PANEL_STEP),
            entries: 1 << keep,
            high,
            low: (keep > 4).then_some(low),
        }
    }
}
