//! `PaperIndex`: an index over a paper's codec, behind a lock that is only taken while detached from the interpreter.

use std::sync::{PoisonError, RwLock};

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray2};
use pyo3::prelude::*;
use turboquant_rs::papers::{PaperCodec as _, PolarQuant, Qjl, TASK_ROWS, TurboQuantProd};
use turboquant_rs::{Exec, Metric};

use crate::error::to_py;
use crate::papers::{Inner, PaperCodec};
use crate::pool;

/// Products that a search does between two looks at pending signals: a few tenths of a second on one core.
const PRODUCTS_PER_CALL: usize = 1 << 32;

/// Fewest queries of a batch: rows are unpacked once for all of them.
const FEWEST: usize = 16;

enum Index {
    Qjl(turboquant_rs::PaperIndex<Qjl>),
    Prod(turboquant_rs::PaperIndex<TurboQuantProd>),
    Polar(turboquant_rs::PaperIndex<PolarQuant>),
}

/// Calls a method of whichever index it is.
macro_rules! each {
    ($index:expr, $inner:ident => $call:expr) => {
        match $index {
            Index::Qjl($inner) => $call,
            Index::Prod($inner) => $call,
            Index::Polar($inner) => $call,
        }
    };
}

/// Packed rows, scales, squared norms, ids.
type Parts<'py> =
    (Bound<'py, PyArray2<u8>>, Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<i64>>);

/// PaperIndex(codec, metric): an exact scan of codes. Searches run side by side; an add waits for them.
#[pyclass(frozen, module = "turboquant_rs._core")]
pub(crate) struct PaperIndex {
    inner: RwLock<Index>,
}

impl PaperIndex {
    // A panic under the lock is a bug of the core; the index it leaves is not trusted less than the error itself.
    fn read<R: Send>(&self, py: Python<'_>, work: impl FnOnce(&Index) -> R + Send) -> R {
        py.detach(|| work(&self.inner.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[pymethods]
impl PaperIndex {
    #[new]
    fn new(codec: &PaperCodec, metric: &str) -> PyResult<Self> {
        let metric = Metric::named(metric).map_err(|error| to_py(error, 0))?;
        let index = match &codec.inner {
            Inner::Qjl(codec) => Index::Qjl(turboquant_rs::PaperIndex::new(codec.clone(), metric)),
            Inner::Prod(codec) => Index::Prod(turboquant_rs::PaperIndex::new(codec.clone(), metric)),
            Inner::Polar(codec) => Index::Polar(turboquant_rs::PaperIndex::new(codec.clone(), metric)),
        };
        Ok(Self { inner: RwLock::new(index) })
    }

    /// add(packed, scales, squares, ids) -> ids of the new rows, which `PaperCodec.encode` made for this metric.
    fn add<'py>(
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
            each!(&mut *index, index => index.add_rows(packed, scales, squares, ids))
        });
        Ok(PyArray1::from_vec(py, added.map_err(|error| to_py(error, 0))?))
    }

    /// search(queries, k, scores, ids, products, threads): the k nearest rows of every query into scores and ids; products are those of a
    /// query and a row.
    #[allow(clippy::too_many_arguments, reason = "inputs and outputs of one call")]
    fn search(
        &self,
        py: Python<'_>,
        queries: PyReadonlyArray2<'_, f32>,
        k: usize,
        mut scores: PyReadwriteArray2<'_, f32>,
        mut ids: PyReadwriteArray2<'_, i64>,
        products: usize,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let queries = queries.as_slice()?;
        let (scores, ids) = (scores.as_slice_mut()?, ids.as_slice_mut()?);
        // One lock for all batches, so that every query sees the same rows. Waiting for the interpreter under it is safe:
        // whoever waits for the lock is detached.
        py.detach(|| -> PyResult<()> {
            let index = self.inner.read().unwrap_or_else(PoisonError::into_inner);
            let (dim, n) = each!(&*index, index => (index.codec().spec().dim(), index.len()));
            let batch = (PRODUCTS_PER_CALL / products.saturating_mul(n).max(1)).clamp(FEWEST, 4096);
            let places = scores.chunks_mut(batch * k).zip(ids.chunks_mut(batch * k));
            for (i, (queries, (scores, ids))) in queries.chunks(batch * dim).zip(places).enumerate() {
                let work = |exec| each!(&*index, index => index.search_into(queries, k, scores, ids, exec));
                pool::run(threads, n > Exec::SCAN_ROWS, work).map_err(|error| to_py(error, i * batch))?;
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
        let work = |index: &Index| {
            each!(index, index => {
                (pool::run(None, ids.len() > TASK_ROWS, |exec| index.reconstruct_with(ids, exec)), index.codec().spec().dim())
            })
        };
        let (rows, dim) = self.read(py, work);
        let rows = rows.map_err(|error| to_py(error, 0))?;
        PyArray1::from_vec(py, rows).reshape([ids.len(), dim])
    }

    /// parts() -> what `add` took, of all rows: packed, scales, squares, ids; copies.
    fn parts<'py>(&self, py: Python<'py>) -> PyResult<Parts<'py>> {
        let copy = |index: &Index| {
            each!(index, index => {
                let (packed, scales, squares) = index.rows();
                let (spec, n) = (index.codec().spec(), index.len());
                let shapes = ([n, spec.row_bytes()], [n, spec.norms()]);
                (shapes, packed.to_vec(), scales.to_vec(), squares.to_vec(), index.ids().to_vec())
            })
        };
        let (shapes, packed, scales, squares, ids) = self.read(py, copy);
        let packed = PyArray1::from_vec(py, packed).reshape(shapes.0)?;
        let scales = PyArray1::from_vec(py, scales).reshape(shapes.1)?;
        Ok((packed, scales, PyArray1::from_vec(py, squares), PyArray1::from_vec(py, ids)))
    }

    /// Ids in the order of adding, a copy.
    fn ids<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let ids = self.read(py, |index| each!(index, index => index.ids().to_vec()));
        PyArray1::from_vec(py, ids)
    }

    /// Bytes of codes, scales, squared norms and ids.
    #[getter]
    fn nbytes(&self, py: Python<'_>) -> usize {
        self.read(py, |index| each!(index, index => index.nbytes()))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.read(py, |index| each!(index, index => index.len()))
    }
}
