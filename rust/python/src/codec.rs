//! `Codec`: a codec over the caller's arrays, and the byte format of codes.

use std::sync::Arc;

use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray1, PyReadwriteArray2,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use turboquant_rs::{
    CodecSpec, Codes, CodesView, DualParts, EncodeOptions, Exec, FittedParts, Header, Options, RotationKind, Scale,
    TurboQuant,
};

use crate::error::to_py;
use crate::pool;

/// Seed, rotation, scale, refine.
type Choices = (u64, &'static str, &'static str, u8);
/// Codec, kept bits, rows, where packed rows and scales start, their checksums, bytes of the whole.
type HeaderParts = (Codec, Vec<u32>, usize, usize, usize, u32, u32, usize);
/// Codec, kept bits, packed rows, scales.
type CodesParts<'py> = (Codec, Vec<u32>, Bound<'py, PyArray2<u8>>, Bound<'py, PyArray2<f32>>);
/// Center, transform, deviations, segments, order of units, dual.
type Fit<'py> = (
    Option<Bound<'py, PyArray1<f32>>>,
    Bound<'py, PyArray2<i16>>,
    Bound<'py, PyArray1<f32>>,
    Vec<(usize, u32)>,
    Vec<u8>,
    Option<FitDual<'py>>,
);
/// Matrix, gains of rows, gains of queries.
type FitDual<'py> = (Bound<'py, PyArray2<i16>>, Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<f32>>);
/// What Python passes for a dual.
type ReadonlyDual<'py> = (PyReadonlyArray2<'py, i16>, PyReadonlyArray1<'py, f32>, PyReadonlyArray1<'py, f32>);

/// Packed rows and scales.
type Arrays<'py> = (Bound<'py, PyArray2<u8>>, Bound<'py, PyArray2<f32>>);

/// Integers and factors of queries, norms and their powers of two.
type QueryIntegers<'py> =
    (Bound<'py, PyArray2<i16>>, Bound<'py, PyArray2<f32>>, Bound<'py, PyArray1<f32>>, Bound<'py, PyArray1<i32>>);

/// Codec(dim, bits, seed, rotation, scale, refine): TurboQuant over the caller's arrays.
#[pyclass(frozen, module = "turboquant_rs._core")]
pub(crate) struct Codec {
    pub(crate) inner: Arc<TurboQuant>,
}

#[pymethods]
impl Codec {
    #[new]
    fn new(dim: usize, bits: u32, seed: u64, rotation: &str, scale: &str, refine: u8) -> PyResult<Self> {
        let build = || {
            let options =
                Options { seed, rotation: RotationKind::named(rotation)?, scale: Scale::named(scale)?, refine };
            TurboQuant::new(dim, bits, options)
        };
        Ok(Self { inner: Arc::new(build().map_err(|error| to_py(error, 0))?) })
    }

    /// from_parts(center, transform, sigmas, segments, order, dual, seed, scale, refine) -> Codec: a fitted codec.
    #[staticmethod]
    #[allow(clippy::too_many_arguments, reason = "the parts of a fit")]
    fn from_parts(
        py: Python<'_>,
        center: Option<PyReadonlyArray1<'_, f32>>,
        transform: PyReadonlyArray2<'_, i16>,
        sigmas: PyReadonlyArray1<'_, f32>,
        segments: Vec<(usize, u32)>,
        order: Vec<u8>,
        dual: Option<ReadonlyDual<'_>>,
        seed: u64,
        scale: &str,
        refine: u8,
    ) -> PyResult<Self> {
        let center = center.as_ref().map(|center| center.as_slice()).transpose()?;
        let (dim, transform, sigmas) = (transform.shape()[1], transform.as_slice()?, sigmas.as_slice()?);
        let dual = match &dual {
            None => None,
            Some((matrix, row_gains, query_gains)) => Some(DualParts {
                matrix: matrix.as_slice()?,
                row_gains: row_gains.as_slice()?,
                query_gains: query_gains.as_slice()?,
            }),
        };
        let build = || {
            let options = Options { seed, scale: Scale::named(scale)?, refine, ..Options::default() };
            let parts = FittedParts { dim, center, transform, sigmas, segments: &segments, order: &order, dual };
            TurboQuant::from_parts(parts, options)
        };
        Ok(Self { inner: Arc::new(py.detach(build).map_err(|error| to_py(error, 0))?) })
    }

    /// split(dim, bits, outliers, seed, rotation, scale, refine) -> Codec: outlier channels in a segment of their own.
    #[staticmethod]
    #[allow(clippy::too_many_arguments, reason = "what describes a codec")]
    fn split(
        dim: usize,
        bits: (u32, u32),
        outliers: PyReadonlyArray1<'_, u32>,
        seed: u64,
        rotation: &str,
        scale: &str,
        refine: u8,
    ) -> PyResult<Self> {
        let outliers: Vec<_> = outliers.as_slice()?.iter().map(|&channel| channel as usize).collect();
        let build = || {
            let options =
                Options { seed, rotation: RotationKind::named(rotation)?, scale: Scale::named(scale)?, refine };
            TurboQuant::split(dim, [bits.0, bits.1], &outliers, options)
        };
        Ok(Self { inner: Arc::new(build().map_err(|error| to_py(error, 0))?) })
    }

    /// outliers() -> channels of the first of two segments, a copy; None without any.
    fn outliers<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<i64>>> {
        let outliers = self.inner.spec().outliers.as_ref()?;
        Some(PyArray1::from_iter(py, outliers.channels().iter().map(|&channel| i64::from(channel))))
    }

    /// parts() -> (center, transform, sigmas, segments, order, dual) of a fitted codec, copies; None of a plain one.
    fn parts<'py>(&self, py: Python<'py>) -> PyResult<Option<Fit<'py>>> {
        let spec = self.inner.spec();
        let Some(fitted) = &spec.fitted else { return Ok(None) };
        let center = fitted.center().map(|center| PyArray1::from_slice(py, center));
        let axes = fitted.transform().len() / fitted.dim();
        let matrix = |values: &[i16]| PyArray1::from_slice(py, values).reshape([axes, fitted.dim()]);
        let transform = matrix(fitted.transform())?;
        let dual = match fitted.dual() {
            None => None,
            Some(dual) => Some((
                matrix(dual.matrix)?,
                PyArray1::from_slice(py, dual.row_gains),
                PyArray1::from_slice(py, dual.query_gains),
            )),
        };
        let segments = spec.segments.iter().map(|segment| (segment.dim, segment.bits)).collect();
        let sigmas = PyArray1::from_slice(py, fitted.sigmas());
        Ok(Some((center, transform, sigmas, segments, fitted.order().to_vec(), dual)))
    }

    /// rotation_matrix() -> (values, step): a dense rotation's matrix in fixed point (dim, dim), and what 1 stands for; None without one.
    #[allow(clippy::type_complexity, reason = "a pair that may be missing")]
    fn rotation_matrix<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyArray2<i16>>, f32)>> {
        let Some((values, step)) = py.detach(|| self.inner.rotation_matrix()) else { return Ok(None) };
        let dim = self.inner.dim();
        Ok(Some((PyArray1::from_vec(py, values).reshape([dim, dim])?, step)))
    }

    /// Whether a fit has made it.
    #[getter]
    fn fitted(&self) -> bool {
        self.inner.spec().fitted.is_some()
    }

    /// Coordinates of a vector.
    #[getter]
    fn dim(&self) -> usize {
        self.inner.dim()
    }

    /// (seed, rotation, scale, refine).
    #[getter]
    fn choices(&self) -> Choices {
        let spec = self.inner.spec();
        (spec.seed, spec.rotation.name(), spec.scale.name(), spec.refine)
    }

    /// Axes of a fitted codec's first unit, its bits; 0 of a plain codec.
    #[getter]
    fn first_unit(&self) -> usize {
        let spec = self.inner.spec();
        let first = spec.fitted.as_ref().map(|fitted| usize::from(fitted.order()[0]));
        first.map_or(0, |segment| spec.segments[segment].dim)
    }

    /// row_bits(keep) -> bits of a row that keeps these bits of each segment, padding and scales apart.
    fn row_bits(&self, keep: Vec<u32>) -> usize {
        self.inner.spec().segments.iter().zip(keep).map(|(segment, keep)| segment.dim * keep as usize).sum()
    }

    /// prefix(row_bits) -> bits of each segment in the longest prefix of a fitted codec's units with at most these bits a row.
    fn prefix(&self, row_bits: usize) -> Vec<u32> {
        self.inner.spec().prefix(row_bits)
    }

    /// 64-bit identity that the codec's codes carry.
    #[getter]
    fn fingerprint(&self) -> u64 {
        self.inner.fingerprint()
    }

    /// row_bytes(keep) -> bytes of one packed row that keeps these bits of each segment, scales apart.
    fn row_bytes(&self, keep: Vec<u32>) -> usize {
        self.inner.spec().row_bytes(&keep)
    }

    /// Scales a row.
    #[getter]
    fn norms(&self) -> usize {
        self.inner.spec().norms()
    }

    /// Bits of every segment.
    #[getter]
    fn full(&self) -> Vec<u32> {
        self.inner.spec().full()
    }

    /// Bytes that the codec itself holds.
    #[getter]
    fn nbytes(&self) -> usize {
        self.inner.nbytes()
    }

    /// plain() -> Codec | None: the codec of rows that a fitted codec codes badly.
    fn plain(&self) -> Option<Self> {
        Some(Self { inner: Arc::new(self.inner.plain()?) })
    }

    /// encode(x, packed, scales, squares, badly, unit_norm, first_row, threads): encode rows into packed and scales.
    #[allow(clippy::too_many_arguments, reason = "inputs and outputs of one call")]
    fn encode(
        &self,
        py: Python<'_>,
        x: PyReadonlyArray2<'_, f32>,
        mut packed: PyReadwriteArray2<'_, u8>,
        mut scales: PyReadwriteArray2<'_, f32>,
        mut squares: Option<PyReadwriteArray1<'_, f32>>,
        mut badly: Option<PyReadwriteArray1<'_, bool>>,
        unit_norm: bool,
        first_row: usize,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let rows = x.shape()[0];
        let (x, packed, scales) = (x.as_slice()?, packed.as_slice_mut()?, scales.as_slice_mut()?);
        let squares = squares.as_mut().map(|squares| squares.as_slice_mut()).transpose()?;
        let badly = badly.as_mut().map(|badly| badly.as_slice_mut()).transpose()?;
        let options = EncodeOptions { unit_norm, squares, badly };
        py.detach(|| {
            pool::run(threads, rows > Exec::TASK_ROWS, |exec| self.inner.encode_into(x, packed, scales, options, exec))
        })
        .map_err(|error| to_py(error, first_row))
    }

    /// decode(packed, scales, keep, out, threads): decode rows into out.
    fn decode(
        &self,
        py: Python<'_>,
        packed: PyReadonlyArray2<'_, u8>,
        scales: PyReadonlyArray2<'_, f32>,
        keep: Vec<u32>,
        mut out: PyReadwriteArray2<'_, f32>,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let rows = out.shape()[0];
        let (packed, scales, out) = (packed.as_slice()?, scales.as_slice()?, out.as_slice_mut()?);
        let work = |exec| self.inner.decode_into(CodesView::new(&self.inner, &keep, packed, scales)?, out, exec);
        py.detach(|| pool::run(threads, rows > Exec::TASK_ROWS, work)).map_err(|error| to_py(error, 0))
    }

    /// score(queries, packed, scales, keep, out, first_row, threads): scores of queries against codes into out.
    #[allow(clippy::too_many_arguments, reason = "inputs and outputs of one call")]
    fn score(
        &self,
        py: Python<'_>,
        queries: PyReadonlyArray2<'_, f32>,
        packed: PyReadonlyArray2<'_, u8>,
        scales: PyReadonlyArray2<'_, f32>,
        keep: Vec<u32>,
        mut out: PyReadwriteArray2<'_, f32>,
        first_row: usize,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let rows = packed.shape()[0];
        let (packed, scales, out) = (packed.as_slice()?, scales.as_slice()?, out.as_slice_mut()?);
        let queries = queries.as_slice()?;
        let work = |exec| {
            let codes = CodesView::new(&self.inner, &keep, packed, scales)?;
            self.inner.score_into(queries, codes, out, exec)
        };
        py.detach(|| pool::run(threads, rows > Exec::SCAN_ROWS, work)).map_err(|error| to_py(error, first_row))
    }

    /// query_integers(queries, cosine) -> (values, factors, norms, exponents): queries of a codec without a fit as integers, segment after
    /// segment (nq, dim), and what one unit of each segment's products is worth (nq, segments).
    fn query_integers<'py>(
        &self,
        py: Python<'py>,
        queries: PyReadonlyArray2<'py, f32>,
        cosine: bool,
    ) -> PyResult<QueryIntegers<'py>> {
        let (nq, segments) = (queries.shape()[0], self.inner.spec().segments.len());
        let queries = queries.as_slice()?;
        let found = py.detach(|| self.inner.query_integers(queries, cosine)).map_err(|error| to_py(error, 0))?;
        Ok((
            PyArray1::from_vec(py, found.values).reshape([nq, self.inner.dim()])?,
            PyArray1::from_vec(py, found.factors).reshape([nq, segments])?,
            PyArray1::from_vec(py, found.norms),
            PyArray1::from_vec(py, found.exponents),
        ))
    }

    /// truncate(packed, scales, keep, bits) -> (packed, scales) of the top bits; bits a row of a fitted codec.
    fn truncate<'py>(
        &self,
        py: Python<'py>,
        packed: PyReadonlyArray2<'py, u8>,
        scales: PyReadonlyArray2<'py, f32>,
        keep: Vec<u32>,
        bits: u32,
    ) -> PyResult<Arrays<'py>> {
        let rows = packed.shape()[0];
        let (packed, scales) = (packed.as_slice()?, scales.as_slice()?);
        let work = |exec| {
            let codes = CodesView::new(&self.inner, &keep, packed, scales)?;
            if self.fitted() {
                return self.inner.truncate_to(codes, bits as usize, exec);
            }
            self.inner.truncate_with(codes, bits, exec)
        };
        let codes = py.detach(|| pool::run(None, rows > Exec::TASK_ROWS, work)).map_err(|error| to_py(error, 0))?;
        arrays(py, &codes)
    }

    /// truncate_each(packed, scales, keep, bits) -> (packed, scales) of the top bits of each segment.
    fn truncate_each<'py>(
        &self,
        py: Python<'py>,
        packed: PyReadonlyArray2<'py, u8>,
        scales: PyReadonlyArray2<'py, f32>,
        keep: Vec<u32>,
        bits: Vec<u32>,
    ) -> PyResult<Arrays<'py>> {
        let rows = packed.shape()[0];
        let (packed, scales) = (packed.as_slice()?, scales.as_slice()?);
        let work = |exec| self.inner.truncate_each(CodesView::new(&self.inner, &keep, packed, scales)?, &bits, exec);
        let codes = py.detach(|| pool::run(None, rows > Exec::TASK_ROWS, work)).map_err(|error| to_py(error, 0))?;
        arrays(py, &codes)
    }

    /// header(keep, rows, packed_crc, scales_crc) -> bytes: the header of a code file of this codec.
    fn header<'py>(
        &self,
        py: Python<'py>,
        keep: Vec<u32>,
        rows: usize,
        packed_crc: u32,
        scales_crc: u32,
    ) -> Bound<'py, PyBytes> {
        let header = Header { spec: self.inner.spec().clone(), keep, rows, packed_crc, scales_crc };
        PyBytes::new(py, &header.to_bytes())
    }

    /// to_bytes(packed, scales, keep) -> bytes: a whole code file.
    fn to_bytes<'py>(
        &self,
        py: Python<'py>,
        packed: PyReadonlyArray2<'py, u8>,
        scales: PyReadonlyArray2<'py, f32>,
        keep: Vec<u32>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (packed, scales) = (packed.as_slice()?, scales.as_slice()?);
        let spec = self.inner.spec().clone();
        let work = || Codes::new(spec, keep, packed.to_vec(), scales.to_vec()).map(|codes| codes.to_bytes());
        let bytes = py.detach(work).map_err(|error| to_py(error, 0))?;
        Ok(PyBytes::new(py, &bytes))
    }
}

/// header_len(data) -> bytes from the start that header_from_bytes reads; data holds at least the first 2,112 of them.
#[pyfunction]
pub(crate) fn header_len(data: &[u8]) -> PyResult<usize> {
    Header::len_of(data).map_err(|error| to_py(error, 0))
}

/// header_from_bytes(data, size) -> the parts of the header of a code file of `size` bytes; `data` may be its first bytes only.
#[pyfunction]
pub(crate) fn header_from_bytes(data: &[u8], size: usize) -> PyResult<HeaderParts> {
    let header = Header::parse(data).map_err(|error| to_py(error, 0))?;
    header.check_length(size).map_err(|error| to_py(error, 0))?;
    let codec = codec_of(&header.spec)?;
    let (packed_at, scales_at, total) = (header.packed_at(), header.scales_at(), header.total_len());
    Ok((codec, header.keep, header.rows, packed_at, scales_at, header.packed_crc, header.scales_crc, total))
}

/// codes_from_bytes(data) -> (codec, keep, packed, scales), checked against every checksum.
#[pyfunction]
pub(crate) fn codes_from_bytes<'py>(py: Python<'py>, data: &[u8]) -> PyResult<CodesParts<'py>> {
    let codes = py.detach(|| Codes::from_bytes(data)).map_err(|error| to_py(error, 0))?;
    let codec = codec_of(codes.spec())?;
    let (packed, scales) = arrays(py, &codes)?;
    Ok((codec, codes.keep().to_vec(), packed, scales))
}

fn codec_of(spec: &CodecSpec) -> PyResult<Codec> {
    Ok(Codec { inner: Arc::new(TurboQuant::from_spec(spec.clone()).map_err(|error| to_py(error, 0))?) })
}

fn arrays<'py>(py: Python<'py>, codes: &Codes) -> PyResult<Arrays<'py>> {
    let packed = PyArray1::from_slice(py, codes.packed()).reshape([codes.len(), codes.row_bytes()])?;
    let scales = PyArray1::from_slice(py, codes.scales()).reshape([codes.len(), codes.spec().norms()])?;
    Ok((packed, scales))
}
