//! Panels: blocks of rows decoded to int8 levels, and their products with queries.

use std::ops::Range;

use super::PANEL_ROWS;
use super::first_stage::FirstStage;
use super::join;
use super::query::{GroupQueries, PreparedQueries};
use crate::codebook::halves;
use crate::codec::{Group, TurboQuant};
use crate::codes::CodesView;
use crate::kernels::Level;
use crate::kernels::prefetch::prefetch;
use crate::kernels::product::{Panel, Queries, TILE, group_size, products};
use crate::kernels::scores::{Worth, finish, from_halves, from_products};
use crate::kernels::units::Place;
use crate::units::{MOST_UNITS, Unit};

/// Where the units of all segments lie: packed rows, or one array a stage.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    /// For each segment its units: the array and the place in its rows.
    pub(crate) segments: Vec<Vec<(&'a [u8], Place)>>,
    /// Scales, one a norm and row.
    pub(crate) scales: &'a [f32],
    /// Where the units are whose arrays are empty: the first stage, in blocks.
    pub(crate) first: Option<&'a FirstStage>,
}

impl<'a> Rows<'a> {
    /// The units of packed rows.
    pub(crate) fn packed(codec: &TurboQuant, codes: &CodesView<'a>) -> Self {
        let place = |unit: Unit| (codes.packed, unit.place(codes.row_bytes));
        let segments = codec.spec().units(codes.keep).into_iter();
        let segments = segments.map(|units| units.into_iter().map(place).collect());
        Self { segments: segments.collect(), scales: codes.scales, first: None }
    }

    /// Asks for part `part` of `parts` of the bytes of some rows.
    fn prefetch(&self, rows: Range<usize>, part: usize, parts: usize) {
        let mut last = [].as_ptr();
        if let Some(first) = self.first.filter(|_| !rows.is_empty()) {
            first.prefetch(rows.clone(), part, parts);
        }
        for &(bytes, Place { stride, .. }) in self.segments.iter().flatten() {
            // Units of packed rows, and those of a stage, lie in one array; that of units in blocks is empty.
            if bytes.as_ptr() != last && !bytes.is_empty() {
                let (start, len) = (rows.start * stride, rows.len() * stride);
                prefetch(&bytes[start + len * part / parts..start + len * (part + 1) / parts]);
                last = bytes.as_ptr();
            }
        }
    }
}

/// Parts in which the bytes of a panel are asked for, so that its products take longer than each.
const PARTS: usize = 16;
/// Where fewer groups of queries share a panel, nothing is asked for.
const FEW_GROUPS: usize = 4;

/// Integer levels of a group of segments, by code.
#[derive(Debug)]
struct Levels {
    group: Group,
    entries: usize,
    high: [i8; 256],
    /// Low bytes of two-byte levels.
    low: Option<[i8; 256]>,
}

/// Scores blocks of rows; holds the buffers of one task.
#[derive(Debug)]
pub(crate) struct Scanner {
    levels: Vec<Levels>,
    /// The decoded rows of each group: levels, or their high and low bytes.
    panels: Vec<[Panel; 2]>,
    /// Products of a group of queries: whole in the first, or those of the bytes high·high, high·low, low·high, low·low.
    products: [Vec<i32>; 4],
    norms: usize,
    /// Whether all groups share one scale, which then multiplies their sum.
    shared: bool,
    /// Units of a group's segments side by side.
    joined: join::Joined,
    /// Scales of the panel's rows, a norm after the other; what multiplies each group's share where they share one.
    scales: Vec<f32>,
    ones: [f32; PANEL_ROWS],
    scores: Vec<f32>,
    /// The first stage of the panel's rows, from a block.
    first: Vec<u8>,
    /// Codes of a tile.
    codes: Vec<u8>,
}

impl Scanner {
    pub(crate) fn new(codec: &TurboQuant, keep: &[u32]) -> Self {
        let levels: Vec<_> = codec.groups(keep).into_iter().map(Levels::new).collect();
        let norms = codec.spec().norms();
        Self {
            panels: levels.iter().map(|_| Default::default()).collect(),
            norms,
            shared: norms < levels.len(),
            joined: join::Joined::default(),
            ones: [1.0; PANEL_ROWS],
            levels,
            products: [const { Vec::new() }; 4],
            scales: Vec::new(),
            scores: Vec::new(),
            first: Vec::new(),
            codes: Vec::new(),
        }
    }

    /// Scores `queries` against rows `range`, a panel of n ≤ [`PANEL_ROWS`] rows and a group of queries at a time:
    /// `each(queries, rows, first stages, scores)`, where query j's n scores start at j·[`PANEL_ROWS`]. The scores are the callee's to
    /// overwrite; the first stages are the rows' bytes of what lies in blocks.
    pub(crate) fn scan(
        &mut self,
        rows: &Rows<'_>,
        range: Range<usize>,
        queries: &PreparedQueries,
        mut each: impl FnMut(Range<usize>, Range<usize>, &[u8], &mut [f32]),
    ) {
        let (level, most) = (queries.level, group_size(queries.level));
        self.scores.resize(most * PANEL_ROWS, 0.0);
        for first in range.clone().step_by(PANEL_ROWS) {
            let n = PANEL_ROWS.min(range.end - first);
            self.scales.clear();
            if let Some(stage) = rows.first {
                stage.planes(first..first + n, &mut self.first);
            }
            for i in 0..self.levels.len() {
                self.decode(level, i, rows, first, n);
            }
            let scales = &rows.scales[first * self.norms..(first + n) * self.norms];
            (0..self.norms).for_each(|i| self.scales.extend(scales.iter().skip(i).step_by(self.norms)));
            let groups = queries.len().div_ceil(most);
            let every = groups.div_ceil(PARTS);
            // While this panel is multiplied, the next one is on its way: after all those products no stream is remembered. After few of
            // them it is, and all requests at once would wait for memory.
            let next = first + n..range.end.min(first + n + PANEL_ROWS);
            for group in 0..groups {
                if groups >= FEW_GROUPS && group.is_multiple_of(every) {
                    rows.prefetch(next.clone(), group / every, groups.div_ceil(every));
                }
                let members = group * most..queries.len().min((group + 1) * most);
                for (i, queries) in queries.groups.iter().enumerate() {
                    self.add_group(level, (i, n), queries, group, members.clone());
                }
                let scales = if self.shared { &self.scales[..n] } else { &self.ones[..n] };
                let center = queries.center.as_ref().map(|center| &center[members.clone()]);
                if self.norms > 1 {
                    // Shares beyond float32 with opposite signs.
                    let scores = &mut self.scores[..members.len() * PANEL_ROWS];
                    scores.iter_mut().filter(|score| score.is_nan()).for_each(|score| *score = 0.0);
                }
                if self.shared || center.is_some() {
                    finish(level, members.len(), scales, center, &mut self.scores);
                }
                each(members, first..first + n, &self.first, &mut self.scores);
            }
        }
    }

    /// Decodes group `i` of rows `first .. first + n` to its panel of int8 levels, or to two of bytes.
    fn decode(&mut self, level: Level, i: usize, rows: &Rows<'_>, first: usize, n: usize) {
        let levels = &self.levels[i];
        // The units of the panel's rows.
        let of_rows = |segment: usize| {
            let units = rows.segments[segment].iter().map(|&(array, place)| {
                let bytes = first * place.stride..(first + n) * place.stride;
                (if array.is_empty() { &self.first[..] } else { &array[bytes] }, place)
            });
            units.collect::<Vec<_>>()
        };
        let units = if let [(segment, _)] = levels.group.segments[..] {
            of_rows(segment)
        } else {
            let segments: Vec<_> = levels.group.segments.iter().map(|&(segment, _)| of_rows(segment)).collect();
            self.joined.units(level, &levels.group, &segments, n)
        };
        let [high, low] = &mut self.panels[i];
        high.begin(level, n, levels.group.dim);
        if levels.low.is_some() {
            low.begin(level, n, levels.group.dim);
        }
        for (tile, start) in (0..n).step_by(TILE).enumerate() {
            let rows = start..n.min(start + TILE);
            let mut of_tile = [(&[][..], Place::default()); MOST_UNITS];
            for (to, &(bytes, place)) in of_tile.iter_mut().zip(&units) {
                *to = (&bytes[rows.start * place.stride..rows.end * place.stride], place);
            }
            let (units, entries, codes) = (&of_tile[..units.len()], levels.entries, &mut self.codes);
            match &levels.low {
                None => Panel::fill([high], level, tile, units, [&levels.high], entries, codes),
                Some(table) => Panel::fill([high, low], level, tile, units, [&levels.high, table], entries, codes),
            }
        }
    }

    /// Adds group `i`'s share to the scores of one group of queries.
    fn add_group(
        &mut self,
        level: Level,
        (i, n): (usize, usize),
        queries: &GroupQueries,
        group: usize,
        members: Range<usize>,
    ) {
        let [high, low] = &self.panels[i];
        let stride = high.padded_rows();
        let scales = if self.shared { &self.ones[..n] } else { &self.scales[i * n..(i + 1) * n] };
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
    fn new(group: Group) -> Self {
        let one_byte = group.one_byte();
        let (mut high, mut low) = ([0; 256], [0; 256]);
        for (code, &value) in group.levels().values.iter().enumerate() {
            (high[code], low[code]) = if one_byte { (value as i8, 0) } else { halves(value) };
        }
        Self { entries: 1 << group.keep, group, high, low: (!one_byte).then_some(low) }
    }
}
