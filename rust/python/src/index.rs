//! `FlatIndex`: an index behind a lock that is only taken while detached from the interpreter.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray2};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use turboquant_rs::{CodesView, Error, Exec, Index, Metric, SearchOptions, SearchStats};

use crate::codec::Codec;
use crate::error::to_py;
use crate::filter::Filter;
use crate::pool;

/// Products that a search does between two looks at pending signals: a few tenths of a second on one core.
const PRODUCTS_PER_CALL: usize = 1 << 33;

/// Which rows are coded badly, their packed rows and scales by the plain codec.
type Split<'py> = (PyReadonlyArray1<'py, bool>, PyReadonlyArray2<'py, u8>, PyReadonlyArray2<'py, f32>);

/// What a search read: rows and bytes of first stages, rows and bytes in full.
type Read = (usize, usize, usize, usize);

/// Limits, scores and ids of rows within a threshold, and what was read.
type Found<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<i64>>, Read);

/// FlatIndex(codec, metric): an exact scan of codes. Searches run side by side; an add waits for them.
#[pyclass(frozen, module = "turboquant_rs._core")]
pub(crate) struct FlatIndex {
    inner: RwLock<Index>,
}

impl FlatIndex {
    // A panic under the lock is a bug of the core; the index it leaves is not trusted less than the error itself.
    fn read<R: Send>(&self, py: Python<'_>, work: impl FnOnce(&Index) -> R + Send) -> R {
        py.detach(|| work(&self.inner.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Searches for queries, a batch at a time between looks at pending signals; `work` gets a batch's queries and their numbers.
    fn in_batches(
        &self,
        py: Python<'_>,
        queries: &[f32],
        threads: Option<usize>,
        mut work: impl FnMut(&Index, &[f32], Range<usize>, Exec) -> turboquant_rs::Result<SearchStats> + Send,
    ) -> PyResult<Read> {
        // One lock for all batches, so that every query sees the same rows. Waiting for the interpreter under it is safe:
        // whoever waits for the lock is detached.
        let stats = py.detach(|| -> PyResult<SearchStats> {
            let index = self.inner.read().unwrap_or_else(PoisonError::into_inner);
            let dim = index.codec().dim();
            let batch = (PRODUCTS_PER_CALL / (dim * index.len().max(1))).clamp(1, 4096);
            let mut stats = SearchStats::default();
            for (i, queries) in queries.chunks(batch * dim).enumerate() {
                let rows = i * batch..i * batch + queries.len() / dim;
                let read = pool::run(threads, |exec| work(&index, queries, rows, exec));
                stats += read.map_err(|error| to_py(error, i * batch))?;
                Python::attach(|py| py.check_signals())?;
            }
            Ok(stats)
        })?;
        Ok((stats.first_stage_rows, stats.first_stage_bytes, stats.full_rows, stats.full_bytes))
    }
}

fn made(filter: turboquant_rs::Result<turboquant_rs::Filter>) -> PyResult<Filter> {
    filter.map(Filter::from).map_err(|error| to_py(error, 0))
}

#[pymethods]
impl FlatIndex {
    #[new]
    fn new(codec: &Codec, metric: &str) -> PyResult<Self> {
        let metric = Metric::named(metric).map_err(|error| to_py(error, 0))?;
        Ok(Self { inner: RwLock::new(Index::new(codec.inner.clone(), metric)) })
    }

    /// open(path, mmap): the index of a file, mapped or read.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf, mmap: bool) -> PyResult<Self> {
        let index = py.detach(|| Index::open(path, mmap)).map_err(|error| to_py(error, 0))?;
        Ok(Self { inner: RwLock::new(index) })
    }

    /// from_bytes(data): the index in the bytes of a file.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let index = py.detach(|| Index::from_bytes(data)).map_err(|error| to_py(error, 0))?;
        Ok(Self { inner: RwLock::new(index) })
    }

    /// The bytes of a file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.read(py, Index::to_bytes).map_err(|error| to_py(error, 0))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// save(path): writes a whole file.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        self.read(py, |index| index.save(path)).map_err(|error| to_py(error, 0))
    }

    /// Appends what is new to the file.
    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        self.read(py, Index::commit).map_err(|error| to_py(error, 0))
    }

    /// Compares what is mapped with its checksums.
    fn verify(&self, py: Python<'_>) -> PyResult<()> {
        self.read(py, Index::verify).map_err(|error| to_py(error, 0))
    }

    /// The codec.
    #[getter]
    fn codec(&self, py: Python<'_>) -> Codec {
        self.read(py, |index| Codec { inner: index.codec().clone() })
    }

    /// The metric's name.
    #[getter]
    fn metric(&self, py: Python<'_>) -> &'static str {
        self.read(py, |index| index.metric().name())
    }

    /// Bytes of rows in a mapped file, which are counted in `nbytes`, too.
    #[getter]
    fn mapped_nbytes(&self, py: Python<'_>) -> usize {
        self.read(py, Index::mapped_nbytes)
    }

    /// add_codes(packed, scales, squares, ids, split) -> ids of the new rows; split is which rows a fitted codec codes badly, with
    /// their packed rows and scales by its plain codec.
    fn add_codes<'py>(
        &self,
        py: Python<'py>,
        packed: PyReadonlyArray2<'py, u8>,
        scales: PyReadonlyArray2<'py, f32>,
        squares: PyReadonlyArray1<'py, f32>,
        ids: Option<PyReadonlyArray1<'py, i64>>,
        split: Option<Split<'py>>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let (packed, scales, squares) = (packed.as_slice()?, scales.as_slice()?, squares.as_slice()?);
        let ids = ids.as_ref().map(|ids| ids.as_slice()).transpose()?;
        let split = match &split {
            None => None,
            Some((badly, packed, scales)) => Some((badly.as_slice()?, packed.as_slice()?, scales.as_slice()?)),
        };
        let added = py.detach(|| {
            let mut index = self.inner.write().unwrap_or_else(PoisonError::into_inner);
            let codec = index.codec().clone();
            let full = codec.spec().full();
            let codes = CodesView::new(&codec, &full, packed, scales)?;
            let Some((badly, packed, scales)) = split else { return index.add_codes(codes, squares, ids) };
            let plain = codec.plain().ok_or_else(|| Error::Argument {
                argument: "split",
                expected: "left out where the codec has no plain one".to_owned(),
                got: "one".to_owned(),
            })?;
            let full = plain.spec().full();
            let plain = CodesView::new(&plain, &full, packed, scales)?;
            index.add_split(codes, squares, ids, badly, Some(plain))
        });
        Ok(PyArray1::from_vec(py, added.map_err(|error| to_py(error, 0))?))
    }

    /// search(queries, k, scores, ids, filter, exact, threads) -> what was read: the k nearest rows of every query into scores and ids.
    #[allow(clippy::too_many_arguments, reason = "they have names on the Python side")]
    fn search(
        &self,
        py: Python<'_>,
        queries: PyReadonlyArray2<'_, f32>,
        k: usize,
        mut scores: PyReadwriteArray2<'_, f32>,
        mut ids: PyReadwriteArray2<'_, i64>,
        filter: Option<Bound<'_, Filter>>,
        exact: bool,
        threads: Option<usize>,
    ) -> PyResult<Read> {
        let queries = queries.as_slice()?;
        let (scores, ids) = (scores.as_slice_mut()?, ids.as_slice_mut()?);
        let filter = filter.as_ref().map(|filter| &filter.get().inner);
        self.in_batches(py, queries, threads, |index, queries, rows, exec| {
            let places = rows.start * k..rows.end * k;
            let (scores, ids) = (&mut scores[places.clone()], &mut ids[places]);
            index.search_into(queries, SearchOptions { k, filter, exact, exec }, scores, ids)
        })
    }

    /// range_search(queries, threshold, filter, exact, threads) -> limits, scores, ids of the rows within a threshold, and what was read.
    fn range_search<'py>(
        &self,
        py: Python<'py>,
        queries: PyReadonlyArray2<'_, f32>,
        threshold: f32,
        filter: Option<Bound<'_, Filter>>,
        exact: bool,
        threads: Option<usize>,
    ) -> PyResult<Found<'py>> {
        let queries = queries.as_slice()?;
        let filter = filter.as_ref().map(|filter| &filter.get().inner);
        let (mut lims, mut scores, mut ids) = (vec![0_i64], Vec::new(), Vec::new());
        let read = self.in_batches(py, queries, threads, |index, queries, _, exec| {
            let options = SearchOptions { k: usize::MAX, filter, exact, exec };
            let (found, read) = index.range_search_with(queries, threshold, options)?;
            lims.extend(found.lims[1..].iter().map(|&end| (ids.len() + end) as i64));
            scores.extend(found.scores);
            ids.extend(found.ids);
            Ok(read)
        })?;
        let arrays = (PyArray1::from_vec(py, lims), PyArray1::from_vec(py, scores), PyArray1::from_vec(py, ids));
        Ok((arrays.0, arrays.1, arrays.2, read))
    }

    /// filter_rows(mask) -> the rows for which the mask, one value a row, is true.
    fn filter_rows(&self, py: Python<'_>, mask: PyReadonlyArray1<'_, bool>) -> PyResult<Filter> {
        let mask = mask.as_slice()?;
        made(self.read(py, |index| index.filter_rows(mask)))
    }

    /// filter_ids(ids) -> the rows with one of these ids.
    fn filter_ids(&self, py: Python<'_>, ids: PyReadonlyArray1<'_, i64>) -> PyResult<Filter> {
        let ids = ids.as_slice()?;
        made(self.read(py, |index| index.filter_ids(ids)))
    }

    /// filter_range(first, last, step) -> the rows with an id of first, first + step … up to last; none if last is below first.
    fn filter_range(&self, py: Python<'_>, first: i64, last: i64, step: i64) -> PyResult<Filter> {
        let has = |id: i64| (first..=last).contains(&id) && (id - first) % step == 0;
        made(self.read(py, |index| index.filter_where(has)))
    }

    /// reconstruct(ids) -> decoded rows.
    fn reconstruct<'py>(
        &self,
        py: Python<'py>,
        ids: PyReadonlyArray1<'py, i64>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let ids = ids.as_slice()?;
        let work = |index: &Index| (pool::run(None, |exec| index.reconstruct_with(ids, exec)), index.codec().dim());
        let (rows, dim) = self.read(py, work);
        let rows = rows.map_err(|error| to_py(error, 0))?;
        PyArray1::from_vec(py, rows).reshape([ids.len(), dim])
    }

    /// Ids in the order of adding, a copy.
    fn ids<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let ids = self.read(py, |index| index.ids().to_vec());
        PyArray1::from_vec(py, ids)
    }

    /// Rows that are kept as plain codes, since the fitted codec codes them badly.
    #[getter]
    fn plain_rows(&self, py: Python<'_>) -> usize {
        self.read(py, Index::plain_rows)
    }

    /// Bytes of codes, scales, squared norms, ids and the codec.
    #[getter]
    fn nbytes(&self, py: Python<'_>) -> usize {
        self.read(py, Index::nbytes)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.read(py, Index::len)
    }
}
