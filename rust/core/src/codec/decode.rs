//! Decoding: levels, inverse rotation, scale.

use super::{TASK_ROWS, TurboQuant, rows_per_block};
use crate::codebook::levels;
use crate::codes::CodesView;
use crate::error::{Error, Result};
use crate::kernels::Level;
use crate::kernels::rows;
use crate::parallel::Exec;
use crate::units;

/// Buffers of a task, reused from block to block.
#[derive(Default)]
struct Scratch {
    codes: Vec<u8>,
    rows: Vec<f32>,
    spare: Vec<f32>,
    factors: Vec<f32>,
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
        let tables =
            self.segments.iter().zip(keep).map(|(s, &keep)| padded_levels(s.segment.bits, keep, s.segment.dim));
        let tables: Vec<_> = tables.collect();
        let rows = exec.rows_per_task(out.len() / dim, TASK_ROWS);
        let tasks = out.chunks_mut(rows * dim).zip(packed.chunks(rows * stride)).zip(scales.chunks(rows * norms));
        exec.map(tasks.collect(), |((out, packed), scales)| {
            let mut scratch = Scratch::default();
            let rows = rows_per_block(dim);
            let blocks = out.chunks_mut(rows * dim).zip(packed.chunks(rows * stride)).zip(scales.chunks(rows * norms));
            for ((out, packed), scales) in blocks {
                self.decode_block(level, packed, scales, keep, &tables, out, &mut scratch);
            }
        });
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "one block's inputs and outputs")]
    fn decode_block(
        &self,
        level: Level,
        packed: &[u8],
        scales: &[f32],
        keep: &[u32],
        tables: &[[f32; 256]],
        out: &mut [f32],
        s: &mut Scratch,
    ) {
        let (dim, norms, stride) = (self.dim(), self.spec.norms(), self.spec.row_bytes(keep));
        let n = out.len() / dim;
        let mut start = 0;
        for (i, (segment, table)) in self.segments.iter().zip(tables).enumerate() {
            let (m, bits) = (segment.segment.dim, segment.segment.bits);
            s.codes.resize(n * m, 0);
            units::unpack(level, packed, (m, bits, keep[i]), stride, start, &mut s.codes);
            start += units::row_bytes(m, bits, keep[i]);
            s.rows.clear();
            s.rows.extend(s.codes.iter().map(|&code| table[usize::from(code)]));
            segment.rotation.apply_inverse(level, &mut s.rows, &mut s.spare);
            s.factors.clear();
            s.factors.extend(scales.chunks_exact(norms).map(|scales| scales[i]));
            rows::multiply(level, &mut s.rows, m, &s.factors);
            for (row, out) in s.rows.chunks_exact(m).zip(out.chunks_exact_mut(dim)) {
                out[segment.segment.start..][..m].copy_from_slice(row);
            }
        }
    }
}

/// The levels by code in a table that any byte may index.
pub(crate) fn padded_levels(bits: u32, keep: u32, dim: usize) -> [f32; 256] {
    let mut table = [0.0; 256];
    let level = levels(bits, keep, dim);
    table[..level.len()].copy_from_slice(&level);
    table
}
