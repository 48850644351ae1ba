//! SIMD levels by name.

use pyo3::prelude::*;
use turboquant_rs::Level;

use crate::error::to_py;

/// available() -> list[str]: names of the SIMD levels that this machine and build can run, weakest first.
#[pyfunction]
pub(crate) fn available() -> Vec<&'static str> {
    Level::available().into_iter().map(Level::name).collect()
}

/// level() -> str: the level in use.
#[pyfunction]
pub(crate) fn level() -> PyResult<&'static str> {
    Level::default_level().map(Level::name).map_err(|error| to_py(error, 0))
}

/// set_level(name): use this level from now on, in the whole process. Results do not change.
#[pyfunction]
pub(crate) fn set_level(name: &str) -> PyResult<()> {
    Level::named(name).map(Level::set_default).map_err(|error| to_py(error, 0))
}
