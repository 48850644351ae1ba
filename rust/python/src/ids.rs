//! Ids from Python and back: integers, or strings for which integers stand.

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use turboquant_rs::{Error, Index, RowIds};

/// Ids as they come from Python.
#[derive(FromPyObject)]
pub(crate) enum GivenIds<'py> {
    Integers(PyReadonlyArray1<'py, i64>),
    Strings(Vec<String>),
}

impl GivenIds<'_> {
    /// The strings, if they are such.
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

/// The strings that ids stand for, in an index of such: None for −1.
pub(crate) type Names = Option<Vec<Option<String>>>;

/// Borrowed strings.
pub(crate) fn strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// Refuses integers where ids are strings: those that stand for them inside are nobody's business.
pub(crate) fn outside(index: &Index, ids: &[i64]) -> Result<(), Error> {
    match ids.first().filter(|_| index.named()) {
        Some(&id) => Err(Error::UnknownId { id }),
        None => Ok(()),
    }
}

/// The error for a filter of ids of another kind than the index's.
pub(crate) fn other_ids(expected: &str, got: &str) -> Error {
    let expected = format!("{expected}, as the ids of the index's vectors are, or a mask");
    Error::Argument { argument: "filter", expected, got: got.to_owned() }
}

/// Appends the strings that ids stand for, in an index of such.
pub(crate) fn append_names(names: &mut Names, index: &Index, ids: &[i64]) -> Result<(), Error> {
    if index.named() {
        names.get_or_insert_default().extend(names_of(index, ids)?);
    }
    Ok(())
}

/// The strings that ids stand for; none for −1.
pub(crate) fn names_of(index: &Index, ids: &[i64]) -> Result<Vec<Option<String>>, Error> {
    ids.iter().map(|&id| Ok(index.name(id)?.map(str::to_owned))).collect()
}
