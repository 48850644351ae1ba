//! Decoding: levels, inverse rotation, scale.

use super::TurboQuant;
use super::transform::DenseScratch;
use crate::codebook::levels;
use crate::codes::CodesView;
use crate::error::{Error, Result};
use crate::kernels::Level;
use crate::kernels::rows;
use crate::parallel::Exec;
use crate::units::{self, Unit};

/// Buffers of a task, reused from block to block.
#[derive(Default)]
struct Scratch {
    codes: Vec<u8>,
    rows: Vec<f32>,
    spare: Vec<f32>,
    factors: Vec<f32>,
    /// Rows of axes of a fitted codec.
    axes: Vec<f32>,
    dense: DenseScratch,
}

/// Packed rows of a block, where their units lie, and the levels of each segment.
struct Packed<'a> {
    rows: &'a [u8],
    stride: usize,
    units: &'a [Vec<Unit>],
    tables: &'a [[f32; 256]],
}

impl TurboQuant {
    /// Approximations of the encoded rows, n·dim values.
    ///
    /// With the default scale (unbiased) inner products with the result are unbiased; the scale of least error is
    /// [`Scale::Mse`](super::Scale::Mse). Truncated codes decode with the conditional means of their wider cells.
    ///
    /// # Errors
    /// [`Error::OtherCodec`] if the codes come from another codec.
    pub fn decode<'a>(&self, codes: impl Into<CodesView<'a>>) -> Result<Vec<f32>> {
        let codes = codes.into();
        let mut out = vec![0.0; codes.len() * self.dim()];
        self.decode_into(codes, &mut out, Exec::default())?;
        Ok(out)
    }

    /// [`decode`](Self::decode) into the caller's buffer of n·dim values.
    ///
    /// # Errors
    /// As for [`decode`](Self::decode), and [`Error::Argument`] if `out` has another length.
    pub fn decode_into<'a>(&self, codes: impl Into<CodesView<'a>>, out: &mut [f32], exec: Exec) -> Result<()> {
        let codes = codes.into();
        self.check_codes(&codes)?;
        let expected = codes.len() * self.dim();
        if out.len() != expected {
            return Err(Error::argument("out", format!("{expected} long for {} rows", codes.len()), out.len()));
        }
        self.decode_rows(codes.packed, codes.scales, codes.keep, out, exec)
    }

    /// Decodes packed rows with `keep` bits a segment.
    pub(crate) fn decode_rows(
        &self,
        packed: &[u8],
        scales: &[f32],
        keep: &[u32],
        out: &mut [f32],
        exec: Exec,
    ) -> Result<()> {
        let (dim, stride, norms) = (self.dim(), self.spec.row_bytes(keep), self.spec.norms());
        let level = exec.level()?;
        let tables = self.segments.iter().zip(keep).map(|(s, &keep)| padded_levels(s.segment.bits, keep, s.table_dim));
        let (tables, units): (Vec<_>, _) = (tables.collect(), self.spec.units(keep));
        let rows = exec.rows_per_task(out.len() / dim, Exec::TASK_ROWS);
        let tasks = out.chunks_mut(rows * dim).zip(packed.chunks(rows * stride)).zip(scales.chunks(rows * norms));
        exec.try_for_each(tasks.collect(), |((out, packed), scales)| {
            let mut scratch = Scratch::default();
            let rows = self.rows_per_block();
            let blocks = out.chunks_mut(rows * dim).zip(packed.chunks(rows * stride)).zip(scales.chunks(rows * norms));
            for ((out, packed), scales) in blocks {
                let packed = Packed { rows: packed, stride, units: &units, tables: &tables };
                self.decode_block(level, packed, scales, out, &mut scratch)?;
            }
            Ok(())
        })
    }

    fn decode_block(
        &self,
        level: Level,
        packed: Packed<'_>,
        scales: &[f32],
        out: &mut [f32],
        s: &mut Scratch,
    ) -> Result<()> {
        let (dim, norms) = (self.dim(), self.spec.norms());
        let n = out.len() / dim;
        if let Some(transform) = &self.transform {
            let axes = self.spec.axes();
            s.axes.resize(n * axes, 0.0);
            for (i, segment) in self.segments.iter().enumerate() {
                self.decode_segment(level, i, &packed, n, s);
                let (m, start, gains) = (segment.segment.dim, segment.segment.start, transform.gains(i));
                for (row, out) in s.rows.chunks_exact(m).zip(s.axes.chunks_exact_mut(axes)) {
                    let values = out[start..start + m].iter_mut().zip(row).zip(gains);
                    values.for_each(|((out, value), gain)| *out = value * gain);
                }
            }
            return transform.backward(level, &s.axes, scales, &mut s.dense, out);
        }
        for (i, segment) in self.segments.iter().enumerate() {
            self.decode_segment(level, i, &packed, n, s);
            let m = segment.segment.dim;
            s.factors.clear();
            s.factors.extend(scales.chunks_exact(norms).map(|scales| scales[i]));
            rows::multiply(level, &mut s.rows, m, &s.factors);
            let start = segment.segment.start;
            let rows = s.rows.chunks_exact(m).zip(out.chunks_exact_mut(dim));
            match &self.spec.outliers {
                None => rows.for_each(|(row, out)| out[start..][..m].copy_from_slice(row)),
                Some(outliers) => {
                    let channels = &outliers.order()[start..][..m];
                    rows.for_each(|(row, out)| {
                        channels.iter().zip(row).for_each(|(&channel, &value)| out[channel as usize] = value);
                    });
                }
            }
        }
        Ok(())
    }

    /// Levels of segment `i` of `n` rows, rotated back, to `s.rows`; zeros where no bit of it is kept.
    fn decode_segment(&self, level: Level, i: usize, packed: &Packed<'_>, n: usize, s: &mut Scratch) {
        let (segment, units, table) = (&self.segments[i], &packed.units[i], &packed.tables[i]);
        let m = segment.segment.dim;
        s.rows.clear();
        if units.is_empty() {
            return s.rows.resize(n * m, 0.0);
        }
        s.codes.resize(n * m, 0);
        units::unpack(level, packed.rows, m, units, packed.stride, &mut s.codes);
        s.rows.extend(s.codes.iter().map(|&code| table[usize::from(code)]));
        segment.rotation.apply_inverse(level, &mut s.rows, &mut s.spare);
    }
}

/// The levels by code in a table that any byte may index; zeros where no bit is kept.
pub(crate) fn padded_levels(bits: u32, keep: u32, dim: usize) -> [f32; 256] {
    let mut table = [0.0; 256];
    if keep > 0 {
        let level = levels(bits, keep, dim);
        table[..level.len()].copy_from_slice(&level);
    }
    table
}
