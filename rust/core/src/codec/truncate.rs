//! Truncation: fewer bits out of codes that are already made (docs/numerics.md section 8).

use super::decode::padded_levels;
use super::{Scale, TurboQuant, flush};
use crate::codes::{Codes, CodesView};
use crate::error::{Error, Result};
use crate::kernels::dot_f32;
use crate::kernels::units::unit_bytes;
use crate::parallel::Exec;
use crate::units::{self, stage_ends};

impl TurboQuant {
    /// Keeps the stages that hold the top `bits` bits of each code; the scale that fits them is derived from the codes.
    /// Both segments of a split code keep the same number of bits; [`truncate_each`](Self::truncate_each) takes one for each.
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
        self.truncate_segments(&codes, vec![bits; self.segments.len()], exec)
    }

    /// [`truncate`](Self::truncate) to a number of bits of each segment.
    ///
    /// # Errors
    /// As for [`truncate`](Self::truncate), and [`Error::Argument`] for another number of segments or a fitted codec.
    pub fn truncate_each<'a>(&self, codes: impl Into<CodesView<'a>>, bits: &[u32], exec: Exec) -> Result<Codes> {
        let codes = codes.into();
        self.check_codes(&codes)?;
        if self.transform.is_some() {
            return Err(Error::argument("codes", "of a codec that is not fitted", "fitted ones"));
        }
        if bits.len() != self.segments.len() {
            return Err(Error::argument("bits", format!("{} numbers, one a segment", self.segments.len()), bits.len()));
        }
        self.truncate_segments(&codes, bits.to_vec(), exec)
    }

    fn truncate_segments(&self, codes: &CodesView<'_>, keep: Vec<u32>, exec: Exec) -> Result<Codes> {
        let level = exec.level()?;
        for ((segment, &held), &bits) in self.segments.iter().zip(codes.keep).zip(&keep) {
            let allowed: Vec<_> = stage_ends(segment.segment.bits).iter().filter(|&&end| end <= held).collect();
            if !allowed.contains(&&bits) {
                return Err(Error::argument("bits", format!("one of {allowed:?} (where a stage ends)"), bits));
            }
        }
        let (spec, norms) = (&self.spec, self.spec.norms());
        let (stride, kept) = (codes.row_bytes, spec.row_bytes(&keep));
        let (units, shorter) = (spec.units(codes.keep), spec.units(&keep));
        let tables = |keep: &[u32]| -> Vec<_> {
            let segments = self.segments.iter().zip(keep);
            segments.map(|(s, &keep)| padded_levels(s.segment.bits, keep, s.table_dim)).collect()
        };
        let (full, top) = (tables(codes.keep), tables(&keep));
        let (mut packed, mut scales) = (vec![0; codes.len() * kept], vec![0.0; codes.len() * norms]);
        let rows = exec.rows_per_task(codes.len(), Exec::TASK_ROWS);
        let inputs = codes.packed.chunks(rows * stride).zip(codes.scales.chunks(rows * norms));
        let tasks = inputs.zip(packed.chunks_mut(rows * kept).zip(scales.chunks_mut(rows * norms)));
        exec.map(tasks.collect(), |((packed, scales), (out_packed, out_scales))| {
            let (mut code, mut c, mut d) = (Vec::new(), Vec::new(), Vec::new());
            let rows = packed.chunks_exact(stride).zip(scales.chunks_exact(norms));
            let outputs = out_packed.chunks_exact_mut(kept).zip(out_scales.chunks_exact_mut(norms));
            for ((row, scales), (out, out_scales)) in rows.zip(outputs) {
                for (i, segment) in self.segments.iter().enumerate() {
                    let m = segment.segment.dim;
                    // The first units of a segment are kept as they are.
                    for (from, to) in units[i].iter().zip(&shorter[i]) {
                        let len = unit_bytes(m, to.width);
                        out[to.offset..][..len].copy_from_slice(&row[from.offset..][..len]);
                    }
                    code.resize(m, 0);
                    units::unpack(level, row, m, &units[i], stride, &mut code);
                    c.clear();
                    d.clear();
                    c.extend(code.iter().map(|&code| full[i][usize::from(code)]));
                    d.extend(code.iter().map(|&code| top[i][usize::from(code >> (codes.keep[i] - keep[i]))]));
                    let factor = match spec.scale {
                        Scale::Unbiased => dot_f32(&c, &c) / dot_f32(&c, &d),
                        Scale::Mse => dot_f32(&c, &d) / dot_f32(&d, &d),
                        Scale::Matched => (dot_f32(&c, &c) / dot_f32(&d, &d)).sqrt(),
                        Scale::Paper => 1.0,
                    };
                    out_scales[i] = flush(scales[i] * factor);
                }
            }
        });
        Codes::new(spec.clone(), keep, packed, scales)
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
