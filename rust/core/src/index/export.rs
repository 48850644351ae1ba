//! Rows as a copy elsewhere, on a GPU, needs them: whole codes one after another, with what a ranking reads beside them.

use std::ops::Range;

use super::{Filter, Index};
use crate::error::Result;

/// Rows of one codec of an index: packed codes, scales, and what else a search reads of them, in the order of adding.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowCopy {
    /// Packed codes, one row after another.
    pub packed: Vec<u8>,
    /// Scales, one a row (two with outliers).
    pub scales: Vec<f32>,
    /// Bounds of the first stage, the ratio in the low half and the spread in the high one; empty where codes have none.
    pub bounds: Vec<u32>,
    /// |x|² with metric l2, else empty.
    pub squares: Vec<f32>,
    /// Numbers of the rows in the order of adding, ascending.
    pub numbers: Vec<u64>,
}

/// What the numbers of rows stand for; equal ones stand for the same rows, of which more may be removed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowState {
    /// How often removed rows' place was taken back, which gives rows new numbers.
    pub changes: u64,
    /// Rows that are stored, removed ones among them.
    pub stored: usize,
    /// Removed rows among them.
    pub removed: usize,
}

impl Index {
    /// Which rows are stored.
    #[must_use]
    pub fn row_state(&self) -> RowState {
        RowState { changes: self.numbering.changes(), stored: self.stored(), removed: self.removed() }
    }

    /// Ids of all stored rows in the order of adding, removed ones among them.
    ///
    /// # Errors
    /// Those of a mapped file that is damaged.
    pub fn stored_ids(&self) -> Result<&[i64]> {
        self.check_numbers()?;
        Ok(self.ids.all())
    }

    /// The rows with numbers in a range, of the codec (`plain` false), or of those that it codes badly.
    ///
    /// # Errors
    /// Those of a mapped file that is damaged.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use turboquant_rs::{Index, Metric, Options, TurboQuant};
    /// let mut index = Index::new(Arc::new(TurboQuant::new(8, 4, Options::default())?), Metric::InnerProduct);
    /// index.add(&[0.5; 3 * 8], None)?;
    /// let rows = index.copy_rows(1..3, false)?;
    /// assert_eq!((rows.packed.len(), rows.bounds.len(), rows.numbers), (2 * 4, 2, vec![1, 2]));
    /// # Ok::<(), turboquant_rs::Error>(())
    /// ```
    pub fn copy_rows(&self, numbers: Range<usize>, plain: bool) -> Result<RowCopy> {
        let mut copy = RowCopy::default();
        for partition in self.partitions.iter().skip(usize::from(plain)).step_by(self.kinds) {
            partition.check_numbers()?;
            let places: Vec<_> = partition.places_of(numbers.clone()).collect();
            partition.pack(&places, &mut copy.packed, &mut copy.scales)?;
            let Some((&first, &last)) = places.first().zip(places.last()) else { continue };
            copy.bounds.extend(partition.first().iter().flat_map(|(stage, _)| stage.bounds(first..last + 1)));
            copy.squares.extend(partition.squares_of(first..last + 1));
            copy.numbers.extend(places.iter().map(|&place| partition.number(place) as u64));
        }
        Ok(copy)
    }

    /// How many rows [`copy_rows`](Self::copy_rows) copies.
    ///
    /// # Errors
    /// Those of a mapped file that is damaged.
    pub fn count_rows(&self, numbers: Range<usize>, plain: bool) -> Result<usize> {
        self.check_numbers()?;
        let partitions = self.partitions.iter().skip(usize::from(plain)).step_by(self.kinds);
        Ok(partitions.map(|partition| partition.places_of(numbers.clone()).len()).sum())
    }

    /// Which stored rows a search may return: those of the filter that are not removed, or all of these; one value a number.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a filter of another index, or from before removed rows' place was taken back.
    pub fn allowed_rows(&self, filter: Option<&Filter>) -> Result<Vec<bool>> {
        self.check_filter(filter)?;
        self.check_numbers()?;
        let mut allowed = vec![filter.is_none(); self.stored()];
        if let Some(filter) = filter {
            for (i, partition) in self.partitions.iter().enumerate() {
                let places = filter.places(i);
                (0..partition.len()).for_each(|place| allowed[partition.number(place)] = places.holds(place));
            }
        }
        allowed.iter_mut().enumerate().for_each(|(number, allowed)| *allowed &= !self.ids.gone.holds(number));
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::codec::{Options, TurboQuant};
    use crate::metric::Metric;

    fn index() -> Index {
        let mut index = Index::new(Arc::new(TurboQuant::new(5, 3, Options::default()).unwrap()), Metric::L2);
        let rows: Vec<f32> = (0..130 * 5).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
        index.add(&rows, None).unwrap();
        index
    }

    #[test]
    fn a_range_of_rows_is_that_part_of_all() {
        let index = index();
        let all = index.copy_rows(0..usize::MAX, false).unwrap();
        assert_eq!((all.numbers.len(), all.squares.len(), all.bounds.len()), (130, 130, 130));
        let some = index.copy_rows(60..70, false).unwrap();
        assert_eq!(some.packed, all.packed[60 * 3..70 * 3]);
        assert_eq!(some.scales, all.scales[60..70]);
        assert_eq!((some.bounds, some.squares), (all.bounds[60..70].to_vec(), all.squares[60..70].to_vec()));
        assert_eq!(some.numbers, (60..70).collect::<Vec<u64>>());
        assert_eq!((index.count_rows(60..70, false).unwrap(), index.count_rows(60..1_000, false).unwrap()), (10, 70));
        let codec = index.codec();
        let mut rows = vec![0.0; 10 * 5];
        codec.decode_rows(&some.packed, &some.scales, &codec.spec().full(), &mut rows, crate::Exec::default()).unwrap();
        assert_eq!(rows, index.reconstruct(&(60..70).collect::<Vec<_>>()).unwrap());
        assert_eq!(index.copy_rows(130..140, false).unwrap(), RowCopy::default());
    }

    #[test]
    fn removed_rows_are_not_allowed_and_change_what_numbers_stand_for() {
        let mut index = index();
        let filter = index.filter_where(|id| id < 3).unwrap();
        let before = index.row_state();
        index.remove(&[1, 129]).unwrap();
        assert_eq!(index.row_state(), RowState { removed: 2, ..before });
        let allowed = index.allowed_rows(None).unwrap();
        assert_eq!((allowed.len(), allowed.iter().filter(|allowed| !**allowed).count()), (130, 2));
        let allowed = index.allowed_rows(Some(&filter)).unwrap();
        assert_eq!((0..130).filter(|&number| allowed[number]).collect::<Vec<_>>(), [0, 2]);
        index.compact().unwrap();
        assert_eq!((index.row_state().changes != before.changes, index.row_state().stored), (true, 128));
        assert!(index.allowed_rows(Some(&filter)).is_err());
        assert_eq!(index.stored_ids().unwrap()[..3], [0, 2, 3]);
    }
}
