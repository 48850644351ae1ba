//! Which rows a search may return.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Index;
use super::partition::Partition;
use crate::bitmap::Bitmap;
use crate::error::{Error, Result};

/// A set of an index's rows that a search may return; made once, used for any number of searches.
///
/// It knows of the rows that were in the index when it was made: rows added later are not in it, and removed ones are not found. It
/// becomes invalid when the place of removed rows is taken back (see [`Index::compact`]). One bit a row.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use turboquant_rs::{Index, Metric, Options, SearchOptions, TurboQuant};
/// let codec = Arc::new(TurboQuant::new(4, 8, Options::default())?);
/// let mut index = Index::new(codec, Metric::L2);
/// index.add(&[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0], Some(&[10, 20, 30]))?;
/// let filter = index.filter_where(|id| id >= 20)?.and(&index.filter_ids(&[20])?.complement())?;
/// let options = SearchOptions { filter: Some(&filter), ..SearchOptions::new(2) };
/// assert_eq!(index.search_with(&[0.1, 0.9, 0.0, 0.0], options)?.ids, [30, -1]);
/// # Ok::<(), turboquant_rs::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Filter {
    /// The rows in each partition of the index, by their places there; none of partitions that came later.
    places: Vec<Bitmap>,
    numbering: (u64, u64),
}

impl Filter {
    /// Rows in it; of a [`complement`](Self::complement) also rows that had been removed before, which no search finds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.iter().map(Bitmap::count).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held.
    #[must_use]
    pub fn nbytes(&self) -> usize {
        self.places.iter().map(Bitmap::nbytes).sum()
    }

    /// The filter of rows that `word` makes of two filters.
    ///
    /// # Errors
    /// [`Error::Argument`] if they are filters of two indexes.
    fn combined(&self, other: &Self, word: impl Fn(u64, u64) -> u64) -> Result<Self> {
        if self.numbering != other.numbering {
            return Err(Error::argument("filter", "one of the same index", "one of another index"));
        }
        let partitions = 0..self.places.len().max(other.places.len());
        let places = partitions.map(|i| self.places(i).combined(other.places(i), &word)).collect();
        Ok(Self { places, numbering: self.numbering })
    }

    /// The rows of an index of one partition.
    pub(crate) fn of_places(places: Bitmap, numbering: &Numbering) -> Self {
        Self { places: vec![places], numbering: numbering.get() }
    }

    /// The rows in a partition, by their places there.
    pub(crate) fn places(&self, partition: usize) -> &Bitmap {
        static NONE: Bitmap = Bitmap::NONE;
        self.places.get(partition).unwrap_or(&NONE)
    }

    /// The rows that are in both.
    ///
    /// # Errors
    /// [`Error::Argument`] if they are filters of two indexes.
    pub fn and(&self, other: &Self) -> Result<Self> {
        self.combined(other, |a, b| a & b)
    }

    /// The rows that are in either.
    ///
    /// # Errors
    /// [`Error::Argument`] if they are filters of two indexes.
    pub fn or(&self, other: &Self) -> Result<Self> {
        self.combined(other, |a, b| a | b)
    }

    /// The rows that the filter knows of and leaves out.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self { places: self.places.iter().map(Bitmap::complement).collect(), numbering: self.numbering }
    }
}

/// Which row is in which place: no two indexes share one, so that a filter is never taken for one of other rows, and an index in which
/// rows change their places takes a new one.
#[derive(Debug)]
pub(crate) struct Numbering {
    index: u64,
    changes: u64,
}

impl Numbering {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { index: NEXT.fetch_add(1, Ordering::Relaxed), changes: 0 }
    }

    /// Rows have changed their places.
    pub(crate) fn change(&mut self) {
        self.changes += 1;
    }

    /// How often rows have changed their places.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Refuses a filter of another index.
    pub(crate) fn check(&self, filter: Option<&Filter>) -> Result<()> {
        match filter {
            Some(filter) if filter.numbering.0 != self.index => {
                Err(Error::argument("filter", "a filter of this index", "one of another index"))
            }
            Some(filter) if filter.numbering != self.get() => {
                let got = "one from before the index was compacted";
                Err(Error::argument("filter", "made after the last compaction", got))
            }
            _ => Ok(()),
        }
    }

    fn get(&self) -> (u64, u64) {
        (self.index, self.changes)
    }
}

impl Clone for Numbering {
    /// A new one: rows added to the clone are not those added to the original.
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl Index {
    /// The rows for which `mask`, one value a row in the order of adding, is true.
    ///
    /// # Errors
    /// [`Error::Argument`] if the mask has another length than the index.
    pub fn filter_rows(&self, mask: &[bool]) -> Result<Filter> {
        if mask.len() != self.len() {
            return Err(Error::argument("filter", format!("one value a row ({})", self.len()), mask.len()));
        }
        let ranks = self.ids.gone.ranks();
        self.filter_numbers(|number| mask[ranks.of(number)])
    }

    /// The rows with one of these ids. Ids that the index does not have are none of its rows.
    ///
    /// # Errors
    /// Those of a mapped file that is damaged.
    pub fn filter_ids(&self, ids: &[i64]) -> Result<Filter> {
        self.check_numbers()?;
        let mut places: Vec<_> = self.partitions.iter().map(|partition| Bitmap::none(partition.len())).collect();
        for number in ids.iter().filter_map(|&id| self.ids.number(id)) {
            for (partition, places) in self.partitions.iter().zip(&mut places) {
                if let Some(place) = partition.place(number) {
                    places.insert(place);
                }
            }
        }
        Ok(Filter { places, numbering: self.numbering.get() })
    }

    /// The rows with an id for which `has` holds.
    ///
    /// # Errors
    /// Those of a mapped file that is damaged.
    pub fn filter_where(&self, mut has: impl FnMut(i64) -> bool) -> Result<Filter> {
        self.filter_numbers(|number| has(self.ids.all()[number]))
    }

    fn filter_numbers(&self, mut has: impl FnMut(usize) -> bool) -> Result<Filter> {
        self.check_numbers()?;
        let mut has = |number| !self.ids.gone.holds(number) && has(number);
        let partitions = self.partitions.iter();
        let places = partitions.map(|partition| Bitmap::of(partition.len(), |place| has(partition.number(place))));
        Ok(Filter { places: places.collect(), numbering: self.numbering.get() })
    }

    /// Compares ids and the places of rows with checksums, where they are in a mapped file.
    pub(super) fn check_numbers(&self) -> Result<()> {
        self.ids.check_all()?;
        self.partitions.iter().try_for_each(Partition::check_numbers)
    }

    /// Refuses a filter of another index.
    pub(super) fn check_filter(&self, filter: Option<&Filter>) -> Result<()> {
        self.numbering.check(filter)
    }
}
