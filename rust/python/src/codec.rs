//! `Codec`: a codec over the caller's arrays, and the byte format of codes.

use std::sync::Arc;

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, PyReadwriteArray1, PyReadwriteArray2};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use turboquant_rs::{Codes, CodesView, EncodeOptions, Header, Options, RotationKind, Scale, TurboQuant};

use crate::error::to_py;
use crate::pool;

/// Everything that `Codec(...)` takes, in its order.
type Parameters = (usize, u32, u64, &'static str, &'static str, u8);
/// Parameters, kept bits, rows, where packed rows and scales start, their checksums, bytes of the whole.
type HeaderParts = (Parameters, Vec<u32>, usize, usize, usize, u32, u32, usize);
/// Parameters, kept bits, packed rows, scales.
type CodesParts<'py> = (Parameters, Vec<u32>, Bound<'py, PyArray2<u8>>, Bound<'py, PyArray2<f32>>);

/// Packed rows and scales.
type Arrays<'py> = (Bound<'py, PyArray2<u8>>, Bound<'py, PyArray2<f32>>);

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

    /// encode(x, packed, scales, squares, unit_norm, first_row, threads): encode rows into packed and scales.
    #[allow(clippy::too_many_arguments, reason = "inputs and outputs of one call")]
    fn encode(
        &self,
        py: Python<'_>,
        x: PyReadonlyArray2<'_, f32>,
        mut packed: PyReadwriteArray2<'_, u8>,
        mut scales: PyReadwriteArray2<'_, f32>,
        mut squares: Option<PyReadwriteArray1<'_, f32>>,
        unit_norm: bool,
        first_row: usize,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let (x, packed, scales) = (x.as_slice()?, packed.as_slice_mut()?, scales.as_slice_mut()?);
        let squares = squares.as_mut().map(|squares| squares.as_slice_mut()).transpose()?;
        let options = EncodeOptions { unit_norm, squares };
        py.detach(|| pool::run(threads, |exec| self.inner.encode_into(x, packed, scales, options, exec)))
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
        let (packed, scales, out) = (packed.as_slice()?, scales.as_slice()?, out.as_slice_mut()?);
        let work = |exec| self.inner.decode_into(CodesView::new(&self.inner, &keep, packed, scales)?, out, exec);
        py.detach(|| pool::run(threads, work)).map_err(|error| to_py(error, 0))
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
        let (packed, scales, out) = (packed.as_slice()?, scales.as_slice()?, out.as_slice_mut()?);
        let queries = queries.as_slice()?;
        let work = |exec| {
            let codes = CodesView::new(&self.inner, &keep, packed, scales)?;
            self.inner.score_into(queries, codes, out, exec)
        };
        py.detach(|| pool::run(threads, work)).map_err(|error| to_py(error, first_row))
    }

    /// truncate(packed, scales, keep, bits) -> (packed, scales) of the top bits.
    fn truncate<'py>(
        &self,
        py: Python<'py>,
        packed: PyReadonlyArray2<'py, u8>,
        scales: PyReadonlyArray2<'py, f32>,
        keep: Vec<u32>,
        bits: u32,
    ) -> PyResult<Arrays<'py>> {
        let (packed, scales) = (packed.as_slice()?, scales.as_slice()?);
        let work = |exec| self.inner.truncate_with(CodesView::new(&self.inner, &keep, packed, scales)?, bits, exec);
        let codes = py.detach(|| pool::run(None, work)).map_err(|error| to_py(error, 0))?;
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

/// header_from_bytes(data, size) -> the parts of the header of a code file of `size` bytes; `data` may be its first bytes only.
#[pyfunction]
pub(crate) fn header_from_bytes(data: &[u8], size: usize) -> PyResult<HeaderParts> {
    let header = Header::parse(data).map_err(|error| to_py(error, 0))?;
    header.check_length(size).map_err(|error| to_py(error, 0))?;
    let parameters = parameters(header.spec.segments.len(), &header.spec)?;
    let (packed_at, scales_at, total) = (header.packed_at(), header.scales_at(), header.total_len());
    Ok((parameters, header.keep, header.rows, packed_at, scales_at, header.packed_crc, header.scales_crc, total))
}

/// codes_from_bytes(data) -> (parameters, keep, packed, scales), checked against every checksum.
#[pyfunction]
pub(crate) fn codes_from_bytes<'py>(py: Python<'py>, data: &[u8]) -> PyResult<CodesParts<'py>> {
    let codes = py.detach(|| Codes::from_bytes(data)).map_err(|error| to_py(error, 0))?;
    let parameters = parameters(codes.spec().segments.len(), codes.spec())?;
    let (packed, scales) = arrays(py, &codes)?;
    Ok((parameters, codes.keep().to_vec(), packed, scales))
}

fn parameters(segments: usize, spec: &turboquant_rs::CodecSpec) -> PyResult<Parameters> {
    if segments != 1 {
        let text = format!("codes of {segments} segments need a newer turboquant-rs");
        return Err(crate::error::CorruptError::new_err(text));
    }
    Ok((spec.dim(), spec.segments[0].bits, spec.seed, spec.rotation.name(), spec.scale.name(), spec.refine))
}

fn arrays<'py>(py: Python<'py>, codes: &Codes) -> PyResult<Arrays<'py>> {
    let packed = PyArray1::from_slice(py, codes.packed()).reshape([codes.len(), codes.row_bytes()])?;
    let scales = PyArray1::from_slice(py, codes.scales()).reshape([codes.len(), codes.spec().norms()])?;
    Ok((packed, scales))
}
