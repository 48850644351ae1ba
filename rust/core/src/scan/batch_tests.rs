//! Batches of every kind of size, through preparation, panels, products and heaps, at every level: the scores and ids of scalar.
//!
//! Here, where tests can have a level whose registers are a model, and not with the crate's other users.

use std::sync::Arc;

use crate::kernels::Level;
use crate::kernels::testing::{floats, other_levels};
use crate::{Exec, FittedParts, Index, Metric, Options, SearchOptions, TurboQuant};

/// Around what AMX starts at, and its group of 64.
const BATCHES: [usize; 6] = [1, 15, 16, 17, 64, 83];
const ROWS: usize = 150;

/// Segments that fill no register, of one byte and of two.
fn fitted(segments: &[(usize, u32)]) -> TurboQuant {
    let dim = segments.iter().map(|(axes, _)| axes).sum();
    let mut transform = vec![0; dim * dim];
    transform.iter_mut().step_by(dim + 1).for_each(|value| *value = 32_000);
    let order: Vec<u8> = (0..).zip(segments).flat_map(|(i, &(_, bits))| vec![i; bits as usize]).collect();
    let sigmas = vec![0.125; segments.len()];
    let parts =
        FittedParts { dim, center: None, transform: &transform, sigmas: &sigmas, segments, order: &order, dual: None };
    TurboQuant::from_parts(parts, Options::default()).unwrap()
}

#[test]
fn batches_score_and_find_as_scalar_does() {
    let plain = |dim, bits| TurboQuant::new(dim, bits, Options::default()).unwrap();
    let split = TurboQuant::split(130, [6, 3], &[3, 64, 129], Options::default()).unwrap();
    let codecs = [plain(7, 1), plain(64, 4), plain(100, 2), plain(129, 5), plain(200, 8), split];
    let fits = [fitted(&[(40, 7), (33, 4), (70, 4), (20, 1)]), fitted(&[(5, 3)]), fitted(&[(70, 5), (33, 2)])];
    for codec in codecs.into_iter().chain(fits).map(Arc::new) {
        let (dim, bits) = (codec.dim(), codec.spec().full());
        let x = floats(ROWS * dim, 1);
        let codes = codec.encode(&x).unwrap();
        let mut index = Index::new(codec.clone(), Metric::L2);
        index.add(&x, None).unwrap();
        for nq in BATCHES {
            let queries = floats(nq * dim, 2);
            let answers = |level: Level| {
                let exec = Exec { level: Some(level), serial: true };
                let mut scores = vec![f32::NAN; nq * ROWS];
                codec.score_into(&queries, &codes, &mut scores, exec).unwrap();
                let found = index.search_with(&queries, SearchOptions { exec, ..SearchOptions::new(9) }).unwrap();
                (scores.into_iter().map(f32::to_bits).collect::<Vec<_>>(), found)
            };
            let expected = answers(Level::Scalar);
            for level in other_levels() {
                assert!(answers(level) == expected, "{}: {dim} dims, {bits:?} bits, {nq} queries", level.name());
            }
        }
    }
}
