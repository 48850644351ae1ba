//! `FlatIndex`: an index behind a lock that is only taken while detached from the interpreter.

use std::sync::{PoisonError, RwLock};

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray2};
use pyo3::prelude::*;
use turboquant_rs::{CodesView, Index, Metric};

use crate::codec::Codec;
use crate::error::to_py;
use crate::pool;

/// Products that a search does between two looks at pending signals: a few tenths of a second on one core.
const PRODUCTS_PER_CALL: usize = 1 << 33;

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

    /// add_codes(packed, scales, squares, ids) -> ids of the new rows.
    fn add_codes<'py>(
        &self,
        py: Python<'py>,
        packed: PyReadonlyArray2<'py, u8>,
        scales: PyReadonlyArray2<'py, f32>,
        squares: PyReadonlyArray1<'py, f32>,
        ids: Option<PyReadonlyArray1<'py, i64>>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let (packed, scales, squares) = (packed.as_slice()?, scales.as_slice()?, squares.as_slice()?);
        let ids = ids.as_ref().map(|ids| ids.as_slice()).transpose()?;
        let added = py.detach(|| {
            let mut index = self.inner.write().unwrap_or_else(PoisonError::into_inner);
            let codec = index.codec().clone();
            let full = codec.spec().full();
            index.add_codes(CodesView::new(&codec, &full, packed, scales)?, squares, ids)
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
                pool::run(threads, |exec| index.search_into(queries, k, scores, ids, exec))
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

    /// Bytes of codes, scales, squared norms, ids and the codec.
    #[getter]
    fn nbytes(&self, py: Python<'_>) -> usize {
        self.read(py, Index::nbytes)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.read(py, Index::len)
    }
}
