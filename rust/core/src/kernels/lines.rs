//! Values that start at a cache line: registers of 64 bytes that cross lines make a rotation a third slower.

/// Values of a line.
const LINE: usize = 16;

#[derive(Debug, Clone, Default)]
pub(crate) struct Lines {
    values: Vec<f32>,
    start: usize,
    len: usize,
}

impl Lines {
    /// `len` values to be written: what is there is from before.
    pub(crate) fn of(&mut self, len: usize) -> &mut [f32] {
        if self.values.len() < len + LINE - 1 {
            self.values.resize(len + LINE - 1, 0.0);
            self.start = (self.values.as_ptr().addr() / size_of::<f32>()).wrapping_neg() % LINE;
        }
        self.len = len;
        &mut self.values[self.start..][..len]
    }

    pub(crate) fn values(&self) -> &[f32] {
        &self.values[self.start..][..self.len]
    }
}

impl FromIterator<f32> for Lines {
    fn from_iter<I: IntoIterator<Item = f32>>(values: I) -> Self {
        let values: Vec<_> = values.into_iter().collect();
        let mut lines = Self::default();
        lines.of(values.len()).copy_from_slice(&values);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_start_at_a_line_and_stay() {
        for len in 0..100_u8 {
            let (lines, before): (Lines, Vec<_>) =
                ((0..len).map(f32::from).collect(), (0..len).map(f32::from).collect());
            assert_eq!(lines.values(), before);
            assert_eq!(lines.values().as_ptr().addr() % 64, 0);
            assert_eq!(lines.clone().values(), before);
        }
        let mut lines = Lines::default();
        for len in [0, 5, 100, 3] {
            assert_eq!((lines.of(len).len(), lines.values().len()), (len, len));
        }
    }
}
