//! What a change of a large index costs from Rust: `cargo bench -p turboquant-rs-core --bench ids -- ROWS DIM BITS`, as `benches/ids.py`
//! calls it.
//!
//! Prints one line of JSON: microseconds of one call, a list an operation, and milliseconds of a large removal. Ids are given and do not
//! ascend, so every one is found through the table.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::sync::Arc;
use std::time::Instant;

use turboquant_rs::{Index, Metric, Options, TurboQuant};

/// Rows that are encoded, over and over: codes cost the same whatever they say.
const BLOCK: usize = 16_384;
/// Calls of one row.
const CALLS: usize = 1_000;

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let [rows, dim, bits] = numbers[..].try_into().unwrap_or([50_000, 384, 4]);
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let x: Vec<f32> = (0..BLOCK * dim).map(|_| (next() as f32 / (1 << 30) as f32) - 1.0).collect();
    let codec = TurboQuant::new(dim, bits as u32, Options::default()).expect("a codec");
    let mut index = Index::new(Arc::new(codec), Metric::InnerProduct);
    let mut ids: Vec<i64> = (0..rows as i64).collect();
    (1..rows).rev().for_each(|i| ids.swap(i, next() as usize % (i + 1)));
    for ids in ids.chunks(BLOCK) {
        index.add(&x[..ids.len() * dim], Some(ids)).expect("new ids");
    }
    let largest = rows as i64;
    let start = Instant::now();
    index.remove(&ids[..1]).expect("an id");
    let first = 1e3 * start.elapsed().as_secs_f64();
    let mut time = |call: &mut dyn FnMut(&mut Index, usize)| -> Vec<f64> {
        let calls = (0..CALLS).map(|i| {
            let start = Instant::now();
            call(&mut index, i);
            1e6 * start.elapsed().as_secs_f64()
        });
        calls.collect()
    };
    let add = time(&mut |index, i| {
        index.add(&x[i * dim..][..dim], Some(&[largest + i as i64])).expect("a new id");
    });
    let upsert = time(&mut |index, i| {
        index.upsert(&x[i * dim..][..dim], &ids[1 + i..][..1]).expect("an id");
    });
    let contains = time(&mut |index, i| assert!(index.contains(ids[1 + CALLS + i]).expect("in memory")));
    let remove = time(&mut |index, i| index.remove(&ids[1 + CALLS + i..][..1]).expect("an id"));
    let many = &ids[1 + 2 * CALLS..][..rows / 10];
    let start = Instant::now();
    index.remove(many).expect("ids");
    let tenth = 1e3 * start.elapsed().as_secs_f64();
    assert_eq!(index.len(), rows - 1 - rows / 10, "adds made up for single removals");
    assert!(index.removed() > 0, "nothing was compacted meanwhile");
    let lists = [("add_us", add), ("upsert_us", upsert), ("contains_us", contains), ("remove_us", remove)];
    let lists: Vec<_> = lists.iter().map(|(name, values)| format!("\"{name}\": {values:?}")).collect();
    println!("{{\"first_remove_ms\": {first}, \"remove_a_tenth_ms\": [{tenth}], {}}}", lists.join(", "));
}
