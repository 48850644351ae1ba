//! Rows that are gone but still stored: one bit a row, in the order of adding.

use crate::bitmap::{WORD, bits};
use crate::storage::{Array, Plain};

/// Which of the rows 0, 1 … are gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gone {
    rows: usize,
    count: usize,
    /// Empty while no row is gone; else one bit a row.
    words: Vec<u64>,
}

impl Gone {
    /// Rows, gone ones among them.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Rows that are gone.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Rows that are not.
    pub(crate) fn live(&self) -> usize {
        self.rows - self.count
    }

    #[inline]
    pub(crate) fn holds(&self, row: usize) -> bool {
        self.words.get(row / WORD).is_some_and(|word| word >> (row % WORD) & 1 == 1)
    }

    /// More rows, none of them gone.
    pub(crate) fn grow(&mut self, more: usize) {
        self.rows += more;
        if !self.words.is_empty() {
            self.words.resize(self.rows.div_ceil(WORD), 0);
        }
    }

    /// Notes that a row is gone; whether it was there before.
    pub(crate) fn insert(&mut self, row: usize) -> bool {
        if self.words.is_empty() {
            self.words.resize(self.rows.div_ceil(WORD), 0);
        }
        let (word, bit) = (&mut self.words[row / WORD], 1 << (row % WORD));
        let new = *word & bit == 0;
        *word |= bit;
        self.count += usize::from(new);
        new
    }

    /// Rows that are gone, ascending, but for those that are in `before`.
    pub(crate) fn since(&self, before: &Self) -> Vec<u64> {
        let words = self.words.iter().enumerate();
        let new = words.map(|(i, word)| (i, word & !before.words.get(i).copied().unwrap_or(0)));
        new.flat_map(|(i, word)| bits(word).map(move |bit| (WORD * i + bit) as u64)).collect()
    }

    /// Rows that are not gone, ascending.
    pub(crate) fn iter_live(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.rows).filter(|&row| !self.holds(row))
    }

    /// The number of every row once those that are gone are dropped.
    pub(crate) fn ranks(&self) -> Ranks<'_> {
        let (mut live, mut before) = (0, Vec::with_capacity(self.words.len() + 1));
        for word in &self.words {
            before.push(live);
            live += word.count_zeros() as usize;
        }
        before.push(live);
        Ranks { words: &self.words, before }
    }

    /// Forgets the rows that are gone.
    pub(crate) fn compact(&mut self) {
        *self = Self { rows: self.live(), ..Self::default() };
    }

    pub(crate) fn nbytes(&self) -> usize {
        8 * self.words.len()
    }
}

/// New numbers of rows.
pub(crate) struct Ranks<'a> {
    words: &'a [u64],
    /// Rows that stay before each word, and before the end.
    before: Vec<usize>,
}

impl Ranks<'_> {
    /// The new number of a row that stays; of any other, of the next that does.
    pub(crate) fn of(&self, row: usize) -> usize {
        if self.words.is_empty() {
            return row;
        }
        let word = self.words.get(row / WORD).map_or(0, |word| !word);
        self.before[row / WORD] + (word & ((1 << (row % WORD)) - 1)).count_ones() as usize
    }
}

/// Keeps the rows of an array of `width` values a row for which `stays` says so, in place.
pub(crate) fn retain<T: Plain>(values: &mut Array<T>, width: usize, stays: impl Fn(usize) -> bool) {
    let values = values.to_mut();
    let rows = values.len().checked_div(width).unwrap_or(0);
    let (mut to, mut from) = (0, 0);
    while from < rows {
        // A run of rows at a time.
        let run = (from..rows).take_while(|&row| stays(row)).count();
        values.copy_within(from * width..(from + run) * width, to * width);
        to += run;
        from += run;
        from += (from..rows).take_while(|&row| !stays(row)).count();
    }
    values.truncate(to * width);
    values.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_ranked_and_dropped() {
        for rows in [1, 63, 64, 65, 200] {
            let mut gone = Gone::default();
            gone.grow(rows);
            let drops = |row: usize| row % 3 == 1 || row == rows - 1;
            for row in (0..rows).filter(|&row| drops(row)) {
                assert!(!gone.holds(row) && gone.insert(row) && gone.holds(row) && !gone.insert(row));
            }
            let stay: Vec<_> = (0..rows).filter(|&row| !drops(row)).collect();
            assert_eq!(gone.iter_live().collect::<Vec<_>>(), stay);
            assert_eq!((gone.live(), gone.count()), (stay.len(), rows - stay.len()));
            let mut before = Gone::default();
            let left: Vec<_> = (0..rows as u64).filter(|&row| drops(row as usize)).collect();
            assert_eq!(gone.since(&before), left);
            before.grow(rows);
            before.insert(left[0] as usize);
            assert_eq!(gone.since(&before), left[1..]);
            assert!(gone.since(&gone.clone()).is_empty());
            let ranks = gone.ranks();
            assert!(stay.iter().enumerate().all(|(rank, &row)| ranks.of(row) == rank));
            let mut values: Array<u64> = (0..2 * rows as u64).collect();
            retain(&mut values, 2, |row| !gone.holds(row));
            assert_eq!(
                values[..],
                stay.iter().flat_map(|&row| [2 * row as u64, 2 * row as u64 + 1]).collect::<Vec<_>>()
            );
            assert_eq!(ranks.of(rows), stay.len());
            gone.grow(3);
            assert_eq!((gone.live(), gone.holds(rows + 2)), (stay.len() + 3, false));
            gone.compact();
            assert_eq!((gone.rows(), gone.count()), (stay.len() + 3, 0));
        }
    }
}
