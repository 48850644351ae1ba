//! Encoding and scanning at every level of this machine, beside one another: `cargo bench -p turboquant-rs-core --bench kernels`;
//! `-- avx2/1000` runs what has that in its name.
//!
//! Dimensions: two friendly ones and one with a tail. Results are checked against the scalar level before anything is timed.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::time::{Duration, Instant};

use turboquant_rs::{Codes, EncodeOptions, Exec, FittedParts, Level, Options, TurboQuant};

const ROWS: usize = 2_000;
const DIMS: [usize; 3] = [768, 1000, 1024];
const SAMPLES: usize = 11;
/// A sample is as many calls as take so long.
const SAMPLE: Duration = Duration::from_millis(100);

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

/// Prints how many millions of `elements` a second `run` does: the median of the samples, the slowest and the fastest.
fn time(name: &str, elements: usize, mut run: impl FnMut()) {
    let wanted = |argument: String| argument.starts_with('-') || name.contains(&argument);
    if !std::env::args().skip(1).all(wanted) {
        return;
    }
    let mut rates: Vec<_> = (0..SAMPLES)
        .map(|_| {
            let (start, mut calls) = (Instant::now(), 0);
            while start.elapsed() < SAMPLE {
                run();
                calls += 1;
            }
            1e-6 * (calls * elements) as f64 / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    println!("{name:44} {:9.3} M/s  [{:.3}, {:.3}]", rates[SAMPLES / 2], rates[0], rates[SAMPLES - 1]);
}

fn encode(name: &str, codec: impl Fn(usize) -> TurboQuant) {
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
            time(&format!("encode/{name}/{}/{dim}", level.name()), ROWS, || {
                codec.encode_into(&x, &mut packed, &mut scales, EncodeOptions::default(), serial(level)).unwrap();
            });
        }
    }
}

fn score(bits: u32) {
    for dim in DIMS {
        let codec = TurboQuant::new(dim, bits, Options::default()).unwrap();
        let codes: Codes = codec.encode(&vectors(ROWS, dim)).unwrap();
        for queries in [1, 64] {
            let q = vectors(queries, dim);
            let mut out = vec![0.0; queries * ROWS];
            codec.score_into(&q, &codes, &mut out, serial(Level::Scalar)).unwrap();
            let want = out.clone();
            for level in Level::available() {
                codec.score_into(&q, &codes, &mut out, serial(level)).unwrap();
                assert_eq!(out, want, "{} must equal scalar before it is timed", level.name());
                let name = format!("score/{bits}bit/{queries} queries/{}/{dim}", level.name());
                time(&name, queries * ROWS, || codec.score_into(&q, &codes, &mut out, serial(level)).unwrap());
            }
        }
    }
}

fn main() {
    for bits in [1, 4, 8] {
        encode(&format!("{bits}bit"), |dim| TurboQuant::new(dim, bits, Options::default()).unwrap());
    }
    encode("fitted 2bit", fitted);
    for bits in [1, 4, 8] {
        score(bits);
    }
}
