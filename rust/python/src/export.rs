//! Rows of a `FlatIndex` as a copy elsewhere, on a GPU, needs them. Each function says which rows numbers stand for meanwhile.

use numpy::PyArray1;
use pyo3::prelude::*;
use turboquant_rs::RowState;

use crate::error::to_py;
use crate::filter::Filter;
use crate::index::FlatIndex;

/// How often rows got new numbers, stored rows, removed rows among them.
type State = (u64, usize, usize);

/// Packed codes, scales, bounds, squared norms and numbers of rows.
type Copied<'py> = (
    Bound<'py, PyArray1<u8>>,
    Bound<'py, PyArray1<f32>>,
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<f32>>,
    Bound<'py, PyArray1<u64>>,
);

fn tuple(state: RowState) -> State {
    (state.changes, state.stored, state.removed)
}

/// row_state(index) -> the state of rows.
#[pyfunction]
pub(crate) fn row_state(py: Python<'_>, index: &Bound<'_, FlatIndex>) -> State {
    index.get().read(py, |index| tuple(index.row_state()))
}

/// stored_ids(index) -> the state of rows, and the ids of all stored rows, a copy.
#[pyfunction]
pub(crate) fn stored_ids<'py>(
    py: Python<'py>,
    index: &Bound<'_, FlatIndex>,
) -> PyResult<(State, Bound<'py, PyArray1<i64>>)> {
    let ids = index.get().read(py, |index| Ok((tuple(index.row_state()), index.stored_ids()?.to_vec())));
    let (state, ids) = ids.map_err(|error| to_py(error, 0))?;
    Ok((state, PyArray1::from_vec(py, ids)))
}

/// count_rows(index, first, end, plain) -> the state of rows, and how many `copy_rows` copies.
#[pyfunction]
pub(crate) fn count_rows(
    py: Python<'_>,
    index: &Bound<'_, FlatIndex>,
    first: usize,
    end: usize,
    plain: bool,
) -> PyResult<(State, usize)> {
    let count = index.get().read(py, |index| Ok((tuple(index.row_state()), index.count_rows(first..end, plain)?)));
    count.map_err(|error| to_py(error, 0))
}

/// copy_rows(index, first, end, plain) -> the state of rows, and copies of packed codes, scales, bounds, squares and numbers of those with
/// numbers in a range, of the codec or of its plain one.
#[pyfunction]
pub(crate) fn copy_rows<'py>(
    py: Python<'py>,
    index: &Bound<'_, FlatIndex>,
    first: usize,
    end: usize,
    plain: bool,
) -> PyResult<(State, Copied<'py>)> {
    let copied = index.get().read(py, |index| Ok((tuple(index.row_state()), index.copy_rows(first..end, plain)?)));
    let (state, rows) = copied.map_err(|error| to_py(error, 0))?;
    let arrays = (
        PyArray1::from_vec(py, rows.packed),
        PyArray1::from_vec(py, rows.scales),
        PyArray1::from_vec(py, rows.bounds),
        PyArray1::from_vec(py, rows.squares),
        PyArray1::from_vec(py, rows.numbers),
    );
    Ok((state, arrays))
}

/// allowed_rows(index, filter) -> the state of rows, and which stored ones a search may return.
#[pyfunction]
pub(crate) fn allowed_rows<'py>(
    py: Python<'py>,
    index: &Bound<'_, FlatIndex>,
    filter: Option<Bound<'_, Filter>>,
) -> PyResult<(State, Bound<'py, PyArray1<bool>>)> {
    let filter = filter.as_ref().map(|filter| &filter.get().inner);
    let allowed = index.get().read(py, |index| Ok((tuple(index.row_state()), index.allowed_rows(filter)?)));
    let (state, allowed) = allowed.map_err(|error| to_py(error, 0))?;
    Ok((state, PyArray1::from_vec(py, allowed)))
}
