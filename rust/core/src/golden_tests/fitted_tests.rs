//! The lines of fitted codecs: what `fit_parts` and `fit_stages` of tests/golden/make_golden.py compute.

use std::sync::Arc;

use super::{Fold, Inputs, QUERIES, ROWS, found_by};
use crate::kernels::Level;
use crate::kernels::units as planes;
use crate::rng::{derive, permutation, splitmix64};
use crate::{Codes, DualParts, EncodeOptions, Exec, FittedParts, Options, Scale, TurboQuant};

/// What a fit would have found, owned.
struct Parts {
    dim: usize,
    center: Option<Vec<f32>>,
    transform: Vec<i16>,
    sigmas: Vec<f32>,
    segments: Vec<(usize, u32)>,
    order: Vec<u8>,
    dual: Option<(Vec<i16>, Vec<f32>, Vec<f32>)>,
}

impl Parts {
    fn new(dim: usize, kind: &str) -> Self {
        let axes = if kind == "half" { dim.div_ceil(2) } else { dim };
        let words = |purpose: u64, count: usize| {
            let key = derive(purpose, &[dim as u64]);
            (0..count as u64).map(move |i| splitmix64(key, i))
        };
        let matrix = |purpose| -> Vec<i16> {
            let reach = (32_000.0 / (dim as f64).sqrt()) as i64;
            let value = |word: u64| ((word >> 33) % (2 * reach as u64 + 1)) as i64 - reach;
            words(purpose, axes * dim).map(|word| value(word) as i16).collect()
        };
        let floats = |purpose, count, factor: f32| -> Vec<f32> {
            words(purpose, count).map(|word| factor * (1.0 + (word >> 52) as f32 / 4096.0)).collect()
        };
        let lengths = if axes < 6 { vec![axes] } else { vec![axes / 3, axes / 2 - axes / 3, axes - axes / 2] };
        let mut widths: Vec<_> = words(13, lengths.len()).map(|word| (word % 8 + 1) as u32).collect();
        widths.sort_unstable_by(|a, b| b.cmp(a));
        let units: Vec<_> = (0_u8..).zip(&widths).flat_map(|(i, &width)| vec![i; width as usize]).collect();
        let order = permutation(derive(14, &[dim as u64]), units.len());
        let uniform = |word: u64| (word >> 40) as f32 / 4_194_304.0 - 2.0;
        let mean = |(j, word): (usize, u64)| if j % 3 == 0 { 0.0 } else { uniform(word) * 0.25 };
        Self {
            dim,
            center: matches!(kind, "center" | "dual").then(|| words(15, dim).enumerate().map(mean).collect()),
            transform: matrix(11),
            sigmas: floats(18, lengths.len(), 0.0625),
            order: order.into_iter().map(|i| units[i as usize]).collect(),
            segments: lengths.into_iter().zip(widths).collect(),
            dual: (kind == "dual").then(|| (matrix(12), floats(16, axes, 8.0), floats(17, axes, 0.125))),
        }
    }

    fn view(&self) -> FittedParts<'_> {
        FittedParts {
            dim: self.dim,
            center: self.center.as_deref(),
            transform: &self.transform,
            sigmas: &self.sigmas,
            segments: &self.segments,
            order: &self.order,
            dual: self.dual.as_ref().map(|(matrix, row_gains, query_gains)| DualParts {
                matrix,
                row_gains,
                query_gains,
            }),
        }
    }

    fn digits(&self) -> String {
        let mut fold = Fold::default();
        fold.0.extend(self.transform.iter().flat_map(|value| value.to_le_bytes()));
        fold.floats(&self.sigmas);
        fold.0.extend(self.segments.iter().flat_map(|&(m, bits)| [m as u32, bits]).flat_map(u32::to_le_bytes));
        fold.bytes(&self.order);
        if let Some((matrix, row_gains, query_gains)) = &self.dual {
            fold.0.extend(matrix.iter().flat_map(|value| value.to_le_bytes()));
            fold.floats(row_gains).floats(query_gains);
        }
        fold.floats(self.center.as_deref().unwrap_or_default()).digits()
    }
}

/// The hashes of one line, its keys: parts, scale, refinement, metric.
pub(super) fn stages(level: Level, inputs: &Inputs, keys: &[&str]) -> Vec<String> {
    let (parts, dim) = (Parts::new(inputs.dim, keys[0]), inputs.dim);
    let (scale, refine) = (Scale::named(keys[1]).unwrap(), keys[2].parse().unwrap());
    let options = Options { seed: inputs.seed, scale, refine, ..Options::default() };
    let codec = TurboQuant::from_parts(parts.view(), options).unwrap();
    let exec = Exec { level: Some(level), serial: true };
    let (mut packed, mut scales) = (vec![0xAA; ROWS * codec.row_bytes()], vec![f32::NAN; ROWS]);
    codec.encode_into(&inputs.rows, &mut packed, &mut scales, EncodeOptions::default(), exec).unwrap();
    let mut unpacked = Fold::default();
    let mut offset = 0;
    for &i in &parts.order {
        let m = parts.segments[usize::from(i)].0;
        let place = planes::Place { width: 1, shift: 0, offset, stride: codec.row_bytes() };
        let mut plane = vec![0; ROWS * m];
        planes::unpack(level, &packed, m, place, &mut plane);
        unpacked.bytes(&plane);
        offset += m.div_ceil(8);
    }
    let codes = Codes::new(codec.spec().clone(), codec.spec().full(), packed, scales).unwrap();
    let decode = |codes: &Codes| {
        let mut out = vec![f32::NAN; ROWS * dim];
        codec.decode_into(codes, &mut out, exec).unwrap();
        out
    };
    let score = |codes: &Codes| {
        let mut out = vec![f32::NAN; QUERIES * ROWS];
        codec.score_into(&inputs.queries, codes, &mut out, exec).unwrap();
        out
    };
    let mut truncated = Fold::default();
    let units = parts.order.len();
    let counts = if units / 2 > 1 { vec![1, units / 2] } else { vec![1] };
    for count in counts {
        let bits = parts.order[..count].iter().map(|&i| parts.segments[usize::from(i)].0).sum();
        let short = codec.truncate_to(&codes, bits, exec).unwrap();
        truncated.bytes(short.packed()).floats(short.scales()).floats(&decode(&short)).floats(&score(&short));
    }
    vec![
        parts.digits(),
        unpacked.digits(),
        Fold::default().bytes(codes.packed()).digits(),
        Fold::default().floats(codes.scales()).digits(),
        Fold::default().floats(&decode(&codes)).digits(),
        Fold::default().floats(&score(&codes)).digits(),
        truncated.digits(),
        Fold::default().bytes(&codes.to_bytes()).digits(),
        found_by(level, inputs, Arc::new(codec.clone()), keys[3]),
    ]
}
