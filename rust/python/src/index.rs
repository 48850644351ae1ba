//! `FlatIndex`: an index behind a lock that is only taken while detached from the interpreter.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray1, PyReadwriteArray2,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use turboquant_rs::{CodesView, EncodedRows, Error, Exec, Index, Keep, Level, Metric, SearchOptions, SearchStats};

use crate::codec::Codec;
use crate::error::to_py;
use crate::filter::Filter;
use crate::ids::{GivenIds, Names, append_names, names_of, other_ids, outside, row_ids, strs};
use crate::pool;

/// Products that a search does between two looks at pending signals: half a second of one core where an instruction multiplies bytes, and
/// of AVX2 elsewhere. Rows are decoded anew after each, so fewer would be felt.
const PRODUCTS_PER_CALL: [usize; 2] = [1 << 37, 1 << 35];
/// Queries of a call come in whole groups of so many, which is what kernels multiply together.
const GROUP: usize = 12;

/// Which rows are coded badly, their packed rows and scales by the plain codec.
type Split<'py> = (PyReadonlyArray1<'py, bool>, PyReadonlyArray2<'py, u8>, PyReadonlyArray2<'py, f32>);

/// What an index keeps of rows: bytes, and scales.
type Originals<'py> = (PyReadonlyArray2<'py, u8>, PyReadonlyArray1<'py, f32>);

/// What a search read: rows and bytes of first stages, rows and bytes in full.
type Read = (usize, usize, usize, usize);

/// Limits, scores, ids and names of rows within a threshold, and what was read.
type Found<'py> = (Bound<'py, PyArray1<i64>>, Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<i64>>, Names, Read);

/// FlatIndex(codec, metric, keep): an exact scan of codes. Searches run side by side; an add waits for them.
#[pyclass(frozen, module = "turboquant_rs._core")]
pub(crate) struct FlatIndex {
    inner: RwLock<Index>,
}

impl FlatIndex {
    // A panic under the lock is a bug of the core; the index it leaves is not trusted less than the error itself.
    pub(crate) fn read<R: Send>(&self, py: Python<'_>, work: impl FnOnce(&Index) -> R + Send) -> R {
        py.detach(|| work(&self.inner.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn write<R: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Index) -> R + Send) -> R {
        py.detach(|| work(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Room for names, in an index of such.
    fn no_names(&self, py: Python<'_>) -> Names {
        self.read(py, |index| index.named().then(Vec::new))
    }

    /// Searches for queries, a batch at a time between looks at pending signals; `work` gets a batch's queries and their numbers.
    fn in_batches(
        &self,
        py: Python<'_>,
        queries: &[f32],
        threads: Option<usize>,
        mut work: impl FnMut(&Index, &[f32], Range<usize>, Exec) -> turboquant_rs::Result<SearchStats> + Send,
    ) -> PyResult<Read> {
        // One lock for all batches, so that every query sees the same rows. Waiting for the interpreter under it is safe:
        // whoever waits for the lock is detached.
        let stats = py.detach(|| -> PyResult<SearchStats> {
            let index = self.inner.read().unwrap_or_else(PoisonError::into_inner);
            let dim = index.codec().dim();
            let fast = Level::default_level().is_ok_and(Level::multiplies_bytes);
            // Levels of two bytes take four products each: all of a plain code from 5 bits on, of a fit's some.
            let bytes = if index.codec().row_bytes() > 4 * dim.div_ceil(8) { 4 } else { 1 };
            let products = PRODUCTS_PER_CALL[usize::from(!fast)] / dim / bytes;
            let batch = (products / index.len().max(1) / GROUP).clamp(1, 4096 / GROUP) * GROUP;
            // What has one task, and rescores for one query.
            let splits = queries.len() > dim || index.len() + index.removed() > Exec::SCAN_ROWS;
            let mut stats = SearchStats::default();
            for (i, queries) in queries.chunks(batch * dim).enumerate() {
                let rows = i * batch..i * batch + queries.len() / dim;
                let read = pool::run(threads, splits, |exec| work(&index, queries, rows, exec));
                stats += read.map_err(|error| to_py(error, i * batch))?;
                Python::attach(|py| py.check_signals())?;
            }
            Ok(stats)
        })?;
        Ok((stats.first_stage_rows, stats.first_stage_bytes, stats.full_rows, stats.full_bytes))
    }
}

fn made(filter: turboquant_rs::Result<turboquant_rs::Filter>) -> PyResult<Filter> {
    filter.map(Filter::from).map_err(|error| to_py(error, 0))
}

#[pymethods]
impl FlatIndex {
    #[new]
    fn new(codec: &Codec, metric: &str, keep: Option<&str>) -> PyResult<Self> {
        let metric = Metric::named(metric).map_err(|error| to_py(error, 0))?;
        let keep = keep.map(Keep::named).transpose().map_err(|error| to_py(error, 0))?;
        let codec = codec.inner.clone();
        let index =
            keep.map_or_else(|| Index::new(codec.clone(), metric), |k| Index::keeping(codec.clone(), metric, k));
        Ok(Self { inner: RwLock::new(index) })
    }

    /// open(paths, mmap): the index of a file, or of several as one, mapped or read.
    #[staticmethod]
    fn open(py: Python<'_>, paths: Vec<PathBuf>, mmap: bool) -> PyResult<Self> {
        let index = py.detach(|| Index::open_all(&paths, mmap)).map_err(|error| to_py(error, 0))?;
        Ok(Self { inner: RwLock::new(index) })
    }

    /// from_bytes(data): the index in the bytes of a file.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let index = py.detach(|| Index::from_bytes(data)).map_err(|error| to_py(error, 0))?;
        Ok(Self { inner: RwLock::new(index) })
    }

    /// The bytes of a file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.read(py, Index::to_bytes).map_err(|error| to_py(error, 0))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// save(path): writes a whole file.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        self.read(py, |index| index.save(&path)).map_err(|error| to_py(error, 0))
    }

    /// Appends what is new to the file.
    fn commit(&self, py: Python<'_>) -> PyResult<()> {
        self.read(py, Index::commit).map_err(|error| to_py(error, 0))
    }

    /// refresh() -> whether others have committed something, which the index then has, too.
    fn refresh(&self, py: Python<'_>) -> PyResult<bool> {
        self.write(py, Index::refresh).map_err(|error| to_py(error, 0))
    }

    /// Compares what is mapped with its checksums.
    fn verify(&self, py: Python<'_>) -> PyResult<()> {
        self.read(py, Index::verify).map_err(|error| to_py(error, 0))
    }

    /// The codec.
    #[getter]
    fn codec(&self, py: Python<'_>) -> Codec {
        self.read(py, |index| Codec { inner: index.codec().clone() })
    }

    /// The metric's name.
    #[getter]
    fn metric(&self, py: Python<'_>) -> &'static str {
        self.read(py, |index| index.metric().name())
    }

    /// The form in which it keeps rows for exact scores, or None.
    #[getter]
    fn keep(&self, py: Python<'_>) -> Option<&'static str> {
        self.read(py, |index| index.keep().map(Keep::name))
    }

    /// Bytes of rows in a mapped file, which are counted in `nbytes`, too.
    #[getter]
    fn mapped_nbytes(&self, py: Python<'_>) -> usize {
        self.read(py, Index::mapped_nbytes)
    }

    /// add(x, ids, replace) -> ids of the new rows, integers. They are encoded on this thread while the index is held: for few values,
    /// which would else spend more time on the way.
    fn add<'py>(
        &self,
        py: Python<'py>,
        x: PyReadonlyArray2<'py, f32>,
        ids: Option<GivenIds<'py>>,
        replace: bool,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let (x, names) = (x.as_slice()?, ids.as_ref().and_then(GivenIds::names));
        let ids = row_ids(ids.as_ref(), names.as_deref(), replace)?;
        let added = self.write(py, |index| index.add_with(x, ids, Exec { serial: true, ..Exec::default() }));
        Ok(PyArray1::from_vec(py, added.map_err(|error| to_py(error, 0))?))
    }

    /// add_codes(packed, scales, squares, ids, replace, split, originals) -> ids of the new rows, integers; split is which rows a fitted
    /// codec codes badly, with their packed rows and scales by its plain codec; originals are what `convert_rows` made.
    #[allow(clippy::too_many_arguments, reason = "one array each")]
    fn add_codes<'py>(
        &self,
        py: Python<'py>,
        packed: PyReadonlyArray2<'py, u8>,
        scales: PyReadonlyArray2<'py, f32>,
        squares: PyReadonlyArray1<'py, f32>,
        ids: Option<GivenIds<'py>>,
        replace: bool,
        split: Option<Split<'py>>,
        originals: Option<Originals<'py>>,
    ) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let (packed, scales, squares) = (packed.as_slice()?, scales.as_slice()?, squares.as_slice()?);
        let names = ids.as_ref().and_then(GivenIds::names);
        let ids = row_ids(ids.as_ref(), names.as_deref(), replace)?;
        let split = match &split {
            None => None,
            Some((badly, packed, scales)) => Some((badly.as_slice()?, packed.as_slice()?, scales.as_slice()?)),
        };
        let originals = match &originals {
            None => None,
            Some((bytes, scales)) => Some((bytes.as_slice()?, scales.as_slice()?)),
        };
        let added = self.write(py, |index| {
            let codec = index.codec().clone();
            let full = codec.spec().full();
            let codes = CodesView::new(&codec, &full, packed, scales)?;
            let Some((badly, packed, scales)) = split else {
                let rows = EncodedRows { codes, squares, badly: &[], plain: None, originals };
                return index.add_encoded(rows, ids);
            };
            let plain = codec.plain().ok_or_else(|| Error::Argument {
                argument: "split",
                expected: "left out where the codec has no plain one".to_owned(),
                got: "one".to_owned(),
            })?;
            let full = plain.spec().full();
            let plain = Some(CodesView::new(&plain, &full, packed, scales)?);
            index.add_encoded(EncodedRows { codes, squares, badly, plain, originals }, ids)
        });
        Ok(PyArray1::from_vec(py, added.map_err(|error| to_py(error, 0))?))
    }

    /// extend(other): appends the rows of another index of the same kind.
    fn extend(&self, py: Python<'_>, other: &Bound<'_, Self>) -> PyResult<()> {
        let (own, other) = (&self.inner, &other.get().inner);
        let done = py.detach(|| {
            // Always the lock of the lower address first, so that two that extend each other do not wait for ever.
            let early =
                (own as *const RwLock<Index> < other).then(|| own.write().unwrap_or_else(PoisonError::into_inner));
            let other = other.read().unwrap_or_else(PoisonError::into_inner);
            let mut index = early.unwrap_or_else(|| own.write().unwrap_or_else(PoisonError::into_inner));
            index.extend(&other)
        });
        done.map_err(|error| to_py(error, 0))
    }

    /// remove(ids): integers or strings.
    fn remove(&self, py: Python<'_>, ids: GivenIds<'_>) -> PyResult<()> {
        let done = match &ids {
            GivenIds::Integers(ids) => {
                let ids = ids.as_slice()?;
                self.write(py, |index| outside(index, ids).and_then(|()| index.remove(ids)))
            }
            GivenIds::Strings(names) => self.write(py, |index| index.remove_names(&strs(names))),
        };
        done.map_err(|error| to_py(error, 0))
    }

    /// compact(): takes the place of removed rows back.
    fn compact(&self, py: Python<'_>) -> PyResult<()> {
        self.write(py, Index::compact).map_err(|error| to_py(error, 0))
    }

    /// contains(id): whether an integer is the id of a row.
    fn contains(&self, py: Python<'_>, row_id: i64) -> PyResult<bool> {
        let found = self.read(py, |index| Ok(!index.named() && index.contains(row_id)?));
        found.map_err(|error| to_py(error, 0))
    }

    /// contains_name(name): whether a string is the id of a row.
    fn contains_name(&self, py: Python<'_>, name: &str) -> PyResult<bool> {
        let found = self.read(py, |index| index.id_of_name(name));
        found.map(|id| id.is_some()).map_err(|error| to_py(error, 0))
    }

    /// names_of(ids) -> the strings that ids stand for, None for those that are not there; None if ids are integers.
    #[allow(clippy::needless_pass_by_value, reason = "the form that arguments come in")]
    fn names_of(&self, py: Python<'_>, ids: PyReadonlyArray1<'_, i64>) -> PyResult<Option<Vec<Option<String>>>> {
        let ids = ids.as_slice()?;
        let names = self.read(py, |index| index.named().then(|| names_of(index, ids)).transpose());
        names.map_err(|error| to_py(error, 0))
    }

    /// names() -> the strings that the ids stand for, in the order of adding; None if ids are integers.
    fn names(&self, py: Python<'_>) -> PyResult<Option<Vec<String>>> {
        let names = self.read(py, |index| index.named().then(|| names_of(index, &index.ids()?)).transpose());
        let names = names.map_err(|error| to_py(error, 0))?;
        Ok(names.map(|names| names.into_iter().flatten().collect()))
    }

    /// search(queries, k, rescore, scores, ids, filter, exact, deviations, threads) -> the strings that ids stand for, if they do, and what was read:
    /// the k nearest rows of every query into scores and ids. With rescore > 0 the best of rescore · k by exact scores.
    #[allow(clippy::too_many_arguments, reason = "they have names on the Python side")]
    fn search(
        &self,
        py: Python<'_>,
        queries: PyReadonlyArray2<'_, f32>,
        k: usize,
        rescore: usize,
        mut scores: PyReadwriteArray2<'_, f32>,
        mut ids: PyReadwriteArray2<'_, i64>,
        filter: Option<Bound<'_, Filter>>,
        exact: bool,
        deviations: f32,
        threads: Option<usize>,
    ) -> PyResult<(Names, Read)> {
        let queries = queries.as_slice()?;
        let (scores, ids) = (scores.as_slice_mut()?, ids.as_slice_mut()?);
        let filter = filter.as_ref().map(|filter| &filter.get().inner);
        let mut names = self.no_names(py);
        let read = self.in_batches(py, queries, threads, |index, queries, rows, exec| {
            let places = rows.start * k..rows.end * k;
            let (scores, ids) = (&mut scores[places.clone()], &mut ids[places]);
            let options = SearchOptions { k, filter, rescore, exact, deviations, exec };
            let read = index.search_into(queries, options, scores, ids)?;
            append_names(&mut names, index, ids)?;
            Ok(read)
        })?;
        Ok((names, read))
    }

    /// range_search(queries, threshold, filter, exact, deviations, threads) -> limits, scores and ids of the rows within a threshold, the strings
    /// that the ids stand for, if they do, and what was read.
    #[allow(clippy::too_many_arguments, reason = "they have names on the Python side")]
    fn range_search<'py>(
        &self,
        py: Python<'py>,
        queries: PyReadonlyArray2<'_, f32>,
        threshold: f32,
        filter: Option<Bound<'_, Filter>>,
        exact: bool,
        deviations: f32,
        threads: Option<usize>,
    ) -> PyResult<Found<'py>> {
        let queries = queries.as_slice()?;
        let filter = filter.as_ref().map(|filter| &filter.get().inner);
        let (mut lims, mut scores, mut ids) = (vec![0_i64], Vec::new(), Vec::new());
        let mut names = self.no_names(py);
        let read = self.in_batches(py, queries, threads, |index, queries, _, exec| {
            let options = SearchOptions { filter, exact, deviations, exec, ..SearchOptions::new(usize::MAX) };
            let (found, read) = index.range_search_with(queries, threshold, options)?;
            lims.extend(found.lims[1..].iter().map(|&end| (ids.len() + end) as i64));
            append_names(&mut names, index, &found.ids)?;
            scores.extend(found.scores);
            ids.extend(found.ids);
            Ok(read)
        })?;
        let arrays = (PyArray1::from_vec(py, lims), PyArray1::from_vec(py, scores), PyArray1::from_vec(py, ids));
        Ok((arrays.0, arrays.1, arrays.2, names, read))
    }

    /// filter_rows(mask) -> the rows for which the mask, one value a row, is true.
    fn filter_rows(&self, py: Python<'_>, mask: PyReadonlyArray1<'_, bool>) -> PyResult<Filter> {
        let mask = mask.as_slice()?;
        made(self.read(py, |index| index.filter_rows(mask)))
    }

    /// filter_ids(ids) -> the rows with one of these ids, integers or strings.
    fn filter_ids(&self, py: Python<'_>, ids: GivenIds<'_>) -> PyResult<Filter> {
        made(match &ids {
            GivenIds::Integers(ids) => {
                let ids = ids.as_slice()?;
                self.read(py, |index| {
                    // Integers that stand for strings are nobody's ids.
                    if index.named() && !ids.is_empty() {
                        return Err(other_ids("strings", "integers"));
                    }
                    index.filter_ids(ids)
                })
            }
            GivenIds::Strings(names) => self.read(py, |index| {
                if index.ids_decided() && !index.named() {
                    return Err(other_ids("integers", "strings"));
                }
                let ids = names.iter().filter_map(|name| index.id_of_name(name).transpose());
                index.filter_ids(&ids.collect::<Result<Vec<_>, _>>()?)
            }),
        })
    }

    /// filter_range(first, last, step) -> the rows with an id of first, first + step … up to last; none if last is below first.
    fn filter_range(&self, py: Python<'_>, first: i64, last: i64, step: i64) -> PyResult<Filter> {
        let has = |id: i64| (first..=last).contains(&id) && (id - first) % step == 0;
        made(self.read(py, |index| {
            if index.named() {
                return Err(other_ids("strings", "a range of integers"));
            }
            index.filter_where(has)
        }))
    }

    /// exact_scores(queries, ids, out, threads): exact scores of ids, equally many a query, from the rows that the index keeps. Rows
    /// that are gone meanwhile get the worst score, and id −1.
    fn exact_scores(
        &self,
        py: Python<'_>,
        queries: PyReadonlyArray2<'_, f32>,
        mut ids: PyReadwriteArray1<'_, i64>,
        mut out: PyReadwriteArray1<'_, f32>,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let (queries, ids, out) = (queries.as_slice()?, ids.as_slice_mut()?, out.as_slice_mut()?);
        let done = self.read(py, |index| {
            for id in ids.iter_mut() {
                *id = if index.contains(*id)? { *id } else { -1 };
            }
            pool::run(threads, queries.len() > index.codec().dim(), |exec| {
                index.exact_scores_into(queries, ids, out, exec)
            })
        });
        done.map_err(|error| to_py(error, 0))
    }

    /// exact_scores_of(queries, rows, out, threads): exact scores of rows, equally many a query.
    fn exact_scores_of(
        &self,
        py: Python<'_>,
        queries: PyReadonlyArray2<'_, f32>,
        rows: PyReadonlyArray2<'_, f32>,
        mut out: PyReadwriteArray1<'_, f32>,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let (queries, rows, out) = (queries.as_slice()?, rows.as_slice()?, out.as_slice_mut()?);
        let done = self.read(py, |index| {
            pool::run(threads, queries.len() > index.codec().dim(), |exec| {
                index.exact_scores_of_into(queries, rows, out, exec)
            })
        });
        done.map_err(|error| to_py(error, 0))
    }

    /// reconstruct(ids) -> decoded rows.
    fn reconstruct<'py>(&self, py: Python<'py>, ids: GivenIds<'_>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let (rows, dim) = match &ids {
            GivenIds::Integers(ids) => {
                let ids = ids.as_slice()?;
                self.read(py, |index| {
                    let work = |exec| outside(index, ids).and_then(|()| index.reconstruct_with(ids, exec));
                    (pool::run(None, ids.len() > Exec::TASK_ROWS, work), index.codec().dim())
                })
            }
            GivenIds::Strings(names) => self.read(py, |index| {
                (
                    pool::run(None, names.len() > Exec::TASK_ROWS, |exec| index.reconstruct_names(&strs(names), exec)),
                    index.codec().dim(),
                )
            }),
        };
        let rows = rows.map_err(|error| to_py(error, 0))?;
        let n = rows.len() / dim;
        PyArray1::from_vec(py, rows).reshape([n, dim])
    }

    /// Ids in the order of adding, a copy.
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let ids = self.read(py, Index::ids).map_err(|error| to_py(error, 0))?;
        Ok(PyArray1::from_vec(py, ids))
    }

    /// Rows that are kept as plain codes, since the fitted codec codes them badly.
    #[getter]
    fn plain_rows(&self, py: Python<'_>) -> usize {
        self.read(py, Index::plain_rows)
    }

    /// Rows that were removed and whose place is not yet taken back.
    #[getter]
    fn removed(&self, py: Python<'_>) -> usize {
        self.read(py, Index::removed)
    }

    /// Bytes of codes, of ids, of kept rows, and of the way back from ids to rows.
    #[getter]
    fn sizes(&self, py: Python<'_>) -> (usize, usize, usize, usize) {
        self.read(py, |index| {
            (index.codes_nbytes(), index.ids_nbytes(), index.originals_nbytes(), index.table_nbytes())
        })
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.read(py, Index::len)
    }
}
