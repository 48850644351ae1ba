//! Queries packed for the product: groups of up to 12, step by step.

use super::{Form, GROUP, WIDTH};
use crate::kernels::Level;

/// Rows of int8 values, interleaved for one level's kernel.
#[derive(Debug, Clone)]
pub(crate) struct Queries {
    m: usize,
    width: usize,
    form: Form,
    /// Rows of `width`; after [`finish`](Self::finish), groups.
    values: Vec<i8>,
    /// −128·Σq of each query: what rows that are offset by 128 add too much.
    offsets: Vec<i32>,
}

impl Queries {
    /// No queries yet, of `m` values each.
    pub(crate) fn new(level: Level, m: usize) -> Self {
        let (values, offsets) = (Vec::new(), Vec::new());
        Self { m, width: m.next_multiple_of(WIDTH), form: Form::of(level), values, offsets }
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
        let rows = std::mem::take(&mut self.values);
        let step = self.form.coordinates();
        self.values.reserve_exact(rows.len() / step * self.form.bytes());
        for group in rows.chunks(GROUP * self.width) {
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

    /// Groups of up to 12 queries.
    #[cfg(test)]
    pub(super) fn groups(&self) -> usize {
        self.offsets.len().div_ceil(GROUP)
    }

    /// The values and offsets of a group.
    pub(super) fn group(&self, group: usize) -> (&[i8], &[i32]) {
        let first = group * GROUP;
        let end = self.offsets.len().min(first + GROUP);
        let bytes = self.width / self.form.coordinates() * self.form.bytes();
        (&self.values[first * bytes..end * bytes], &self.offsets[first..end])
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }
}
