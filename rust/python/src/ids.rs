//! Ids as they come from Python: integers or strings.

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use turboquant_rs::RowIds;

/// Ids as they come from Python.
#[derive(FromPyObject)]
pub(crate) enum GivenIds<'py> {
    Integers(PyReadonlyArray1<'py, i64>),
    Strings(Vec<String>),
}

impl GivenIds<'_> {
    pub(crate) fn names(&self) -> Option<Vec<&str>> {
        if let Self::Strings(names) = self { Some(strs(names)) } else { None }
    }
}

/// The ids that rows get; `names` are those of `ids`, if they are strings.
pub(crate) fn row_ids<'a>(
    ids: Option<&'a GivenIds<'_>>,
    names: Option<&'a [&'a str]>,
    replace: bool,
) -> PyResult<RowIds<'a>> {
    Ok(match (ids, names, replace) {
        (Some(GivenIds::Integers(ids)), _, false) => RowIds::New(ids.as_slice()?),
        (Some(GivenIds::Integers(ids)), _, true) => RowIds::Upsert(ids.as_slice()?),
        (_, Some(names), false) => RowIds::NewNames(names),
        (_, Some(names), true) => RowIds::UpsertNames(names),
        (_, None, _) => RowIds::Assigned,
    })
}

pub(crate) fn strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
