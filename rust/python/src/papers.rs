//! `PaperCodec`: QJL, TurboQuant_prod and PolarQuant over the caller's arrays, and their bytes.

use std::sync::Arc;

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyReadwriteArray1, PyReadwriteArray2};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use turboquant_rs::papers::{
    PaperCodec as _, PaperCodes, PaperSpec, PolarQuant, ProjectionKind, Qjl, Radius, TASK_ROWS, TurboQuantProd,
    check_parts,
};
use turboquant_rs::{Error, Exec, Metric, Result, encode_rows};

use crate::error::to_py;
use crate::pool;

/// Everything that `PaperCodec(...)` takes, in its order.
type Parameters = (&'static str, usize, &'static str, Vec<u32>, usize, u64);
/// Parameters, packed rows, scales.
type CodesParts<'py> = (Parameters, Bound<'py, PyArray2<u8>>, Bound<'py, PyArray2<f32>>);

pub(crate) enum Inner {
    Qjl(Arc<Qjl>),
    Prod(Arc<TurboQuantProd>),
    Polar(Arc<PolarQuant>),
}

/// Calls a method of whichever codec it is.
macro_rules! each {
    ($self:expr, $codec:ident => $call:expr) => {
        match &$self.inner {
            Inner::Qjl($codec) => $call,
            Inner::Prod($codec) => $call,
            Inner::Polar($codec) => $call,
        }
    };
}

/// PaperCodec(kind, dim, choice, bits, sketch_dim, seed): kind "qjl", "prod" or "polar"; choice a projection or a radius.
#[pyclass(frozen, module = "turboquant_rs._core")]
pub(crate) struct PaperCodec {
    pub(crate) inner: Inner,
}

impl PaperCodec {
    fn spec(&self) -> &PaperSpec {
        each!(self, codec => codec.spec())
    }
}

#[pymethods]
impl PaperCodec {
    #[new]
    fn new(
        py: Python<'_>,
        kind: &str,
        dim: usize,
        choice: &str,
        bits: Vec<u32>,
        sketch_dim: usize,
        seed: u64,
    ) -> PyResult<Self> {
        let build = || -> Result<Inner> {
            Ok(match (kind, &bits[..]) {
                ("qjl", [1]) => Inner::Qjl(Arc::new(Qjl::new(dim, sketch_dim, ProjectionKind::named(choice)?, seed)?)),
                ("prod", &[bits]) => {
                    Inner::Prod(Arc::new(TurboQuantProd::new(dim, bits, ProjectionKind::named(choice)?, seed)?))
                }
                ("polar", bits) => Inner::Polar(Arc::new(PolarQuant::new(dim, bits, Radius::named(choice)?, seed)?)),
                _ => {
                    let expected = r#""qjl", "prod" or "polar" with its bits"#;
                    return Err(Error::Argument { argument: "kind", expected: expected.into(), got: kind.into() });
                }
            })
        };
        // A Haar matrix of 4,096 dimensions takes most of a minute.
        Ok(Self { inner: py.detach(build).map_err(|error| to_py(error, 0))? })
    }

    /// 64-bit identity that the codec's codes carry.
    #[getter]
    fn fingerprint(&self) -> u64 {
        self.spec().fingerprint()
    }

    /// Bytes of one packed row, scales apart.
    #[getter]
    fn row_bytes(&self) -> usize {
        self.spec().row_bytes()
    }

    /// Scales a row.
    #[getter]
    fn norms(&self) -> usize {
        self.spec().norms()
    }

    /// Bytes that the codec itself holds.
    #[getter]
    fn nbytes(&self) -> usize {
        each!(self, codec => codec.nbytes())
    }

    /// matrix() -> (values, step): the projection's matrix in fixed point (size, dim), and what 1 stands for; None without one.
    #[allow(clippy::type_complexity, reason = "a pair that may be missing")]
    fn matrix<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyArray2<i16>>, f32)>> {
        let found = py.detach(|| match &self.inner {
            Inner::Qjl(codec) => codec.matrix(),
            Inner::Prod(codec) => codec.matrix(),
            Inner::Polar(_) => None,
        });
        let Some((values, step)) = found else { return Ok(None) };
        let dim = self.spec().dim();
        let rows = values.len() / dim;
        Ok(Some((PyArray1::from_vec(py, values).reshape([rows, dim])?, step)))
    }

    /// encode(metric, x, packed, scales, squares, first_row, threads): encode rows as an index of that metric keeps them, "ip" as they are;
    /// squares is empty but for "l2".
    #[allow(clippy::too_many_arguments, reason = "inputs and outputs of one call")]
    fn encode(
        &self,
        py: Python<'_>,
        metric: &str,
        x: PyReadonlyArray2<'_, f32>,
        mut packed: PyReadwriteArray2<'_, u8>,
        mut scales: PyReadwriteArray2<'_, f32>,
        mut squares: PyReadwriteArray1<'_, f32>,
        first_row: usize,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let metric = Metric::named(metric).map_err(|error| to_py(error, 0))?;
        let rows = x.as_array().nrows();
        let (x, packed, scales) = (x.as_slice()?, packed.as_slice_mut()?, scales.as_slice_mut()?);
        let squares = squares.as_slice_mut()?;
        let work = |exec: Exec| each!(self, codec => encode_rows(&**codec, metric, x, packed, scales, squares, exec));
        py.detach(|| pool::run(threads, rows > TASK_ROWS, work)).map_err(|error| to_py(error, first_row))
    }

    /// decode(packed, scales, out, threads): decode rows into out.
    fn decode(
        &self,
        py: Python<'_>,
        packed: PyReadonlyArray2<'_, u8>,
        scales: PyReadonlyArray2<'_, f32>,
        mut out: PyReadwriteArray2<'_, f32>,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let rows = out.as_array().nrows();
        let (packed, scales, out) = (packed.as_slice()?, scales.as_slice()?, out.as_slice_mut()?);
        let work = |exec: Exec| each!(self, codec => codec.decode_into(packed, scales, out, exec));
        py.detach(|| pool::run(threads, rows > TASK_ROWS, work)).map_err(|error| to_py(error, 0))
    }

    /// score(queries, packed, scales, out, first_row, threads): scores of queries against codes into out.
    #[allow(clippy::too_many_arguments, reason = "inputs and outputs of one call")]
    fn score(
        &self,
        py: Python<'_>,
        queries: PyReadonlyArray2<'_, f32>,
        packed: PyReadonlyArray2<'_, u8>,
        scales: PyReadonlyArray2<'_, f32>,
        mut out: PyReadwriteArray2<'_, f32>,
        first_row: usize,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let rows = packed.as_array().nrows();
        let (queries, packed, scales) = (queries.as_slice()?, packed.as_slice()?, scales.as_slice()?);
        let out = out.as_slice_mut()?;
        let work = |exec: Exec| each!(self, codec => codec.score_into(queries, packed, scales, out, exec));
        py.detach(|| pool::run(threads, rows > Exec::SCAN_ROWS, work)).map_err(|error| to_py(error, first_row))
    }

    /// check(packed, scales): refuse parts that are no codes of this codec.
    fn check(
        &self,
        py: Python<'_>,
        packed: PyReadonlyArray2<'_, u8>,
        scales: PyReadonlyArray2<'_, f32>,
    ) -> PyResult<()> {
        let (packed, scales) = (packed.as_slice()?, scales.as_slice()?);
        py.detach(|| check_parts(self.spec(), packed, scales)).map_err(|error| to_py(error, 0))?;
        Ok(())
    }

    /// to_bytes(packed, scales) -> bytes: a whole code file.
    fn to_bytes<'py>(
        &self,
        py: Python<'py>,
        packed: PyReadonlyArray2<'py, u8>,
        scales: PyReadonlyArray2<'py, f32>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (packed, scales) = (packed.as_slice()?, scales.as_slice()?);
        let codes = || PaperCodes::new(self.spec().clone(), packed.to_vec(), scales.to_vec());
        let bytes = py.detach(|| codes().map(|codes| codes.to_bytes())).map_err(|error| to_py(error, 0))?;
        Ok(PyBytes::new(py, &bytes))
    }
}

/// paper_codes_from_bytes(data) -> (parameters, packed, scales), checked against every checksum.
#[pyfunction]
pub(crate) fn paper_codes_from_bytes<'py>(py: Python<'py>, data: &[u8]) -> PyResult<CodesParts<'py>> {
    let codes = py.detach(|| PaperCodes::from_bytes(data)).map_err(|error| to_py(error, 0))?;
    let (rows, spec) = (codes.len(), codes.spec());
    let packed = PyArray1::from_slice(py, codes.packed()).reshape([rows, spec.row_bytes()])?;
    let scales = PyArray1::from_slice(py, codes.scales()).reshape([rows, spec.norms()])?;
    Ok((parameters(spec)?, packed, scales))
}

fn parameters(spec: &PaperSpec) -> PyResult<Parameters> {
    Ok(match spec {
        PaperSpec::Qjl { dim, sketch_dim, projection, seed } => {
            ("qjl", *dim, projection.name(), vec![1], *sketch_dim, *seed)
        }
        PaperSpec::Prod { dim, bits, projection, seed } => ("prod", *dim, projection.name(), vec![*bits], *dim, *seed),
        PaperSpec::Polar { dim, bits, radius, seed } => ("polar", *dim, radius.name(), bits.clone(), 0, *seed),
        _ => return Err(crate::error::CorruptError::new_err("codes of a codec that needs a newer turboquant-rs")),
    })
}
