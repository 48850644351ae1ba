//! TurboQuant_prod (arXiv 2504.19874, Algorithm 2): TurboQuant_mse at bits − 1, QJL of what it leaves over
//! (docs/numerics-papers.md section 5).
//!
//! The residual is sketched among the rotated coordinates, where it arises; its norm is each vector's own.

use super::qjl::write_scales;
use super::sketch::{Sketch, SketchQueries};
use super::spec::coarse_bytes;
use super::{Blocks, PaperSpec, Prepared, ProjectionKind};
use crate::codebook::levels;
use crate::codec::{EncodeOptions, Options, Scale, TurboQuant, row_norms};
use crate::codes::CodesView;
use crate::error::Result;
use crate::kernels::{Level, rows};
use crate::parallel::Exec;
use crate::rotation::Rotation;
use crate::units::{self, Unit, units_of};

/// TurboQuant_prod: unbiased inner products by levels at `bits` − 1 and a sketch of the residual. One bit is QJL alone.
#[derive(Debug, Clone)]
pub struct TurboQuantProd {
    spec: PaperSpec,
    /// What stands before the signs, at bits − 1; nothing at one bit.
    coarse: Option<Coarse>,
    sketch: Sketch,
}

#[derive(Debug, Clone)]
struct Coarse {
    codec: TurboQuant,
    rotation: Rotation,
    levels: Vec<f32>,
    bits: u32,
    units: Vec<Unit>,
    /// Bytes of a row's levels.
    bytes: usize,
}

/// Queries for both parts.
#[derive(Debug)]
pub struct ProdQueries {
    /// As they came, for the levels' own preparation.
    plain: Vec<f32>,
    sketch: SketchQueries,
}

impl TurboQuantProd {
    /// A codec for vectors of `dim` coordinates at `bits` (1 to 8) a coordinate.
    ///
    /// # Errors
    /// As for [`PaperSpec::check`].
    pub fn new(dim: usize, bits: u32, projection: ProjectionKind, seed: u64) -> Result<Self> {
        let spec = PaperSpec::Prod { dim, bits, projection, seed };
        spec.check()?;
        let coarse = if bits == 1 { None } else { Some(Coarse::new(dim, bits - 1, seed)?) };
        Ok(Self { spec, coarse, sketch: Sketch::new(projection, dim, dim, seed) })
    }

    /// Bytes that the codec itself holds.
    #[must_use]
    pub fn nbytes(&self) -> usize {
        let coarse = |coarse: &Coarse| coarse.codec.nbytes() + coarse.rotation.nbytes();
        self.sketch.nbytes() + self.coarse.as_ref().map_or(0, coarse)
    }

    /// The projection's matrix in fixed point, dim rows of dim values, and what 1 stands for (docs/numerics-papers.md section 3).
    /// A structured projection has none.
    #[must_use]
    pub fn matrix(&self) -> Option<(Vec<i16>, f32)> {
        self.sketch.matrix()
    }
}

impl Coarse {
    fn new(dim: usize, bits: u32, seed: u64) -> Result<Self> {
        let options = Options { seed, scale: Scale::Paper, ..Options::default() };
        let units = units_of(dim, bits, bits).map(|(width, shift, offset)| Unit { width, shift, offset });
        Ok(Self {
            codec: TurboQuant::new(dim, bits, options)?,
            rotation: Rotation::new(dim, seed, 0),
            levels: levels(bits, bits, dim).to_vec(),
            bits,
            units: units.collect(),
            bytes: coarse_bytes(dim, bits + 1),
        })
    }

    /// The first bytes of every row: the levels' codes.
    fn packed(&self, packed: &[u8], stride: usize) -> Vec<u8> {
        packed.chunks_exact(stride).flat_map(|row| &row[..self.bytes]).copied().collect()
    }

    /// The level of every coordinate of rows of codes.
    fn levels(&self, level: Level, packed: &[u8], dim: usize) -> Vec<f32> {
        let mut codes = vec![0; packed.len() / self.bytes * dim];
        units::unpack(level, packed, dim, &self.units, self.bytes, &mut codes);
        codes.iter().map(|&code| self.levels[usize::from(code)]).collect()
    }

    /// Encodes the levels; returns y − c of every coordinate, 0 for rows of zeros.
    fn residuals(
        &self,
        level: Level,
        x: &[f32],
        prepared: &Prepared,
        packed: &mut [u8],
        scales: &mut [f32],
    ) -> Result<Vec<f32>> {
        let dim = self.codec.dim();
        let exec = Exec { level: Some(level), serial: true };
        self.codec.encode_into(x, packed, scales, EncodeOptions::default(), exec)?;
        let (mut y, mut spare) = (prepared.rows.clone(), Vec::new());
        self.rotation.apply(level, &mut y, &mut spare);
        let root = (dim as f32).sqrt();
        let gains: Vec<f32> = prepared.norms.iter().map(|&norm| root / if norm == 0.0 { 1.0 } else { norm }).collect();
        rows::multiply(level, &mut y, dim, &gains);
        y.iter_mut().zip(self.levels(level, packed, dim)).for_each(|(y, c)| *y -= c);
        for (row, _) in y.chunks_exact_mut(dim).zip(&prepared.norms).filter(|(_, norm)| **norm == 0.0) {
            row.fill(0.0);
        }
        Ok(y)
    }
}

impl Blocks for TurboQuantProd {
    type Queries = ProdQueries;

    fn description(&self) -> &PaperSpec {
        &self.spec
    }

    fn encode_block(&self, level: Level, x: &[f32], packed: &mut [u8], scales: &mut [f32]) -> Result<()> {
        let (dim, stride) = (self.spec.dim(), self.spec.row_bytes());
        let prepared = Prepared::new(level, "x", x, dim)?;
        let Some(coarse) = &self.coarse else {
            write_scales(scales.iter_mut(), &prepared.norms, &prepared.exponents)?;
            self.sketch.encode(level, &prepared.rows, &prepared.norms, packed, stride, 0);
            return Ok(());
        };
        let n = prepared.norms.len();
        let (mut codes, mut coarse_scales) = (vec![0; n * coarse.bytes], vec![0.0; n]);
        let residuals = coarse.residuals(level, x, &prepared, &mut codes, &mut coarse_scales)?;
        let mut left = Vec::new();
        row_norms(level, &residuals, dim, 0, dim, &mut left);
        let unit = 1.0 / (dim as f32).sqrt();
        let lengths: Vec<f32> = left.iter().zip(&prepared.norms).map(|(&left, &norm)| (left * unit) * norm).collect();
        write_scales(scales.iter_mut().skip(1).step_by(2), &lengths, &prepared.exponents)?;
        scales.iter_mut().step_by(2).zip(coarse_scales).for_each(|(scale, value)| *scale = value);
        for (row, codes) in packed.chunks_exact_mut(stride).zip(codes.chunks_exact(coarse.bytes)) {
            row[..coarse.bytes].copy_from_slice(codes);
        }
        self.sketch.encode(level, &residuals, &left, packed, stride, coarse.bytes);
        Ok(())
    }

    fn decode_block(&self, level: Level, packed: &[u8], scales: &[f32], out: &mut [f32]) -> Result<()> {
        let (dim, stride) = (self.spec.dim(), self.spec.row_bytes());
        let Some(coarse) = &self.coarse else {
            out.copy_from_slice(&self.sketch.decode(level, packed, stride, 0, scales.iter().copied(), dim));
            return Ok(());
        };
        let mut y = coarse.levels(level, &coarse.packed(packed, stride), dim);
        let lengths = scales.iter().skip(1).step_by(2).copied();
        let sketched = self.sketch.decode(level, packed, stride, coarse.bytes, lengths, dim);
        let rows = y.chunks_exact_mut(dim).zip(sketched.chunks_exact(dim)).zip(scales.iter().step_by(2));
        for ((row, sketched), scale) in rows {
            row.iter_mut().zip(sketched).for_each(|(y, part)| *y = *y * scale + part);
        }
        coarse.rotation.apply_inverse(level, &mut y, &mut Vec::new());
        out.copy_from_slice(&y);
        Ok(())
    }

    fn prepare_queries(&self, level: Level, queries: &[f32]) -> Result<ProdQueries> {
        let Prepared { mut rows, exponents, norms } = Prepared::queries(level, queries, self.spec.dim())?;
        if let Some(coarse) = &self.coarse {
            coarse.rotation.apply(level, &mut rows, &mut Vec::new());
        }
        Ok(ProdQueries { plain: queries.to_vec(), sketch: self.sketch.queries(level, &rows, &norms, &exponents) })
    }

    fn score_block(&self, level: Level, queries: &ProdQueries, packed: &[u8], scales: &[f32]) -> Result<Vec<f32>> {
        let stride = self.spec.row_bytes();
        let Some(coarse) = &self.coarse else {
            return Ok(self.sketch.score(level, &queries.sketch, packed, stride, 0, scales));
        };
        let lengths: Vec<f32> = scales.iter().skip(1).step_by(2).copied().collect();
        let sketched = self.sketch.score(level, &queries.sketch, packed, stride, coarse.bytes, &lengths);
        let norms: Vec<f32> = scales.iter().step_by(2).copied().collect();
        let codes = coarse.packed(packed, stride);
        let keep = [coarse.bits];
        let mut out = vec![0.0; sketched.len()];
        let exec = Exec { level: Some(level), serial: true };
        coarse.codec.score_into(
            &queries.plain,
            CodesView::new(&coarse.codec, &keep, &codes, &norms)?,
            &mut out,
            exec,
        )?;
        // Where the levels' share is beyond float32 it decides; an infinite residue of the other sign would make NaN.
        out.iter_mut().zip(sketched).filter(|(score, _)| score.is_finite()).for_each(|(score, part)| *score += part);
        Ok(out)
    }
}
