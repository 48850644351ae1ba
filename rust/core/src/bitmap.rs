//! A set of rows, one bit each, in words of 64: a word is a panel of a scan, four blocks of a first stage.

use std::ops::Range;

/// Rows of a word.
pub(crate) const WORD: usize = u64::BITS as usize;

/// A set of rows among the first `len`; rows from there on are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    /// No row at all.
    pub(crate) const NONE: Self = Self { words: Vec::new(), len: 0 };

    /// No row of `len`.
    pub(crate) fn none(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(WORD)], len }
    }

    /// Those of `len` rows for which `has` holds, asked in ascending order.
    pub(crate) fn of(len: usize, mut has: impl FnMut(usize) -> bool) -> Self {
        let word = |first: usize| {
            let rows = first..len.min(first + WORD);
            rows.fold(0, |word, row| word | u64::from(has(row)) << (row % WORD))
        };
        Self { words: (0..len).step_by(WORD).map(word).collect(), len }
    }

    /// Puts a row in; it must be one of the first `len`.
    pub(crate) fn insert(&mut self, row: usize) {
        assert!(row < self.len, "row {row} of {}", self.len);
        self.words[row / WORD] |= 1 << (row % WORD);
    }

    /// More rows, none of them in it.
    pub(crate) fn grow(&mut self, len: usize) {
        self.len = len;
        self.words.resize(len.div_ceil(WORD), 0);
    }

    /// Rows 64·i … 64·i + 63, the lowest in the lowest bit.
    #[inline]
    pub(crate) fn word(&self, i: usize) -> u64 {
        self.words.get(i).copied().unwrap_or(0)
    }

    /// Whether a row is in it.
    pub(crate) fn holds(&self, row: usize) -> bool {
        self.word(row / WORD) >> (row % WORD) & 1 == 1
    }

    /// Rows in it.
    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The set that `word` makes of the words of two sets.
    pub(crate) fn combined(&self, other: &Self, word: impl Fn(u64, u64) -> u64) -> Self {
        let words = 0..self.words.len().max(other.words.len());
        Self { words: words.map(|i| word(self.word(i), other.word(i))).collect(), len: self.len.max(other.len) }
    }

    /// The rows of the first `len` that are not in it.
    pub(crate) fn complement(&self) -> Self {
        let mut words: Vec<_> = self.words.iter().map(|word| !word).collect();
        if let (Some(last), rows @ 1..) = (words.last_mut(), self.len % WORD) {
            *last &= lowest(rows);
        }
        Self { words, len: self.len }
    }

    /// Bytes held.
    pub(crate) fn nbytes(&self) -> usize {
        size_of_val(&self.words[..])
    }
}

/// The rows that a scan may return.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed<'a> {
    /// Those of a filter; without one, all.
    filter: Option<&'a Bitmap>,
    /// But not these.
    gone: Option<&'a Bitmap>,
    /// Rows there are.
    len: usize,
}

impl<'a> Allowed<'a> {
    /// Those of `len` rows that a filter has, if there is one, but for those that are gone.
    pub(crate) fn new(filter: Option<&'a Bitmap>, gone: Option<&'a Bitmap>, len: usize) -> Self {
        Self { filter, gone, len }
    }

    /// Whether no row is left out, so that nothing needs to be looked up.
    pub(crate) fn all(&self) -> bool {
        self.filter.is_none() && self.gone.is_none()
    }

    /// Rows 64·i … 64·i + 63, the lowest in the lowest bit.
    #[inline]
    pub(crate) fn word(&self, i: usize) -> u64 {
        let filter = self.filter.map_or(u64::MAX, |filter| filter.word(i));
        filter & !self.gone.map_or(0, |gone| gone.word(i)) & lowest(self.len.saturating_sub(i * WORD))
    }

    /// Rows that may be returned.
    pub(crate) fn count(&self) -> usize {
        let words = 0..self.len.div_ceil(WORD);
        if self.all() { self.len } else { words.map(|i| self.word(i).count_ones() as usize).sum() }
    }

    /// Appends one row in `every`, after `skip` others; returns how many are left to skip before the next.
    pub(crate) fn every(&self, every: usize, mut skip: usize, rows: &mut Vec<usize>) -> usize {
        for i in 0..self.len.div_ceil(WORD) {
            let word = self.word(i);
            let held = word.count_ones() as usize;
            if skip < held {
                rows.extend(bits(word).skip(skip).step_by(every).map(|row| i * WORD + row));
                skip += (held - skip).next_multiple_of(every);
            }
            skip -= held;
        }
        skip
    }

    /// The rows of blocks of so many, which start in the given places and lie in a word each, side by side in one word.
    pub(crate) fn blocks(&self, firsts: &[usize], rows: usize) -> u64 {
        let block = |first: usize| self.word(first / WORD) >> (first % WORD) & (u64::MAX >> (WORD - rows));
        firsts.iter().enumerate().fold(0, |word, (i, &first)| word | block(first) << (i * rows))
    }

    /// The longest runs of parts of `range`, which starts a word, of `rows` rows that divide a word, that have an allowed row; without a
    /// filter `range` is one.
    pub(crate) fn parts(self, range: Range<usize>, rows: usize, runs: &mut Vec<Range<usize>>) {
        runs.clear();
        if self.all() {
            runs.push(range);
            return;
        }
        for first in range.clone().step_by(WORD) {
            let (mut word, mut start) = (self.word(first / WORD), first);
            while word != 0 {
                if word & (u64::MAX >> (WORD - rows)) != 0 {
                    match runs.last_mut() {
                        Some(run) if run.end == start => run.end += rows,
                        _ => runs.push(start..start + rows),
                    }
                }
                word = word.checked_shr(rows as u32).unwrap_or(0);
                start += rows;
            }
        }
        if let Some(last) = runs.last_mut() {
            last.end = last.end.min(range.end);
        }
    }

    /// The longest runs of words of `range`, which starts a word, for which `holds` does; without a filter `range` is one.
    pub(crate) fn runs(self, range: Range<usize>, holds: impl Fn(u64) -> bool) -> impl Iterator<Item = Range<usize>> {
        let mut next = range.start;
        std::iter::from_fn(move || {
            if self.all() {
                return Some(std::mem::replace(&mut next, range.end)..range.end).filter(|run| !run.is_empty());
            }
            let mut words = (next..range.end).step_by(WORD).skip_while(|first| !holds(self.word(first / WORD)));
            let start = words.next()?;
            next = words.find(|first| !holds(self.word(first / WORD))).unwrap_or(range.end);
            Some(start..next)
        })
    }
}

/// The lowest `n` bits of a word, or all.
#[inline]
fn lowest(n: usize) -> u64 {
    if n < WORD { (1 << n) - 1 } else { u64::MAX }
}

/// The bits that are set, ascending.
#[inline]
pub(crate) fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize);
        word &= word.wrapping_sub(1);
        bit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_the_words_that_hold() {
        let set = Bitmap::of(64 * 9 + 5, |row| [1, 2, 5, 8, 9].contains(&(row / WORD)));
        let (allowed, len) = (Allowed::new(Some(&set), None, set.len), set.len);
        let runs = |range: Range<usize>| allowed.runs(range, |word| word != 0).collect::<Vec<_>>();
        assert_eq!(runs(0..len), [64..192, 320..384, 512..len]);
        assert_eq!(runs(128..350), [128..192, 320..350]);
        assert_eq!((runs(192..320), runs(64..64)), (vec![], vec![]));
        let some = Bitmap::of(300, |row| [3, 64, 80, 81, 127, 295].contains(&row));
        let parts = |range, rows| {
            let mut runs = Vec::new();
            runs.push(7..9);
            Allowed::new(Some(&some), None, 300).parts(range, rows, &mut runs);
            runs
        };
        assert_eq!(Allowed::new(Some(&some), None, 300).blocks(&[80, 0, 288], 16), 3 | 1 << 19 | 1 << 39);
        assert_eq!(parts(0..300, 16), [0..16, 64..96, 112..128, 288..300]);
        assert_eq!(parts(64..128, 16), [64..96, 112..128]);
        let last = Bitmap::of(70, |row| row >= 64);
        let mut runs = Vec::new();
        Allowed::new(None, Some(&last), 70).parts(64..70, 16, &mut runs);
        assert!(runs.is_empty(), "{runs:?}");
        let words = |len| [0, 1, 2].map(|i| Allowed::new(None, None, len).word(i).count_ones());
        assert_eq!((words(70), words(64), words(0)), ([64, 6, 0], [64, 0, 0], [0; 3]));
        assert_eq!(parts(0..300, 64), [0..128, 256..300]);
        let all = |range: Range<usize>| Allowed::new(None, None, 100).runs(range, |word| word != 0).collect::<Vec<_>>();
        let gone = Bitmap::of(200, |row| row < 100);
        let but = Allowed::new(Some(&set), Some(&gone), set.len);
        assert_eq!((but.word(0), but.word(1), but.word(2), but.all()), (0, u64::MAX << 36, u64::MAX, false));
        assert_eq!((all(64..100).len(), all(64..100)[0].clone(), all(64..64).len()), (1, 64..100, 0));
    }

    #[test]
    fn every_so_many_rows_over_sets() {
        let sets = [200, 1, 64, 130].map(|len| (len, Bitmap::of(len, |row| row % 3 != 1)));
        for every in [1, 7, 64, 65, 300] {
            let (mut skip, mut all, mut got) = (every / 2, Vec::new(), Vec::new());
            for (i, (len, set)) in sets.iter().enumerate() {
                let allowed = Allowed::new((i != 2).then_some(set), None, *len);
                let mut rows = Vec::new();
                skip = allowed.every(every, skip, &mut rows);
                got.extend(rows.into_iter().map(|row| (i, row)));
                let held = (0..*len).filter(|row| allowed.word(row / WORD) >> (row % WORD) & 1 == 1);
                let before = all.len();
                all.extend(held.map(|row| (i, row)));
                assert_eq!(allowed.count(), all.len() - before);
            }
            assert_eq!(got, all.into_iter().skip(every / 2).step_by(every).collect::<Vec<_>>(), "{every}");
        }
    }

    #[test]
    fn words_hold_the_rows() {
        for len in [0, 1, 63, 64, 65, 128, 200] {
            let thirds = Bitmap::of(len, |row| row % 3 == 0);
            let mut inserted = Bitmap::none(len);
            (0..len).step_by(3).for_each(|row| inserted.insert(row));
            assert_eq!(thirds, inserted);
            let rows = |set: &Bitmap| -> Vec<_> {
                (0..len.div_ceil(WORD) + 2).flat_map(|i| bits(set.word(i)).map(move |bit| WORD * i + bit)).collect()
            };
            assert_eq!(rows(&thirds), (0..len).step_by(3).collect::<Vec<_>>());
            assert_eq!(rows(&thirds.complement()), (0..len).filter(|row| row % 3 != 0).collect::<Vec<_>>());
            let even = Bitmap::of(len, |row| row % 2 == 0);
            let both = thirds.combined(&even, |a, b| a & b);
            assert_eq!(rows(&both), (0..len).step_by(6).collect::<Vec<_>>());
            assert_eq!(both.count(), len.div_ceil(6));
        }
    }
}
