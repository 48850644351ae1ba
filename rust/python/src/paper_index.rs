//! `PaperIndex`: an index over a paper's codec, behind a lock that is only taken while detached from the interpreter.

use std::sync::{PoisonError, RwLock};

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray2};
use pyo3::prelude::*;
use turboquant_rs::papers::{PaperCodec as _, PolarQuant, Qjl, TASK_ROWS, TurboQuantProd};
use turboquant_rs::{Exec, Metric, RowIds, SearchOptions};

use crate::error::to_py;
use crate::filter::Filter;
use crate::ids::GivenIds;
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

    fn write<R: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Index) -> R + Send) -> R {
        py.detach(|| work(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner)))
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

    /// add(packed, scales, squares, ids, replace) -> ids of the new rows, which `PaperCodec.encode` made for this metric.
    fn add<'py>(
        &self,
        py: Python<'py>,
        packed: PyReadonlyArray2<'py, u8>,
        scales: PyReadonlyArray2<'py, f32>,
        squares: PyReadonlyArray1<'py, f32>,
        ids: Option<PyReadonlyArray1<'py, i64>>,
        replace: bool,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let (packed, scales, squares) = (packed.as_slice()?, scales.as_slice()?, squares.as_slice()?);
        let ids = ids.as_ref().map(|ids| ids.as_slice()).transpose()?;
        let ids = ids.map_or(RowIds::Assigned, if replace { RowIds::Upsert } else { RowIds::New });
        let added = self.write(py, |index| each!(index, index => index.add_rows(packed, scales, squares, ids)));
        Ok(PyArray1::from_vec(py, added.map_err(|error| to_py(error, 0))?))
    }

    /// remove(ids).
    fn remove(&self, py: Python<'_>, ids: PyReadonlyArray1<'_, i64>) -> PyResult<()> {
        let ids = ids.as_slice()?;
        let done = self.write(py, |index| each!(index, index => index.remove(ids)));
        done.map_err(|error| to_py(error, 0))
    }

    /// compact(): takes the place of removed rows back.
    fn compact(&self, py: Python<'_>) {
        self.write(py, |index| each!(index, index => index.compact()));
    }

    /// contains(id): whether an integer is the id of a row.
    fn contains(&self, py: Python<'_>, row_id: i64) -> bool {
        self.read(py, |index| each!(index, index => index.contains(row_id)))
    }

    /// filter_rows(mask) -> the rows for which the mask, one value a row, is true.
    fn filter_rows(&self, py: Python<'_>, mask: PyReadonlyArray1<'_, bool>) -> PyResult<Filter> {
        let mask = mask.as_slice()?;
        let filter = self.read(py, |index| each!(index, index => index.filter_rows(mask)));
        filter.map(Filter::from).map_err(|error| to_py(error, 0))
    }

    /// filter_ids(ids) -> the rows with one of these ids; none for strings.
    fn filter_ids(&self, py: Python<'_>, ids: GivenIds<'_>) -> PyResult<Filter> {
        let ids = match &ids {
            GivenIds::Integers(ids) => ids.as_slice()?,
            GivenIds::Strings(_) => &[],
        };
        Ok(self.read(py, |index| each!(index, index => index.filter_ids(ids))).into())
    }

    /// filter_range(first, last, step) -> the rows with an id of first, first + step … up to last; none if last is below first.
    fn filter_range(&self, py: Python<'_>, first: i64, last: i64, step: i64) -> Filter {
        let has = |id: i64| (first..=last).contains(&id) && (id - first) % step == 0;
        self.read(py, |index| each!(index, index => index.filter_where(has))).into()
    }

    /// search(queries, k, scores, ids, filter, products, threads): the k nearest rows of every query into scores and ids; products are
    /// those of a query and a row.
    #[allow(clippy::too_many_arguments, reason = "inputs and outputs of one call")]
    fn search(
        &self,
        py: Python<'_>,
        queries: PyReadonlyArray2<'_, f32>,
        k: usize,
        mut scores: PyReadwriteArray2<'_, f32>,
        mut ids: PyReadwriteArray2<'_, i64>,
        filter: Option<Bound<'_, Filter>>,
        products: usize,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let queries = queries.as_slice()?;
        let (scores, ids) = (scores.as_slice_mut()?, ids.as_slice_mut()?);
        let filter = filter.as_ref().map(|filter| &filter.get().inner);
        // One lock for all batches, so that every query sees the same rows. Waiting for the interpreter under it is safe:
        // whoever waits for the lock is detached.
        py.detach(|| -> PyResult<()> {
            let index = self.inner.read().unwrap_or_else(PoisonError::into_inner);
            let (dim, n) = each!(&*index, index => (index.codec().spec().dim(), index.len() + index.removed()));
            let batch = (PRODUCTS_PER_CALL / products.saturating_mul(n).max(1)).clamp(FEWEST, 4096);
            let places = scores.chunks_mut(batch * k).zip(ids.chunks_mut(batch * k));
            for (i, (queries, (scores, ids))) in queries.chunks(batch * dim).zip(places).enumerate() {
                let work = |exec| {
                    let options = SearchOptions { filter, exec, ..SearchOptions::new(k) };
                    each!(&*index, index => index.search_into(queries, options, scores, ids))
                };
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

    /// parts() -> what `add` took, of all rows that can be found: packed, scales, squares, ids; copies.
    fn parts<'py>(&self, py: Python<'py>) -> PyResult<Parts<'py>> {
        let copy = |index: &Index| {
            each!(index, index => {
                let (packed, scales, squares) = index.rows();
                let (spec, n) = (index.codec().spec(), index.len());
                let shapes = ([n, spec.row_bytes()], [n, spec.norms()]);
                (shapes, packed, scales, squares, index.ids())
            })
        };
        let (shapes, packed, scales, squares, ids) = self.read(py, copy);
        let packed = PyArray1::from_vec(py, packed).reshape(shapes.0)?;
        let scales = PyArray1::from_vec(py, scales).reshape(shapes.1)?;
        Ok((packed, scales, PyArray1::from_vec(py, squares), PyArray1::from_vec(py, ids)))
    }

    /// Ids in the order of adding, a copy.
    fn ids<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let ids = self.read(py, |index| each!(index, index => index.ids()));
        PyArray1::from_vec(py, ids)
    }

    /// Rows that were removed and whose place is not yet taken back.
    #[getter]
    fn removed(&self, py: Python<'_>) -> usize {
        self.read(py, |index| each!(index, index => index.removed()))
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
