//! Truncation: fewer bits out of codes that are already made (docs/numerics.md section 8).

use super::decode::padded_levels;
use super::{Scale, TASK_ROWS, TurboQuant, flush};
use crate::codes::{Codes, CodesView};
use crate::error::{Error, Result};
use crate::kernels::dot_f32;
use crate::parallel::Exec;
use crate::units::{self, stage_ends};

impl TurboQuant {
    /// Keeps the stages that hold the top `bits` bits of each code; the scale that fits them is derived from the codes.
    /// Of a fitted code: the longest prefix of units with at most `bits`·dim bits, the best code of its size.
    ///
    /// The result decodes almost as well as codes made at `bits` bits (distortion of the top 2 of 4 bits 0.1203, of 2-bit codes 0.1175).
    ///
    /// # Errors
    /// [`Error::OtherCodec`] if the codes come from another codec, [`Error::Argument`] if no stage ends at `bits` or it is
    /// more than the codes have; of fitted codes, if not even the first unit fits.
    pub fn truncate<'a>(&self, codes: impl Into<CodesView<'a>>, bits: u32) -> Result<Codes> {
        self.truncate_with(codes, bits, Exec::default())
    }

    /// [`truncate`](Self::truncate) with a choice of kernels and threads.
    ///
    /// # Errors
    /// As for [`truncate`](Self::truncate).
    pub fn truncate_with<'a>(&self, codes: impl Into<CodesView<'a>>, bits: u32, exec: Exec) -> Result<Codes> {
        let codes = codes.into();
        self.check_codes(&codes)?;
        if let Some(transform) = &self.transform {
            return self.truncate_fitted(transform, &codes, bits as usize * self.dim(), exec);
        }
        let [segment] = &self.segments[..] else {
            return Err(Error::argument("codes", "of one segment", self.segments.len()));
        };
        let (segment, keep, level) = (segment.segment, codes.keep[0], exec.level()?);
        let allowed: Vec<_> = stage_ends(segment.bits).iter().filter(|&&end| end <= keep).collect();
        if !allowed.contains(&&bits) {
            return Err(Error::argument("bits", format!("one of {allowed:?} (where a stage ends)"), bits));
        }
        let (stride, kept) = (codes.row_bytes, units::row_bytes(segment.dim, segment.bits, bits));
        let units = &self.spec.units(codes.keep)[0];
        let full = padded_levels(segment.bits, keep, segment.dim);
        let top = padded_levels(segment.bits, bits, segment.dim);
        let (mut packed, mut scales) = (vec![0; codes.len() * kept], vec![0.0; codes.len()]);
        let rows = exec.rows_per_task(codes.len(), TASK_ROWS);
        let inputs = codes.packed.chunks(rows * stride).zip(codes.scales.chunks(rows));
        let tasks = inputs.zip(packed.chunks_mut(rows * kept).zip(scales.chunks_mut(rows)));
        exec.map(tasks.collect(), |((packed, scales), (out_packed, out_scales))| {
            let (mut code, mut c, mut d) = (vec![0; segment.dim], Vec::new(), Vec::new());
            let outputs = out_packed.chunks_exact_mut(kept).zip(out_scales);
            for ((row, scale), (out, out_scale)) in packed.chunks_exact(stride).zip(scales).zip(outputs) {
                // The first stages are the first bytes of a row.
                out.copy_from_slice(&row[..kept]);
                units::unpack(level, row, segment.dim, units, stride, &mut code);
                c.clear();
                d.clear();
                c.extend(code.iter().map(|&code| full[usize::from(code)]));
                d.extend(code.iter().map(|&code| top[usize::from(code >> (keep - bits))]));
                let factor = match self.spec.scale {
                    Scale::Unbiased => dot_f32(&c, &c) / dot_f32(&c, &d),
                    Scale::Mse => dot_f32(&c, &d) / dot_f32(&d, &d),
                    Scale::Matched => (dot_f32(&c, &c) / dot_f32(&d, &d)).sqrt(),
                    Scale::Paper => 1.0,
                };
                *out_scale = flush(scale * factor);
            }
        });
        Codes::new(self.spec.clone(), vec![bits], packed, scales)
    }

    /// Keeps the longest prefix of a fitted code's units with at most `row_bits` bits a row, or as many bytes as those take, for rates between whole bits.
    ///
    /// Units are dropped one after another, so the result is the same however a length is reached.
    ///
    /// # Errors
    /// [`Error::OtherCodec`] if the codes come from another codec, [`Error::Argument`] if not even the first unit fits or the codec is
    /// not fitted.
    pub fn truncate_to<'a>(&self, codes: impl Into<CodesView<'a>>, row_bits: usize, exec: Exec) -> Result<Codes> {
        let codes = codes.into();
        self.check_codes(&codes)?;
        let transform =
            self.transform.as_ref().ok_or_else(|| Error::argument("codes", "fitted codes", "plain ones"))?;
        self.truncate_fitted(transform, &codes, row_bits, exec)
    }
}
