//! QJL (arXiv 2406.03482): one bit a coordinate of a random projection, and the norm (docs/numerics-papers.md section 4).

use super::sketch::{Sketch, SketchQueries};
use super::{Blocks, PaperSpec, Prepared, ProjectionKind};
use crate::codec::times_power;
use crate::error::{Error, Result};
use crate::kernels::Level;

/// The quantized Johnson–Lindenstrauss transform: `sketch_dim` signs and one norm a vector; estimates of inner products are unbiased.
///
/// Its variance at norms 1 is (π/2 − ⟨q, k⟩²)/sketch_dim with Gaussian directions, about (π/2 − 1)/sketch_dim with orthogonal ones.
#[derive(Debug, Clone)]
pub struct Qjl {
    spec: PaperSpec,
    sketch: Sketch,
}

impl Qjl {
    /// A sketch of `sketch_dim` signs of vectors of `dim` coordinates.
    ///
    /// # Errors
    /// As for [`PaperSpec::check`].
    pub fn new(dim: usize, sketch_dim: usize, projection: ProjectionKind, seed: u64) -> Result<Self> {
        let spec = PaperSpec::Qjl { dim, sketch_dim, projection, seed };
        spec.check()?;
        Ok(Self { spec, sketch: Sketch::new(projection, dim, sketch_dim, seed) })
    }

    /// Bytes that the codec itself holds.
    #[must_use]
    pub fn nbytes(&self) -> usize {
        self.sketch.nbytes()
    }

    /// The projection's matrix in fixed point, `sketch_dim` rows of dim values, and what 1 stands for (docs/numerics-papers.md section 3).
    /// A structured projection has none.
    #[must_use]
    pub fn matrix(&self) -> Option<(Vec<i16>, f32)> {
        self.sketch.matrix()
    }
}

impl Blocks for Qjl {
    type Queries = SketchQueries;

    fn description(&self) -> &PaperSpec {
        &self.spec
    }

    fn encode_block(&self, level: Level, x: &[f32], packed: &mut [u8], scales: &mut [f32]) -> Result<()> {
        let prepared = Prepared::new(level, "x", x, self.spec.dim())?;
        write_scales(scales.iter_mut(), &prepared.norms, &prepared.exponents)?;
        self.sketch.encode(level, &prepared.rows, &prepared.norms, packed, self.spec.row_bytes(), 0);
        Ok(())
    }

    fn decode_block(&self, level: Level, packed: &[u8], scales: &[f32], out: &mut [f32]) -> Result<()> {
        let (dim, lengths) = (self.spec.dim(), scales.iter().copied());
        out.copy_from_slice(&self.sketch.decode(level, packed, self.spec.row_bytes(), 0, lengths, dim));
        Ok(())
    }

    fn prepare_queries(&self, level: Level, queries: &[f32]) -> Result<SketchQueries> {
        let prepared = Prepared::queries(level, queries, self.spec.dim())?;
        Ok(self.sketch.queries(level, &prepared.rows, &prepared.norms, &prepared.exponents))
    }

    fn score_block(&self, level: Level, queries: &SketchQueries, packed: &[u8], scales: &[f32]) -> Result<Vec<f32>> {
        Ok(self.sketch.score(level, queries, packed, self.spec.row_bytes(), 0, scales))
    }
}

/// Writes value·2^exponent, which must be finite.
pub(super) fn write_scales<'a>(
    scales: impl Iterator<Item = &'a mut f32>,
    values: &[f32],
    exponents: &[i32],
) -> Result<()> {
    for (row, (scale, (&value, &exponent))) in scales.zip(values.iter().zip(exponents)).enumerate() {
        *scale = times_power(value, exponent);
        if !scale.is_finite() {
            return Err(Error::Norm { argument: "x", row, limit: "within float32" });
        }
    }
    Ok(())
}
