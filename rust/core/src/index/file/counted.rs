//! What of an index its file counts.

use super::layout::{Header, Record};
use crate::index::Index;
use crate::index::gone::Gone;

/// What a file counts: a commit writes what an index has beyond it.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    /// Its rows, and up to where they are.
    pub(super) record: Record,
    /// Those of them that are gone.
    pub(super) gone: Gone,
    /// The largest id that ever was there, −1 without any.
    pub(super) largest: i64,
}

impl Counted {
    /// What a file without any commit counts.
    pub(super) fn none(header: &Header) -> Self {
        Self { record: Record::none(header), gone: Gone::default(), largest: -1 }
    }

    /// What a file counts up to `record` where that is all of an index.
    pub(super) fn of(index: &Index, record: Record) -> Self {
        Self { record, gone: index.ids.gone.clone(), largest: index.ids.largest() }
    }

    /// Whether an index has nothing beyond it.
    pub(super) fn is_all_of(&self, index: &Index) -> bool {
        let same = (index.stored() as u64, index.ids.largest()) == (self.record.rows, self.largest);
        // Rows that are gone stay so until the index is compacted.
        same && index.ids.gone.count() == self.gone.count()
    }
}
