//! `FlatIndex`: an index behind a lock that is only taken while detached from the interpreter.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray2};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use turboquant_rs::{CodesView, Error, Index, Metric, SearchOptions};

use crate::codec::Codec;
use crate::error::to_py;
use crate::pool;

/// Products that a search does between two looks at pending signals: a few tenths of a second on one core.
const PRODUCTS_PER_CALL: usize = 1 << 33;

/// Which rows are coded badly, their packed rows and scales by the plain codec.
type Split<'py> = (PyReadonlyArray1<'py, bool>, PyReadonlyArray2<'py, u8>, PyReadonlyArray2<'py, f32>);

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

    /// search(queries, k, scores, ids, threads): the k nearest rows of every query into scores and ids.
    fn search(
        &self,
        py: Python<'_>,
        queries: PyReadonlyArray2<'_, f32>,
        k: usize,
        mut scores: PyReadwriteArray2<'_, f32>,
        mut ids: PyReadwriteArray2<'_, i64>,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let queries = queries.as_slice()?;
        let (scores, ids) = (scores.as_slice_mut()?, ids.as_slice_mut()?);
        if queries.is_empty() {
            return Ok(());
        }
        // One lock for all batches, so that every query sees the same rows. Waiting for the interpreter under it is safe:
        // whoever waits for the lock is detached.
        py.detach(|| {
            let index = self.inner.read().unwrap_or_else(PoisonError::into_inner);
            let dim = index.codec().dim();
            let batch = (PRODUCTS_PER_CALL / (dim * index.len().max(1))).clamp(1, 4096);
            let outputs = scores.chunks_mut(batch * k).zip(ids.chunks_mut(batch * k));
            for (i, (queries, (scores, ids))) in queries.chunks(batch * dim).zip(outputs).enumerate() {
                pool::run(threads, |exec| {
                    index.search_into(queries, SearchOptions { exec, ..SearchOptions::new(k) }, scores, ids)
                })
                .map_err(|error| to_py(error, i * batch))?;
                Python::attach(|py| py.check_signals())?;
            }
            Ok(())
        })
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
