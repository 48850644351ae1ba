//! Encoding and scanning at every level of this machine, beside one another: `cargo bench -p turboquant-rs-core`.
//!
//! Dimensions: two friendly ones and one with a tail. Results are checked against the scalar level before anything is timed.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use turboquant_rs::{Codes, EncodeOptions, Exec, FittedParts, Level, Options, TurboQuant};

const ROWS: usize = 2_000;
const DIMS: [usize; 3] = [768, 1000, 1024];

fn vectors(rows: usize, dim: usize) -> Vec<f32> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..rows * dim).map(|_| next() + next() + next()).collect()
}

fn serial(level: Level) -> Exec {
    Exec { level: Some(level), serial: true }
}

/// A fitted codec of 2 bits on average: segments of 32 axes at 3, 2 and 1 bits. What the axes are does not matter for speed.
fn fitted(dim: usize) -> TurboQuant {
    let lengths: Vec<_> = (0..dim).step_by(32).map(|start| (dim - start).min(32)).collect();
    let third = lengths.len() / 3;
    let width = |i| if i < third { 3 } else { 2 - u32::from(i >= lengths.len() - third) };
    let segments: Vec<_> = lengths.iter().enumerate().map(|(i, &m)| (m, width(i))).collect();
    let order: Vec<_> = (0_u8..).zip(&segments).flat_map(|(i, (_, bits))| vec![i; *bits as usize]).collect();
    let transform: Vec<_> = (0..dim * dim).map(|i| if i % (dim + 1) == 0 { 32_000 } else { 0 }).collect();
    let sigmas = vec![1.0 / (dim as f32).sqrt(); segments.len()];
    let (transform, sigmas, segments, order) = (&transform[..], &sigmas[..], &segments[..], &order[..]);
    let parts = FittedParts { dim, center: None, transform, sigmas, segments, order, dual: None };
    TurboQuant::from_parts(parts, Options::default()).unwrap()
}

fn encode(c: &mut Criterion) {
    for bits in [1, 4, 8] {
        encode_by(c, &format!("{bits}bit"), |dim| TurboQuant::new(dim, bits, Options::default()).unwrap());
    }
    encode_by(c, "fitted 2bit", fitted);
}

fn encode_by(c: &mut Criterion, name: &str, codec: impl Fn(usize) -> TurboQuant) {
    let mut group = c.benchmark_group(format!("encode/{name}"));
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(10);
    for dim in DIMS {
        let codec = codec(dim);
        let x = vectors(ROWS, dim);
        let (mut packed, mut scales) = (vec![0; ROWS * codec.row_bytes()], vec![0.0; ROWS]);
        let mut run = |level| {
            codec.encode_into(&x, &mut packed, &mut scales, EncodeOptions::default(), serial(level)).unwrap();
            (packed.clone(), scales.clone())
        };
        let want = run(Level::Scalar);
        for level in Level::available() {
            assert_eq!(run(level), want, "{} must equal scalar before it is timed", level.name());
        }
        for level in Level::available() {
            group.bench_function(BenchmarkId::new(level.name(), dim), |b| {
                b.iter(|| codec.encode_into(&x, &mut packed, &mut scales, EncodeOptions::default(), serial(level)));
            });
        }
    }
}

fn score(c: &mut Criterion) {
    for bits in [1, 4, 8] {
        let mut group = c.benchmark_group(format!("score/{bits}bit"));
        group.sample_size(10);
        for dim in DIMS {
            let codec = TurboQuant::new(dim, bits, Options::default()).unwrap();
            let codes: Codes = codec.encode(&vectors(ROWS, dim)).unwrap();
            for queries in [1, 64] {
                let q = vectors(queries, dim);
                let mut out = vec![0.0; queries * ROWS];
                codec.score_into(&q, &codes, &mut out, serial(Level::Scalar)).unwrap();
                let want = out.clone();
                group.throughput(Throughput::Elements((queries * ROWS) as u64));
                for level in Level::available() {
                    codec.score_into(&q, &codes, &mut out, serial(level)).unwrap();
                    assert_eq!(out, want, "{} must equal scalar before it is timed", level.name());
                    group.bench_function(BenchmarkId::new(format!("{}/{queries} queries", level.name()), dim), |b| {
                        b.iter(|| codec.score_into(&q, &codes, &mut out, serial(level)));
                    });
                }
            }
        }
    }
}

criterion_group!(benches, encode, score);
criterion_main!(benches);
