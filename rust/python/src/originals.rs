//! `convert_rows`: rows in the form in which an index keeps them.

use numpy::{PyReadonlyArray2, PyReadwriteArray1, PyReadwriteArray2};
use pyo3::prelude::*;
use turboquant_rs::Keep;

use crate::error::to_py;

/// convert_rows(keep, x, out, scales, first_row): float32 rows in the form in which an index keeps them; errors count rows from
/// first_row.
#[pyfunction]
pub(crate) fn convert_rows(
    py: Python<'_>,
    keep: &str,
    x: PyReadonlyArray2<'_, f32>,
    mut out: PyReadwriteArray2<'_, u8>,
    mut scales: PyReadwriteArray1<'_, f32>,
    first_row: usize,
) -> PyResult<()> {
    let dim = x.as_array().ncols();
    let (x, out, scales) = (x.as_slice()?, out.as_slice_mut()?, scales.as_slice_mut()?);
    let done = py.detach(|| Keep::named(keep)?.convert(x, dim, out, scales));
    done.map_err(|error| to_py(error, first_row))
}
