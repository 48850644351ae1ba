//! The codecs of the papers beside TurboQuant_mse: QJL, TurboQuant_prod, PolarQuant (docs/numerics-papers.md).
//!
//! All three encode, decode and score through [`PaperCodec`]. They are here to be measured and compared: at every rate
//! [`TurboQuant`](crate::TurboQuant) with its unbiased scale estimates inner products with less error.

mod codes;
mod polar;
mod polar_angles;
mod prod;
mod qjl;
mod sketch;
mod spec;

pub use crate::projection::ProjectionKind;
pub use codes::{PaperCodes, check_parts};
pub use polar::PolarQuant;
pub use prod::TurboQuantProd;
pub use qjl::Qjl;
pub use spec::{PaperSpec, Radius};

use crate::codec::prepare;
use crate::error::{Error, Result};
use crate::kernels::Level;
use crate::parallel::Exec;

/// Rows that are worked on together.
const BLOCK_ROWS: usize = 64;
/// Fewest rows of a task of encoding or decoding: a call of so many or fewer is one task, on the calling thread.
pub const TASK_ROWS: usize = 64;
/// Rows that are scored together: their cost must outweigh the preparation of the queries' integers.
pub(crate) const SCORE_ROWS: usize = Exec::SCAN_ROWS;
/// Queries that are prepared together.
pub(crate) const QUERY_BLOCK: usize = 256;
/// A query's norm must be below this, so that no product of a finite scale and a score is NaN.
const QUERY_NORM_LIMIT: f64 = 79_228_162_514_264_337_593_543_950_336.0;

/// What a codec does to a block of rows; the methods of [`PaperCodec`] split work into blocks.
pub trait Blocks: Send + Sync {
    /// Queries made ready to be scored.
    type Queries: Sync;

    /// The codec's description.
    fn description(&self) -> &PaperSpec;

    /// Encodes whole rows.
    ///
    /// # Errors
    /// For NaN, ±inf, and norms or radii beyond their format.
    fn encode_block(&self, level: Level, x: &[f32], packed: &mut [u8], scales: &mut [f32]) -> Result<()>;

    /// Decodes whole rows.
    ///
    /// # Errors
    /// For radii that are not finite.
    fn decode_block(&self, level: Level, packed: &[u8], scales: &[f32], out: &mut [f32]) -> Result<()>;

    /// Makes queries ready.
    ///
    /// # Errors
    /// For NaN, ±inf, and norms from 2^96.
    fn prepare_queries(&self, level: Level, queries: &[f32]) -> Result<Self::Queries>;

    /// Scores all queries against a block of n rows: nq·n values, row-major.
    ///
    /// # Errors
    /// For radii that are not finite.
    fn score_block(&self, level: Level, queries: &Self::Queries, packed: &[u8], scales: &[f32]) -> Result<Vec<f32>>;
}

/// Encode, decode, score: what the papers' codecs have in common. Results are the same on every processor, for any number of threads.
///
/// # Examples
/// ```
/// use turboquant_rs::papers::{PaperCodec, PolarQuant, ProjectionKind, Radius, TurboQuantProd};
/// let x: Vec<f32> = (0..128).map(|i| (i as f32 * 0.37).sin()).collect(); // two rows
/// let codec = TurboQuantProd::new(64, 3, ProjectionKind::Orthogonal, 0)?;
/// let codes = codec.encode(&x)?;
/// assert_eq!((codes.len(), codes.packed().len(), codes.scales().len()), (2, 2 * 24, 2 * 2));
/// assert_eq!(codec.score(&x[..64], &codes)?.len(), 2);
/// let polar = PolarQuant::new(64, &[4, 2, 2, 2], Radius::Float16, 0)?;
/// assert_eq!(polar.encode(&x)?.packed().len(), 2 * 31);
/// # Ok::<(), turboquant_rs::Error>(())
/// ```
pub trait PaperCodec: Blocks {
    /// The codec's description.
    fn spec(&self) -> &PaperSpec {
        self.description()
    }

    /// Encodes rows of `dim` values.
    ///
    /// # Errors
    /// [`Error::Argument`] if `x` is not whole rows, [`Error::NonFinite`] for NaN or ±inf, [`Error::Norm`] if a norm is beyond
    /// float32 or a radius beyond its format.
    fn encode(&self, x: &[f32]) -> Result<PaperCodes> {
        let n = rows_of(self.spec(), "x", x)?;
        let mut packed = vec![0; n * self.spec().row_bytes()];
        let mut scales = vec![0.0; n * self.spec().norms()];
        self.encode_into(x, &mut packed, &mut scales, Exec::default())?;
        PaperCodes::new(self.spec().clone(), packed, scales)
    }

    /// Encodes into the caller's buffers of n·row bytes and n·norms values.
    ///
    /// # Errors
    /// As for [`encode`](Self::encode), and [`Error::Argument`] if a buffer has another length. After an error the buffers' contents
    /// are unspecified. Of several faulty rows the first one is named.
    fn encode_into(&self, x: &[f32], packed: &mut [u8], scales: &mut [f32], exec: Exec) -> Result<()> {
        let spec = self.spec();
        let (n, dim, bytes, norms) = (rows_of(spec, "x", x)?, spec.dim(), spec.row_bytes(), spec.norms());
        for (argument, got, expected) in [("packed", packed.len(), n * bytes), ("scales", scales.len(), n * norms)] {
            if got != expected {
                return Err(Error::argument(argument, format!("{expected} long for {n} rows"), got));
            }
        }
        let level = exec.level()?;
        let step = exec.rows_per_task(n, TASK_ROWS);
        let mut scales = scales.chunks_mut((step * norms).max(1));
        let tasks = x.chunks(step * dim).zip(packed.chunks_mut(step * bytes)).enumerate().map(|(i, (x, packed))| {
            // A codec without scales has none to split.
            let scales = if norms == 0 { Default::default() } else { scales.next().unwrap_or_default() };
            (i * step, x, packed, scales)
        });
        exec.try_for_each(tasks.collect(), |(first, x, packed, scales)| {
            for (i, x) in x.chunks(BLOCK_ROWS * dim).enumerate() {
                let start = i * BLOCK_ROWS;
                let work = |x: &[f32]| {
                    let rows = start..start + x.len() / dim;
                    let packed = &mut packed[rows.start * bytes..rows.end * bytes];
                    self.encode_block(level, x, packed, &mut scales[rows.start * norms..rows.end * norms])
                };
                Error::of_first_row(x, dim, work).map_err(|error| error.with_first_row(first + start))?;
            }
            Ok(())
        })
    }

    /// Approximations of the encoded rows, n·dim values.
    ///
    /// # Errors
    /// [`Error::OtherCodec`] if the codes come from another codec.
    fn decode(&self, codes: &PaperCodes) -> Result<Vec<f32>> {
        check_codec(self.spec(), codes)?;
        let mut out = vec![0.0; codes.len() * self.spec().dim()];
        self.decode_into(codes.packed(), codes.scales(), &mut out, Exec::default())?;
        Ok(out)
    }

    /// Decodes rows in the caller's memory into the caller's buffer of n·dim values.
    ///
    /// # Errors
    /// [`Error::Argument`] if the parts contradict each other, a scale is not finite, or a radius is not finite or negative.
    fn decode_into(&self, packed: &[u8], scales: &[f32], out: &mut [f32], exec: Exec) -> Result<()> {
        let spec = self.spec();
        let (dim, bytes, norms) = (spec.dim(), spec.row_bytes(), spec.norms());
        let n = check_parts(spec, packed, scales)?;
        if out.len() != n * dim {
            return Err(Error::argument("out", format!("{} long for {n} rows", n * dim), out.len()));
        }
        let level = exec.level()?;
        let step = exec.rows_per_task(n, TASK_ROWS);
        let tasks = out.chunks_mut(step * dim).enumerate().map(|(i, out)| (i * step, out));
        exec.try_for_each(tasks.collect(), |(first, out): (usize, &mut [f32])| {
            for (i, out) in out.chunks_mut(BLOCK_ROWS * dim).enumerate() {
                let (from, to) = (first + i * BLOCK_ROWS, first + i * BLOCK_ROWS + out.len() / dim);
                self.decode_block(level, &packed[from * bytes..to * bytes], &scales[from * norms..to * norms], out)?;
            }
            Ok(())
        })
    }

    /// Estimated inner products of every query with every encoded row: nq·n values, row-major; larger is nearer.
    ///
    /// # Errors
    /// [`Error::OtherCodec`] if the codes come from another codec; [`Error::Argument`], [`Error::NonFinite`], [`Error::Norm`] (2^96
    /// or more) for faulty queries.
    fn score(&self, queries: &[f32], codes: &PaperCodes) -> Result<Vec<f32>> {
        check_codec(self.spec(), codes)?;
        let nq = rows_of(self.spec(), "queries", queries)?;
        let mut out = vec![0.0; nq * codes.len()];
        self.score_into(queries, codes.packed(), codes.scales(), &mut out, Exec::default())?;
        Ok(out)
    }

    /// Scores rows in the caller's memory into the caller's buffer of nq·n values.
    ///
    /// # Errors
    /// As for [`score`](Self::score), and [`Error::Argument`] for faulty parts as in [`decode_into`](Self::decode_into).
    fn score_into(&self, queries: &[f32], packed: &[u8], scales: &[f32], out: &mut [f32], exec: Exec) -> Result<()> {
        let spec = self.spec();
        let (dim, bytes, norms) = (spec.dim(), spec.row_bytes(), spec.norms());
        let (nq, n) = (rows_of(spec, "queries", queries)?, check_parts(spec, packed, scales)?);
        if out.len() != nq * n {
            return Err(Error::argument("out", format!("{} long ({nq} queries, {n} rows)", nq * n), out.len()));
        }
        let level = exec.level()?;
        for (i, queries) in queries.chunks(QUERY_BLOCK * dim).enumerate() {
            let first_query = i * QUERY_BLOCK;
            let ready = Error::of_first_row(queries, dim, |queries| self.prepare_queries(level, queries))
                .map_err(|error| error.with_first_row(first_query))?;
            let blocks: Vec<usize> = (0..n).step_by(SCORE_ROWS).collect();
            let scores = exec.map(blocks, |first| {
                let end = (first + SCORE_ROWS).min(n);
                let scales = &scales[first * norms..end * norms];
                self.score_block(level, &ready, &packed[first * bytes..end * bytes], scales).map(|block| (first, block))
            });
            let out = &mut out[first_query * n..][..queries.len() / dim * n];
            for block in scores {
                let (first, scores) = block?;
                let count = SCORE_ROWS.min(n - first);
                for (out, scores) in out.chunks_exact_mut(n).zip(scores.chunks_exact(count)) {
                    out[first..first + count].copy_from_slice(scores);
                }
            }
        }
        Ok(())
    }
}

impl<T: Blocks> PaperCodec for T {}

/// Rows of a flat slice of vectors.
pub(crate) fn rows_of(spec: &PaperSpec, argument: &'static str, values: &[f32]) -> Result<usize> {
    let dim = spec.dim();
    if !values.len().is_multiple_of(dim) {
        let expected = format!("whole rows of {dim} values (the codec's dim)");
        return Err(Error::argument(argument, expected, format!("{} values", values.len())));
    }
    Ok(values.len() / dim)
}

fn check_codec(spec: &PaperSpec, codes: &PaperCodes) -> Result<()> {
    let (expected, got) = (spec.fingerprint(), codes.spec().fingerprint());
    if expected == got { Ok(()) } else { Err(Error::OtherCodec { expected, got }) }
}

/// Rows without their powers of two, and their norms.
struct Prepared {
    rows: Vec<f32>,
    exponents: Vec<i32>,
    norms: Vec<f32>,
}

impl Prepared {
    fn new(level: Level, argument: &'static str, x: &[f32], dim: usize) -> Result<Self> {
        let (mut tops, mut exponents, mut rows, mut norms) = (Vec::new(), Vec::new(), vec![0.0; x.len()], Vec::new());
        prepare(level, argument, x, dim, &mut tops, &mut exponents, &mut rows, &mut norms)?;
        Ok(Self { rows, exponents, norms })
    }

    /// Queries, whose norms must be below 2^96.
    fn queries(level: Level, queries: &[f32], dim: usize) -> Result<Self> {
        let prepared = Self::new(level, "queries", queries, dim)?;
        for (row, (&norm, &exponent)) in prepared.norms.iter().zip(&prepared.exponents).enumerate() {
            if f64::from(norm) * 2.0_f64.powi(exponent) >= QUERY_NORM_LIMIT {
                return Err(Error::Norm { argument: "queries", row, limit: "below 2^96" });
            }
        }
        Ok(prepared)
    }
}
