//! A flat index: an exact scan of codes with three metrics.

mod add;
mod export;
mod file;
mod filter;
mod gone;
mod ids;
mod join;
mod names;
mod originals;
mod partition;
mod query;
mod rescore;
mod search;

use std::sync::Arc;

use crate::codec::TurboQuant;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::parallel::Exec;
pub use add::EncodedRows;
pub use export::{RowCopy, RowState};
use file::Home;
pub use file::INDEX_VERSION;
pub use filter::Filter;
pub(crate) use filter::Numbering;
pub(crate) use gone::retain;
pub use ids::RowIds;
pub(crate) use ids::{Checked, Ids};
pub use originals::Keep;
use originals::Originals;
use partition::Partition;
pub use query::{Neighbors, SearchOptions, SearchStats, Within};

/// An index over codes: every search scans all of them.
///
/// `Send + Sync`; searches take `&self`. Results do not depend on the processor, the threads, the batch or k: the first ten of k = 100 are k = 10.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use turboquant_rs::{Index, Metric, Options, TurboQuant};
/// let codec = Arc::new(TurboQuant::new(4, 8, Options::default())?);
/// let mut index = Index::new(codec, Metric::L2);
/// index.add(&[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0], None)?;
/// assert_eq!(index.search(&[0.1, 0.9, 0.0, 0.0], 2)?.ids, [1, 0]);
/// # Ok::<(), turboquant_rs::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Index {
    metric: Metric,
    /// Rows in the order of adding, in groups of one partition or, of a fitted codec, two: the codec's rows, and those that it codes
    /// badly, as codes of its plain codec. Rows are added to the last group; those before it are in a mapped file or follow on one.
    partitions: Vec<Partition>,
    /// Partitions of a group.
    kinds: usize,
    ids: Ids,
    /// Rows as they were added, by number in the order of adding, where the index keeps them.
    originals: Option<Originals>,
    /// What filters say whose rows they hold.
    numbering: Numbering,
    /// The file that it belongs to; a copy belongs to none.
    home: Home,
}

impl Index {
    /// An empty index of `codec`'s codes.
    #[must_use]
    pub fn new(codec: Arc<TurboQuant>, metric: Metric) -> Self {
        let plain = codec.plain().map(|plain| Partition::new(Arc::new(plain), 0));
        let partitions: Vec<_> = [Partition::new(codec, 0)].into_iter().chain(plain).collect();
        let kinds = partitions.len();
        let (ids, numbering, home) = (Ids::new(), Numbering::new(), Home::default());
        Self { metric, partitions, kinds, ids, originals: None, numbering, home }
    }

    /// An empty index that also keeps the rows that are added, for exact scores.
    #[must_use]
    pub fn keeping(codec: Arc<TurboQuant>, metric: Metric, keep: Keep) -> Self {
        let originals = Some(Originals::new(keep, codec.dim()));
        Self { originals, ..Self::new(codec, metric) }
    }

    /// Decoded rows of the given ids, dim values each. With cosine they are approximations of x/|x|.
    ///
    /// # Errors
    /// [`Error::UnknownId`] for an id that is not in the index.
    pub fn reconstruct(&self, ids: &[i64]) -> Result<Vec<f32>> {
        self.reconstruct_with(ids, Exec::default())
    }

    /// [`reconstruct`](Self::reconstruct) with a choice of kernels and threads.
    ///
    /// # Errors
    /// As for [`reconstruct`](Self::reconstruct).
    pub fn reconstruct_with(&self, ids: &[i64], exec: Exec) -> Result<Vec<f32>> {
        self.reconstruct_numbers(&self.numbers(ids)?, exec)
    }

    /// [`reconstruct_with`](Self::reconstruct_with) by string ids.
    ///
    /// # Errors
    /// [`Error::UnknownName`] for one that is not in the index.
    pub fn reconstruct_names(&self, names: &[&str], exec: Exec) -> Result<Vec<f32>> {
        self.reconstruct_numbers(&self.numbers_of_names(names)?, exec)
    }

    fn reconstruct_numbers(&self, numbers: &[usize], exec: Exec) -> Result<Vec<f32>> {
        let dim = self.codec().dim();
        let mut out = vec![0.0; numbers.len() * dim];
        for partition in &self.partitions {
            // Which of the wanted rows are in it, and where.
            let wanted = numbers.iter().enumerate().filter_map(|(i, &number)| Some((i, partition.place(number)?)));
            let wanted: Vec<_> = wanted.collect();
            let places: Vec<_> = wanted.iter().map(|&(_, place)| place).collect();
            let rows = partition.decode(&places, exec)?;
            for ((i, _), row) in wanted.into_iter().zip(rows.chunks_exact(dim)) {
                out[i * dim..][..dim].copy_from_slice(row);
            }
        }
        Ok(out)
    }

    /// Rows that can be found.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.gone.live()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows that were removed and whose place is not yet taken back.
    #[must_use]
    pub fn removed(&self) -> usize {
        self.ids.gone.count()
    }

    /// Whether an id is in the index.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the index is mapped and its ids are damaged.
    pub fn contains(&self, id: i64) -> Result<bool> {
        self.ids.check_all()?;
        Ok(self.ids.number(id).is_some())
    }

    /// The integer that stands for a string id.
    ///
    /// # Errors
    /// As for [`contains`](Self::contains).
    pub fn id_of_name(&self, name: &str) -> Result<Option<i64>> {
        self.ids.check_all()?;
        Ok(self.ids.number_of_name(name).map(|number| self.ids.all()[number]))
    }

    /// The string that an id stands for.
    ///
    /// # Errors
    /// As for [`contains`](Self::contains).
    pub fn name(&self, id: i64) -> Result<Option<&str>> {
        self.ids.check_all()?;
        let Some(names) = self.ids.names() else { return Ok(None) };
        Ok(self.ids.number(id).map(|number| names.get(number)))
    }

    /// Whether rows were ever added, so that ids are integers or strings for good.
    #[must_use]
    pub fn ids_decided(&self) -> bool {
        self.ids.largest() >= 0
    }

    /// Whether the ids are strings, for which integers stand.
    #[must_use]
    pub fn named(&self) -> bool {
        self.ids.names().is_some()
    }

    /// The codec.
    #[must_use]
    pub fn codec(&self) -> &Arc<TurboQuant> {
        self.partitions[0].codec()
    }

    /// Rows that are kept as plain codes, since the fitted codec codes them badly.
    #[must_use]
    pub fn plain_rows(&self) -> usize {
        let plain = self.partitions.iter().skip(1).step_by(2).filter(|_| self.kinds > 1);
        plain
            .flat_map(|p| (0..p.len()).map(|place| p.number(place)))
            .filter(|&number| !self.ids.gone.holds(number))
            .count()
    }

    /// The metric.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The form in which the index keeps rows for exact scores, if it does.
    #[must_use]
    pub fn keep(&self) -> Option<Keep> {
        self.originals.as_ref().map(Originals::keep)
    }

    /// Ids in the order of adding.
    ///
    /// # Errors
    /// As for [`contains`](Self::contains).
    pub fn ids(&self) -> Result<Vec<i64>> {
        self.ids.check_all()?;
        Ok(self.ids.gone.iter_live().map(|number| self.ids.all()[number]).collect())
    }

    /// Bytes held, all but [`table_nbytes`](Self::table_nbytes).
    #[must_use]
    pub fn nbytes(&self) -> usize {
        self.codes_nbytes() + self.ids_nbytes() + self.originals_nbytes()
    }

    /// Bytes of codes, scales, bounds of the first stage, squared norms (l2), and the codec itself; of removed rows, too.
    #[must_use]
    pub fn codes_nbytes(&self) -> usize {
        let codecs = self.partitions[..self.kinds].iter().map(|partition| partition.codec().nbytes());
        self.partitions.iter().map(Partition::nbytes).sum::<usize>() + codecs.sum::<usize>()
    }

    /// Bytes of arrays that are in a mapped file; [`nbytes`](Self::nbytes) counts them, too.
    #[must_use]
    pub fn mapped_nbytes(&self) -> usize {
        let mapped = self.partitions.iter().filter(|partition| partition.is_mapped());
        let originals = self.originals.as_ref().map_or(0, Originals::mapped_nbytes);
        self.ids.mapped_nbytes() + originals + mapped.map(Partition::nbytes).sum::<usize>()
    }

    /// Bytes of ids and of what marks removed rows.
    #[must_use]
    pub fn ids_nbytes(&self) -> usize {
        self.ids.nbytes()
    }

    /// Bytes of rows that are kept for exact scores.
    #[must_use]
    pub fn originals_nbytes(&self) -> usize {
        self.originals.as_ref().map_or(0, Originals::nbytes)
    }

    /// Bytes of the way back from ids to rows. There is none while ids ascend; else it is made when it is first needed.
    #[must_use]
    pub fn table_nbytes(&self) -> usize {
        self.ids.table_nbytes()
    }

    /// Rows that are stored, removed ones among them.
    fn stored(&self) -> usize {
        self.ids.gone.rows()
    }

    /// Numbers of rows by id.
    fn numbers(&self, ids: &[i64]) -> Result<Vec<usize>> {
        self.check_numbers()?;
        ids.iter().map(|&id| self.ids.number(id).ok_or(Error::UnknownId { id })).collect()
    }

    /// Numbers of rows by string id.
    fn numbers_of_names(&self, names: &[&str]) -> Result<Vec<usize>> {
        self.check_numbers()?;
        let number = |name: &str| self.ids.number_of_name(name);
        let unknown = |name: &str| Error::UnknownName { name: name.to_owned() };
        names.iter().map(|name| number(name).ok_or_else(|| unknown(name))).collect()
    }
}
