//! Core errors to Python exceptions: one type, one exception.

use pyo3::PyErr;
use pyo3::exceptions::{PyKeyError, PyOSError, PyValueError};
use turboquant_rs::Error;

pyo3::create_exception!(
    turboquant_rs,
    CorruptError,
    PyValueError,
    "Bytes that are no turboquant codes or index, or damaged ones; the message names section and offset."
);

/// The exception for an error, its row counted from `first_row`.
pub(crate) fn to_py(error: Error, first_row: usize) -> PyErr {
    let error = error.with_first_row(first_row);
    let text = error.to_string();
    match error {
        Error::Corrupt { .. } | Error::Version { .. } => CorruptError::new_err(text),
        Error::File { path, what, code: Some(code), .. } => PyOSError::new_err((code, what, path)),
        Error::File { kind, .. } => std::io::Error::new(kind, text).into(),
        Error::UnknownId { .. } | Error::UnknownName { .. } => PyKeyError::new_err(text),
        _ => PyValueError::new_err(text),
    }
}
