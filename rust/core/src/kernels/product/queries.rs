//! Queries packed for the product: groups step by step; for AMX groups of up to 64 as its registers are loaded.

use std::array::from_fn;
use std::ops::Range;

use super::{Form, Image, Line, SIXTEEN, TILE};
use crate::kernels::Level;

/// Rows of int8 values, interleaved for one level's kernel.
#[derive(Debug, Clone)]
pub(crate) struct Queries {
    m: usize,
    width: usize,
    form: Form,
    /// Rows of `width`; after [`finish`](Self::finish), groups.
    values: Vec<i8>,
    /// After `finish` the groups of a form of tiles: for every 16 queries an image for each 64 coordinates.
    images: Vec<Image>,
    /// −128·Σq of each query: what rows that are offset by 128 add too much.
    offsets: Vec<i32>,
}

impl Queries {
    /// No queries yet, of `m` values each.
    pub(crate) fn new(level: Level, m: usize) -> Self {
        let (form, values, images, offsets) = (Form::of(level), Vec::new(), Vec::new(), Vec::new());
        Self { m, width: form.width(m), form, values, images, offsets }
    }

    /// Appends one query of values in [−127, 127].
    pub(crate) fn push(&mut self, query: &[i8]) {
        assert_eq!(query.len(), self.m, "queries are equally long");
        self.values.extend_from_slice(query);
        // Zeros: what stands in a panel's padding adds nothing.
        self.values.resize((self.offsets.len() + 1) * self.width, 0);
        // At most 128·65,536·127 = 1,065,353,216 in magnitude.
        self.offsets.push(-128 * query.iter().map(|&q| i32::from(q)).sum::<i32>());
    }

    /// Interleaves the queries; called once, after the last one.
    pub(crate) fn finish(&mut self) {
        let mut rows = std::mem::take(&mut self.values);
        if self.form == Form::Tiles {
            return self.images(&rows);
        }
        if self.form == Form::Columns {
            let sixteens = rows.as_chunks_mut::<SIXTEEN>().0;
            sixteens.iter_mut().for_each(|values| *values = from_fn(|i| values[i % 4 * 4 + i / 4]));
        }
        let step = self.form.coordinates();
        self.values.reserve_exact(rows.len() / step * self.form.bytes());
        for group in rows.chunks(self.form.side_by_side() * self.width) {
            for at in (0..self.width).step_by(step) {
                for values in group.chunks_exact(self.width).map(|query| &query[at..at + step]) {
                    if self.form == Form::TwoWords {
                        let words = values.iter().map(|&q| i16::from(q).to_ne_bytes());
                        self.values.extend(words.flatten().map(|byte| byte as i8));
                    } else {
                        self.values.extend_from_slice(values);
                    }
                }
            }
        }
    }

    /// Puts 64 coordinates of 16 rows into each image, a row a line.
    fn images(&mut self, rows: &[i8]) {
        let steps = self.width / 64;
        self.images = vec![[Line([0; 64]); TILE]; self.offsets.len().div_ceil(TILE) * steps];
        for (q, row) in rows.chunks_exact(self.width).enumerate() {
            let images = &mut self.images[q / TILE * steps..][..steps];
            for (image, values) in images.iter_mut().zip(row.as_chunks::<64>().0) {
                image[q % TILE].0 = *values;
            }
        }
    }

    /// How many queries there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// The numbers of a group's queries.
    pub(super) fn members(&self, group: usize) -> Range<usize> {
        let (len, most) = (self.offsets.len(), self.form.group());
        len.min(group * most)..len.min((group + 1) * most)
    }

    /// The images of a group in a form of tiles.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn images_of(&self, group: usize) -> &[Image] {
        let (members, steps) = (self.members(group), self.width / 64);
        &self.images[members.start / TILE * steps..members.end.div_ceil(TILE) * steps]
    }

    /// The values and offsets of a group in any other form.
    pub(super) fn group(&self, group: usize) -> (&[i8], &[i32]) {
        let members = self.members(group);
        let bytes = self.width / self.form.coordinates() * self.form.bytes();
        (&self.values[members.start * bytes..members.end * bytes], &self.offsets[members])
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }
}
