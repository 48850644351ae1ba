//! Rows come and go: add, upsert, remove, compact, and filters of those that are there. An error leaves the index as it was.

use super::{PaperIndex, encode_rows};
use crate::bitmap::Bitmap;
use crate::error::{Error, Result};
use crate::index::{Checked, Filter, RowIds, retain};
use crate::metric::Metric;
use crate::papers::{PaperCodec, check_parts, rows_of};
use crate::parallel::Exec;

/// Rows that are gone are dropped once they are more than one in this many.
const COMPACT: usize = 4;

impl<C: PaperCodec> PaperIndex<C> {
    /// Encodes rows of `dim` values and appends them, under the given ids or the next free ones; returns their ids.
    ///
    /// # Errors
    /// As for [`PaperCodec::encode`], with l2 also [`Error::Norm`] from 2^63; [`Error::Argument`] for a wrong number of ids or a negative
    /// one, [`Error::DuplicateId`] for an id that is taken or given twice. The index is then unchanged.
    pub fn add(&mut self, x: &[f32], ids: Option<&[i64]>) -> Result<Vec<i64>> {
        self.add_with(x, ids.map_or(RowIds::Assigned, RowIds::New), Exec::default())
    }

    /// [`add`](Self::add) where rows of the same ids are replaced. The new ones come last in the order of adding.
    ///
    /// # Errors
    /// As for [`add`](Self::add), with [`Error::DuplicateId`] only for ids given twice.
    pub fn upsert(&mut self, x: &[f32], ids: &[i64]) -> Result<Vec<i64>> {
        self.add_with(x, RowIds::Upsert(ids), Exec::default())
    }

    /// [`add`](Self::add) with a choice of ids, kernels and threads.
    ///
    /// # Errors
    /// As for [`add`](Self::add), and [`Error::Argument`] for strings as ids.
    pub fn add_with(&mut self, x: &[f32], ids: RowIds<'_>, exec: Exec) -> Result<Vec<i64>> {
        let spec = self.codec.spec();
        let n = rows_of(spec, "x", x)?;
        self.checked(n, ids)?;
        let (mut packed, mut scales) = (vec![0; n * spec.row_bytes()], vec![0.0; n * spec.norms()]);
        let mut squares = vec![0.0; if self.metric == Metric::L2 { n } else { 0 }];
        encode_rows(&*self.codec, self.metric, x, &mut packed, &mut scales, &mut squares, exec)?;
        self.add_rows(&packed, &scales, &squares, ids)
    }

    /// Appends rows that [`encode_rows`] made for this codec and metric.
    ///
    /// # Errors
    /// [`Error::Argument`] if the parts are no rows of this codec or `squares` is not one finite value of at least 0 a row (l2; empty
    /// otherwise), or as for [`add_with`](Self::add_with) for ids. The index is then unchanged.
    pub fn add_rows(&mut self, packed: &[u8], scales: &[f32], squares: &[f32], ids: RowIds<'_>) -> Result<Vec<i64>> {
        let n = check_parts(self.codec.spec(), packed, scales)?;
        let expected = if self.metric == Metric::L2 { n } else { 0 };
        if squares.len() != expected {
            return Err(Error::argument("squares", format!("{expected} long"), squares.len()));
        }
        if let Some(row) = squares.iter().position(|square| !(square.is_finite() && *square >= 0.0)) {
            return Err(Error::argument("squares", "finite and at least 0", format!("{} at row {row}", squares[row])));
        }
        let new = self.checked(n, ids)?;
        self.packed.to_mut().extend_from_slice(packed);
        self.scales.to_mut().extend_from_slice(scales);
        self.squares.to_mut().extend_from_slice(squares);
        self.ids.remove(&new.replaced);
        self.ids.take(&new);
        self.compact_if_worth_it();
        Ok(new.ids)
    }

    fn checked<'a>(&self, rows: usize, ids: RowIds<'a>) -> Result<Checked<'a>> {
        if matches!(ids, RowIds::NewNames(_) | RowIds::UpsertNames(_)) {
            return Err(Error::argument("ids", "integers", "strings"));
        }
        self.ids.check(rows, ids)
    }

    /// Removes rows: they are found no more, at once. An id may stand twice. Their place is taken back once more than a quarter of the
    /// rows that are stored are gone, or by [`compact`](Self::compact).
    ///
    /// # Errors
    /// [`Error::UnknownId`] for an id that is not in the index, which is then unchanged.
    pub fn remove(&mut self, ids: &[i64]) -> Result<()> {
        let numbers = ids.iter().map(|&id| self.ids.number(id).ok_or(Error::UnknownId { id }));
        let numbers = numbers.collect::<Result<Vec<_>>>()?;
        self.ids.remove(&numbers);
        self.compact_if_worth_it();
        Ok(())
    }

    /// Drops rows that are gone from every array, in place. No answer changes; filters made before it are refused.
    pub fn compact(&mut self) {
        let (spec, gone) = (self.codec.spec(), &self.ids.gone);
        if gone.count() > 0 {
            let stays = |row: usize| !gone.holds(row);
            retain(&mut self.packed, spec.row_bytes(), stays);
            retain(&mut self.scales, spec.norms(), stays);
            retain(&mut self.squares, 1, stays);
            self.ids.compact();
            self.numbering.change();
        }
    }

    fn compact_if_worth_it(&mut self) {
        if self.ids.gone.count() * COMPACT > self.ids.gone.rows() {
            self.compact();
        }
    }

    /// The rows for which `mask`, one value a row in the order of adding, is true.
    ///
    /// # Errors
    /// [`Error::Argument`] if the mask has another length than the index.
    pub fn filter_rows(&self, mask: &[bool]) -> Result<Filter> {
        if mask.len() != self.len() {
            return Err(Error::argument("filter", format!("one value a row ({})", self.len()), mask.len()));
        }
        let ranks = self.ids.gone.ranks();
        Ok(self.filter_of(|row| mask[ranks.of(row)]))
    }

    /// The rows with one of these ids. Ids that the index does not have are none of its rows.
    #[must_use]
    pub fn filter_ids(&self, ids: &[i64]) -> Filter {
        let mut places = Bitmap::none(self.ids.gone.rows());
        ids.iter().filter_map(|&id| self.ids.number(id)).for_each(|row| places.insert(row));
        Filter::of_places(places, &self.numbering)
    }

    /// The rows with an id for which `has` holds.
    #[must_use]
    pub fn filter_where(&self, mut has: impl FnMut(i64) -> bool) -> Filter {
        self.filter_of(|row| has(self.ids.all()[row]))
    }

    fn filter_of(&self, mut has: impl FnMut(usize) -> bool) -> Filter {
        let has = |row| !self.ids.gone.holds(row) && has(row);
        Filter::of_places(Bitmap::of(self.ids.gone.rows(), has), &self.numbering)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::index::SearchOptions;
    use crate::papers::{ProjectionKind, TurboQuantProd};

    const DIM: usize = 16;

    fn rows(n: usize, seed: usize) -> Vec<f32> {
        (0..n * DIM).map(|i| (((i + seed) * 17 % 4_099) as f32 * 0.37).sin()).collect()
    }

    #[test]
    fn what_is_left_is_found_as_in_an_index_of_its_own() {
        let codec = Arc::new(TurboQuantProd::new(DIM, 3, ProjectionKind::Orthogonal, 1).unwrap());
        let n = 2_500;
        let (x, new, queries) = (rows(n, 0), rows(20, 5), rows(3, 9));
        // Ids in steps that do not ascend.
        let ids: Vec<_> = (0..n as i64).map(|i| i * 7 % n as i64).collect();
        for metric in [Metric::InnerProduct, Metric::Cosine, Metric::L2] {
            let mut index = PaperIndex::new(codec.clone(), metric);
            index.add(&x, Some(&ids)).unwrap();
            let old = index.filter_where(|_| true);
            let gone: Vec<_> = ids.iter().copied().filter(|id| id % 5 == 2 || *id < 30).collect();
            index.remove(&gone).unwrap();
            index.remove(&ids[1..1]).unwrap();
            let replaced: Vec<_> = (100..140).filter(|id| id % 5 != 2).take(20).collect();
            assert_eq!(index.upsert(&new, &replaced).unwrap(), replaced);
            assert!(index.removed() > 0 && !index.contains(2) && index.contains(101));
            let mut left = PaperIndex::new(codec.clone(), metric);
            for (row, &id) in x.chunks(DIM).zip(&ids) {
                if !gone.contains(&id) && !replaced.contains(&id) {
                    left.add(row, Some(&[id])).unwrap();
                }
            }
            left.add(&new, Some(&replaced)).unwrap();
            let same = |index: &PaperIndex<_>| {
                assert_eq!((index.len(), index.ids()), (left.len(), left.ids()));
                for k in [1, 10, n] {
                    assert_eq!(index.search(&queries, k), left.search(&queries, k), "{metric:?} {k}");
                }
                assert_eq!(index.rows(), left.rows());
                assert_eq!(index.reconstruct(&replaced), left.reconstruct(&replaced));
            };
            same(&index);
            let mask: Vec<_> = left.ids().iter().map(|id| id % 3 == 0).collect();
            let thirds: Vec<_> = left.ids().into_iter().filter(|id| id % 3 == 0).collect();
            let mut few = left.clone();
            few.remove(&left.ids().into_iter().filter(|id| id % 3 != 0).collect::<Vec<_>>()).unwrap();
            for filter in
                [index.filter_rows(&mask).unwrap(), index.filter_ids(&thirds), index.filter_where(|id| id % 3 == 0)]
            {
                let options = SearchOptions { filter: Some(&filter), ..SearchOptions::new(n) };
                assert_eq!(index.search_with(&queries, options), few.search(&queries, n));
                assert!(few.search_with(&queries, options).is_err(), "a filter of another index");
            }
            let options = SearchOptions { filter: Some(&old), ..SearchOptions::new(n) };
            let found = index.search_with(&queries, options).unwrap().ids;
            assert!(replaced.iter().all(|id| !found.contains(id)), "rows that came after a filter are not in it");
            index.compact();
            assert_eq!(index.removed(), 0);
            assert!(index.search_with(&queries, options).is_err(), "a filter from before rows changed their places");
            same(&index);
        }
    }

    #[test]
    fn refused_changes_leave_the_index_as_it_was() {
        let codec = Arc::new(TurboQuantProd::new(DIM, 3, ProjectionKind::Orthogonal, 1).unwrap());
        let mut index = PaperIndex::new(codec, Metric::L2);
        index.add(&rows(3, 0), Some(&[5, 3, 9])).unwrap();
        assert_eq!(index.remove(&[5, 4]), Err(Error::UnknownId { id: 4 }));
        assert_eq!(index.upsert(&rows(2, 0), &[5, 5]), Err(Error::DuplicateId { id: 5 }));
        let strings = index.add_with(&rows(1, 0), RowIds::NewNames(&["a"]), Exec::default());
        assert_eq!(strings.unwrap_err().to_string(), "ids must be integers, got strings");
        let rescored = index.search_with(&rows(1, 0), SearchOptions { rescore: 2, ..SearchOptions::new(1) });
        assert!(rescored.unwrap_err().to_string().starts_with("rescore must be 0"));
        assert!(index.filter_rows(&[true]).is_err());
        assert_eq!((index.ids(), index.removed()), (vec![5, 3, 9], 0));
        index.remove(&[9]).unwrap();
        assert_eq!(index.add(&rows(1, 0), None).unwrap(), [10], "a removed id is not assigned again");
    }
}
