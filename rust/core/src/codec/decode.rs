//! Decoding: levels, inverse rotation, scale.

use super::TurboQuant;
use crate::codebook::levels;
use crate::codes::CodesView;
use crate::error::{Error, Result};
use crate::kernels::Level;
use crate::kernels::rows;
use crate::parallel::Exec;
use crate::units;

/// Values of a block of rows.
const BLOCK_VALUES: usize = 16_384;

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
        let rows = (BLOCK_VALUES / dim).clamp(1, 64);
        let chunks = out.chunks_mut(rows * dim).zip(packed.chunks(rows * stride)).zip(scales.chunks(rows * norms));
        let tables =
            self.segments.iter().zip(keep).map(|(s, &keep)| padded_levels(s.segment.bits, keep, s.segment.dim));
        let tables: Vec<_> = tables.collect();
        exec.map(chunks.collect(), |((out, packed), scales)| {
            self.decode_block(level, packed, scales, keep, &tables, out);
        });
        Ok(())
    }

    fn decode_block(
        &self,
        level: Level,
        packed: &[u8],
        scales: &[f32],
        keep: &[u32],
        tables: &[[f32; 256]],
        out: &mut [f32],
    ) {
        let (dim, norms, stride) = (self.dim(), self.spec.norms(), self.spec.row_bytes(keep));
        let n = out.len() / dim;
        let (mut codes, mut rows, mut spare, mut factors) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut start = 0;
        for (i, (segment, table)) in self.segments.iter().zip(tables).enumerate() {
            let (m, bits) = (segment.segment.dim, segment.segment.bits);
            codes.resize(n * m, 0);
            units::unpack(level, packed, (m, bits, keep[i]), stride, start, &mut codes);
            start += units::row_bytes(m, bits, keep[i]);
            rows.clear();
            rows.extend(codes.iter().map(|&code| table[usize::from(code)]));
            segment.rotation.apply_inverse(level, &mut rows, &mut spare);
            factors.clear();
            factors.extend(scales.chunks_exact(norms).map(|scales| scales[i]));
            rows::multiply(level, &mut rows, m, &factors);
            for (row, out) in rows.chunks_exact(m).zip(out.chunks_exact_mut(dim)) {
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
