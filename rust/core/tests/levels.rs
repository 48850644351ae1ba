//! SIMD levels as a stranger uses them: their names, and a default that may change at any moment.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use turboquant_rs::{Exec, Index, LEVEL_VARIABLE, Level, Metric, Options, TurboQuant};

#[test]
fn levels_have_names_and_a_default() {
    let available = Level::available();
    assert_eq!(available[0], Level::Scalar);
    for level in common::levels() {
        assert_eq!(Level::named(level.name()).unwrap(), level);
        assert_eq!(common::at_default(level, || Level::default_level().unwrap()), level);
    }
    let names: Vec<_> = available.iter().map(|level| level.name()).collect();
    let names = names.join(", ");
    let refused = |name: &str, words: &str| assert_eq!(Level::named(name).unwrap_err().to_string(), words);
    refused("mmx", &format!(r#"SIMD level "mmx" is unknown; available: {names}"#));
    let other = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
    let words = format!(r#"SIMD level "{other}" is not available on this machine and build; available: {names}"#);
    refused(other, &words);
    assert_eq!(LEVEL_VARIABLE, "TURBOQUANT_SIMD");
    assert_eq!(Exec::default(), Exec { level: None, serial: false });
}

#[test]
fn another_default_while_a_call_runs_changes_nothing() {
    let codec = Arc::new(TurboQuant::new(24, 4, Options::default()).unwrap());
    let x: Vec<f32> = (0..24 * 200_u16).map(|i| f32::from(i % 97) - 48.0 + f32::from(i % 13)).collect();
    let build = || {
        let mut index = Index::new(codec.clone(), Metric::L2);
        index.add(&x, None).unwrap();
        index
    };
    let (codes, index) = (codec.encode(&x).unwrap(), build());
    let (scores, found) = (codec.score(&x, &codes).unwrap(), index.search(&x, 3).unwrap());
    let done = AtomicBool::new(false);
    /// Ends the other thread also when an assertion fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let _stop = Stop(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for level in Level::available() {
                    common::at_default(level, std::thread::yield_now);
                }
            }
        });
        for _ in 0..if common::quick() { 20 } else { 200 } {
            assert_eq!(codec.encode(&x).unwrap(), codes);
            assert_eq!(codec.score(&x, &codes).unwrap(), scores);
            assert_eq!(build().search(&x, 3).unwrap(), found);
        }
    });
}
