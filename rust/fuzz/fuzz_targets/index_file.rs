//! An index file: what `rust/core/tests/fuzz.rs` drives without a fuzzer.

#![no_main]

#[allow(dead_code, reason = "each target calls one of its functions")]
#[path = "../../core/tests/fuzz/harness.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::index_file(bytes));
