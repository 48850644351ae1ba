//! Inputs and levels for kernel tests.

use super::Level;
use crate::rng::splitmix64;

/// The levels to hold against scalar, that of AMX with a model of its registers where they are not to be had. A machine without any
/// prints so; `TURBOQUANT_REQUIRE_SIMD` makes that a failure.
pub(crate) fn other_levels() -> Vec<Level> {
    let mut levels: Vec<_> = Level::available().into_iter().filter(|&level| level != Level::Scalar).collect();
    let names: Vec<_> = levels.iter().map(|level| level.name()).collect();
    for required in std::env::var("TURBOQUANT_REQUIRE_SIMD").unwrap_or_default().split(',') {
        let met = required.is_empty() || required == "scalar" || names.contains(&required);
        assert!(met, "TURBOQUANT_REQUIRE_SIMD names {required}, available: {names:?}");
    }
    if levels.is_empty() {
        eprintln!("SKIPPED: no SIMD level on this machine, only scalar ran");
    }
    if !levels.iter().any(|level| matches!(level, Level::Amx(..))) {
        levels.extend(Level::with_model());
    }
    levels
}

/// `n` float32 values: mostly in (−2, 2), some zero, tiny or equal to one another.
pub(crate) fn floats(n: usize, seed: u64) -> Vec<f32> {
    (0..n as u64)
        .map(|i| {
            let word = splitmix64(seed, i);
            let value = ((word >> 40) as f32 / (1 << 22) as f32) - 2.0;
            match word & 31 {
                0 => 0.0,
                1 => -0.0,
                2 => value * 1e-9,
                3 => 0.5,
                _ => value,
            }
        })
        .collect()
}

/// `n` bytes.
pub(crate) fn bytes(n: usize, seed: u64) -> Vec<u8> {
    (0..n as u64).map(|i| (splitmix64(seed, i) >> 20) as u8).collect()
}
