//! What an index over a paper's codec makes of rows and queries, by its metric (docs/numerics-papers.md section 7).

use crate::codec::{L2_NORM_LIMIT, flush, prepare, times_power};
use crate::error::{Error, Result};
use crate::kernels::Level;
use crate::metric::Metric;
use crate::papers::{PaperCodec, rows_of};
use crate::parallel::Exec;

/// Encodes rows as [`PaperIndex::add`](super::PaperIndex::add) keeps them: x, or with cosine x/|x|; with l2 |x|² goes to `squares`, which is else empty.
///
/// # Errors
/// As for [`PaperCodec::encode_into`]; with l2 [`Error::Norm`] from 2^63, with cosine no norm is too large. Of several faulty rows the
/// first one is named.
pub fn encode_rows<C: PaperCodec>(
    codec: &C,
    metric: Metric,
    x: &[f32],
    packed: &mut [u8],
    scales: &mut [f32],
    squares: &mut [f32],
    exec: Exec,
) -> Result<()> {
    let (spec, exec) = (codec.spec(), exec.settled()?);
    let (dim, n, level) = (spec.dim(), rows_of(spec, "x", x)?, exec.level()?);
    let (bytes, norms) = (spec.row_bytes(), spec.norms());
    let expected = if metric == Metric::L2 { n } else { 0 };
    let lengths = [
        ("packed", packed.len(), n * bytes),
        ("scales", scales.len(), n * norms),
        ("squares", squares.len(), expected),
    ];
    for (argument, got, expected) in lengths {
        if got != expected {
            return Err(Error::argument(argument, format!("{expected} long for {n} rows"), got));
        }
    }
    let mut units = Vec::new();
    Error::of_first_row(x, dim, |x| {
        let n = x.len() / dim;
        let (packed, scales) = (&mut packed[..n * bytes], &mut scales[..n * norms]);
        match metric {
            Metric::InnerProduct => {}
            Metric::Cosine => {
                unit_rows(level, "x", x, dim, &mut units)?;
                return codec.encode_into(&units, packed, scales, exec);
            }
            Metric::L2 => squared_norms(level, "x", x, dim, &mut squares[..n])?,
        }
        codec.encode_into(x, packed, scales, exec)
    })
}

/// x′/n′ of every row: without its power of two, over its norm; rows of zeros stay.
pub(super) fn unit_rows(level: Level, argument: &'static str, x: &[f32], dim: usize, out: &mut Vec<f32>) -> Result<()> {
    let (mut tops, mut exponents, mut norms) = (Vec::new(), Vec::new(), Vec::new());
    out.resize(x.len(), 0.0);
    prepare(level, argument, x, dim, &mut tops, &mut exponents, out, &mut norms)?;
    for (row, &norm) in out.chunks_exact_mut(dim).zip(&norms).filter(|(_, norm)| **norm > 0.0) {
        row.iter_mut().for_each(|value| *value /= norm);
    }
    Ok(())
}

/// |x|² of every row; norms must be below 2^63.
pub(super) fn squared_norms(
    level: Level,
    argument: &'static str,
    x: &[f32],
    dim: usize,
    out: &mut [f32],
) -> Result<()> {
    let (mut tops, mut exponents, mut rows, mut norms) = (Vec::new(), Vec::new(), vec![0.0; x.len()], Vec::new());
    prepare(level, argument, x, dim, &mut tops, &mut exponents, &mut rows, &mut norms)?;
    for (row, (out, (&norm, &exponent))) in out.iter_mut().zip(norms.iter().zip(&exponents)).enumerate() {
        let norm = times_power(norm, exponent);
        if norm >= L2_NORM_LIMIT {
            return Err(Error::Norm { argument, row, limit: "below 2^63 for squared L2 distances" });
        }
        *out = flush(norm * norm);
    }
    Ok(())
}
