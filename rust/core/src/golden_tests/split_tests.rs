//! The lines of outlier splits: what `split_stages` of tests/golden/make_golden.py computes.

use std::sync::Arc;

use super::{Fold, Inputs, QUERIES, ROWS, found_by};
use crate::kernels::Level;
use crate::rng::{derive, permutation};
use crate::units::{stage_ends, unpack};
use crate::{Codes, EncodeOptions, Exec, Options, RotationKind, Scale, TurboQuant};

/// A third of the channels.
fn outliers(dim: usize) -> Vec<usize> {
    let order = permutation(derive(19, &[dim as u64]), dim);
    order.into_iter().take((dim / 3).max(1)).map(|channel| channel as usize).collect()
}

pub(super) fn stages(level: Level, inputs: &Inputs, keys: &[&str]) -> Vec<String> {
    let dim = inputs.dim;
    let bits = [keys[0], keys[1]].map(|bits| bits.parse().unwrap());
    let options = Options {
        seed: inputs.seed,
        rotation: RotationKind::named(keys[2]).unwrap(),
        scale: Scale::named(keys[3]).unwrap(),
        refine: keys[4].parse().unwrap(),
    };
    let codec = TurboQuant::split(dim, bits, &outliers(dim), options).unwrap();
    let exec = Exec { level: Some(level), serial: true };
    let (mut packed, mut scales) = (vec![0xAA; ROWS * codec.row_bytes()], vec![f32::NAN; ROWS * 2]);
    codec.encode_into(&inputs.rows, &mut packed, &mut scales, EncodeOptions::default(), exec).unwrap();
    let mut codes_of = Fold::default();
    for (segment, units) in codec.spec().segments.iter().zip(codec.spec().units(&bits)) {
        let mut unpacked = vec![0; ROWS * segment.dim];
        unpack(level, &packed, segment.dim, &units, codec.row_bytes(), &mut unpacked);
        codes_of.bytes(&unpacked);
    }
    let codes = Codes::new(codec.spec().clone(), bits.to_vec(), packed, scales).unwrap();
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
    for &first in stage_ends(bits[0]) {
        for &second in stage_ends(bits[1]).iter().filter(|&&second| [first, second] != bits) {
            let short = codec.truncate_each(&codes, &[first, second], exec).unwrap();
            truncated.bytes(short.packed()).floats(short.scales()).floats(&decode(&short)).floats(&score(&short));
        }
    }
    vec![
        codes_of.digits(),
        Fold::default().bytes(codes.packed()).digits(),
        Fold::default().floats(codes.scales()).digits(),
        Fold::default().floats(&decode(&codes)).digits(),
        Fold::default().floats(&score(&codes)).digits(),
        truncated.digits(),
        Fold::default().bytes(&codes.to_bytes()).digits(),
        found_by(level, inputs, Arc::new(codec), keys[5]),
    ]
}
