//! `Filter`: a set of an index's rows, made by `FlatIndex`.

use pyo3::prelude::*;
use turboquant_rs::Filter as Rows;

use crate::error::to_py;

/// Which rows a search may return.
#[pyclass(frozen, module = "turboquant_rs._core")]
pub(crate) struct Filter {
    pub(crate) inner: Rows,
}

#[pymethods]
impl Filter {
    /// and_(other) -> the rows in both.
    fn and_(&self, other: &Self) -> PyResult<Self> {
        self.inner.and(&other.inner).map(Self::from).map_err(|error| to_py(error, 0))
    }

    /// or_(other) -> the rows in either.
    fn or_(&self, other: &Self) -> PyResult<Self> {
        self.inner.or(&other.inner).map(Self::from).map_err(|error| to_py(error, 0))
    }

    /// complement() -> the rows that it knows of and leaves out.
    fn complement(&self) -> Self {
        self.inner.complement().into()
    }

    /// Bytes held.
    #[getter]
    fn nbytes(&self) -> usize {
        self.inner.nbytes()
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }
}

impl From<Rows> for Filter {
    fn from(inner: Rows) -> Self {
        Self { inner }
    }
}
