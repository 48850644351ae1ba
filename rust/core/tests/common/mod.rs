//! What the integration tests share: levels, depth, awkward inputs, calls that return everything as comparable bits.

#![allow(dead_code, reason = "every test file uses its own part")]

use std::io::Write as _;
use std::sync::{Mutex, Once, PoisonError};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use turboquant_rs::{
    CodesView, EncodeOptions, Error, Exec, Level, Neighbors, Options, Scale, SearchOptions, TurboQuant,
};

/// A folder of its own that goes with the test.
pub(crate) struct Folder(pub(crate) std::path::PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("turboquant-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Every level name that the project knows, on any machine.
const KNOWN: [&str; 9] = ["scalar", "avx2", "avxvnni", "avx512", "avx512vnni", "amx", "neon", "neon_dot", "neon_i8mm"];

/// Dimensions beside 1 to 130: powers of two, their neighbours, and those that embeddings have.
pub(crate) const LARGE: [usize; 11] = [200, 300, 384, 500, 768, 769, 1000, 1024, 1032, 1536, 3072];

pub(crate) const SCALES: [Scale; 4] = [Scale::Unbiased, Scale::Mse, Scale::Matched, Scale::Paper];

/// All levels of this machine, scalar first. Others are named once, past the capture of the test harness, and
/// `TURBOQUANT_REQUIRE_SIMD` makes a missing one a failure.
pub(crate) fn levels() -> Vec<Level> {
    static SAID: Once = Once::new();
    let levels = Level::available();
    let names: Vec<_> = levels.iter().map(|level| level.name()).collect();
    for required in std::env::var("TURBOQUANT_REQUIRE_SIMD").unwrap_or_default().split(',').map(str::trim) {
        let met = required.is_empty() || names.contains(&required);
        assert!(met, "TURBOQUANT_REQUIRE_SIMD names {required}, available: {names:?}");
    }
    SAID.call_once(|| {
        let skipped: Vec<_> = KNOWN.into_iter().filter(|name| !names.contains(name)).collect();
        let text = format!("\nSKIPPED LEVELS, not on this machine or in this build: {}\n", skipped.join(", "));
        let _ = std::io::stderr().write_all(text.as_bytes());
    });
    levels
}

/// The levels to hold against scalar.
pub(crate) fn other_levels() -> Vec<Level> {
    levels().split_off(1)
}

/// Runs `work` with `level` as the process's default, for calls that take no [`Exec`]. One at a time.
pub(crate) fn at_default<R>(level: Level, work: impl FnOnce() -> R) -> R {
    static LOCK: Mutex<()> = Mutex::new(());
    let _guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let before = Level::default_level().unwrap();
    level.set_default();
    let result = work();
    before.set_default();
    result
}

/// `TURBOQUANT_TEST_DEPTH=quick` is for emulators: few cases, small dimensions.
pub(crate) fn quick() -> bool {
    std::env::var("TURBOQUANT_TEST_DEPTH").is_ok_and(|depth| depth == "quick")
}

/// `full` cases, a sixth of them when quick; the same ones on every run unless `PROPTEST_RNG_SEED` says otherwise.
pub(crate) fn cases(full: u32) -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = if quick() { full.div_ceil(6) } else { full };
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        config.rng_seed = RngSeed::Fixed(2504);
    }
    config
}

pub(crate) fn serial(level: Level) -> Exec {
    Exec { level: Some(level), serial: true }
}

/// The `k` nearest of all rows, found this way.
pub(crate) fn top(k: usize, exec: Exec) -> SearchOptions<'static> {
    SearchOptions { exec, ..SearchOptions::new(k) }
}

/// What is left of the ranking of all of `n` rows: the first `k` that are allowed, then what fills an empty place.
pub(crate) fn allowed(all: &Neighbors, n: usize, k: usize, worst: f32, has: impl Fn(i64) -> bool) -> Neighbors {
    let (mut scores, mut ids) = (Vec::new(), Vec::new());
    for (all_scores, all_ids) in all.scores.chunks(n).zip(all.ids.chunks(n)) {
        let end = scores.len() + k;
        let found = all_scores.iter().zip(all_ids).filter(|(_, id)| has(**id)).take(k);
        found.for_each(|(score, id)| (scores.push(*score), ids.push(*id)).0);
        scores.resize(end, worst);
        ids.resize(end, -1);
    }
    Neighbors { scores, ids }
}

/// Whether two searches found the same, to the bit.
pub(crate) fn same(a: &Neighbors, b: &Neighbors) -> bool {
    a.ids == b.ids && bits_of(&a.scores) == bits_of(&b.scores)
}

// --- inputs ------------------------------------------------------------------------------------------------------

/// SplitMix64.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0 … n−1.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.word() % n as u64) as usize
    }

    /// In (−1, 1), denser about 0.
    pub(crate) fn float(&mut self) -> f32 {
        let uniform = |word: u64| (word >> 40) as f32 / 8_388_608.0 - 1.0;
        0.5 * (uniform(self.word()) + uniform(self.word()))
    }

    pub(crate) fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

/// Rows that need care.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Plain,
    /// Zeros of both signs.
    Zero,
    /// No normal number: a zero row.
    Subnormal,
    /// About the smallest normal number, so that some coordinates are subnormal and still count.
    Tiny,
    Huge,
    /// Sixty binary orders of magnitude in one row.
    Wide,
    /// Equal for every seed.
    Duplicate,
    OneHot,
    TwoSparse,
    Sparse,
    Constant,
    /// Small integers: sums cancel to exact zeros, which sit on a boundary.
    Whole,
}

const KINDS: [Kind; 12] = [
    Kind::Plain,
    Kind::Zero,
    Kind::Subnormal,
    Kind::Tiny,
    Kind::Huge,
    Kind::Wide,
    Kind::Duplicate,
    Kind::OneHot,
    Kind::TwoSparse,
    Kind::Sparse,
    Kind::Constant,
    Kind::Whole,
];

pub(crate) fn row(kind: Kind, dim: usize, numbers: &mut Numbers) -> Vec<f32> {
    let mut row = vec![0.0; dim];
    let sparse = |row: &mut [f32], numbers: &mut Numbers, count: usize| {
        for _ in 0..count {
            row[numbers.below(dim)] = if numbers.word() & 1 == 0 { 1.0 } else { -1.0 };
        }
    };
    match kind {
        Kind::Plain => row = numbers.floats(dim),
        Kind::Zero => row.iter_mut().for_each(|v| *v = if numbers.word() & 1 == 0 { 0.0 } else { -0.0 }),
        Kind::Subnormal => row.iter_mut().for_each(|v| *v = f32::from_bits(numbers.word() as u32 & 0x807F_FFFF)),
        Kind::Tiny => row.iter_mut().for_each(|v| *v = numbers.float() * 2.0_f32.powi(-124)),
        // With 65,536 coordinates the norm stays below 2^124, so that every scale fits float32.
        Kind::Huge => row.iter_mut().for_each(|v| *v = numbers.float() * 2.0_f32.powi(115)),
        Kind::Wide => row.iter_mut().for_each(|v| *v = numbers.float() * 2.0_f32.powi(numbers.below(60) as i32 - 50)),
        Kind::Duplicate => row = Numbers(99).floats(dim),
        Kind::OneHot => sparse(&mut row, numbers, 1),
        Kind::TwoSparse => sparse(&mut row, numbers, 2),
        Kind::Sparse => sparse(&mut row, numbers, 1 + dim / 10),
        Kind::Constant => row.fill(numbers.float()),
        Kind::Whole => row.iter_mut().for_each(|v| *v = numbers.below(7) as f32 - 3.0),
    }
    row
}

/// A codec and rows for it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) dim: usize,
    pub(crate) bits: u32,
    pub(crate) scale: Scale,
    pub(crate) refine: u8,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) seed: u64,
}

impl Case {
    pub(crate) fn codec(&self) -> TurboQuant {
        let options = Options { seed: self.seed, scale: self.scale, refine: self.refine, ..Options::default() };
        TurboQuant::new(self.dim, self.bits, options).unwrap()
    }

    pub(crate) fn rows(&self) -> Vec<f32> {
        let mut numbers = Numbers(self.seed ^ 1);
        self.kinds.iter().flat_map(|&kind| row(kind, self.dim, &mut numbers)).collect()
    }

    /// Some queries, with norms below 2^63.
    pub(crate) fn queries(&self) -> Vec<f32> {
        let mut numbers = Numbers(self.seed ^ 2);
        let mut queries: Vec<f32> = [Kind::Plain, Kind::Duplicate, Kind::Zero, Kind::OneHot, Kind::Tiny, Kind::Whole]
            .into_iter()
            .flat_map(|kind| row(kind, self.dim, &mut numbers))
            .collect();
        queries.extend(numbers.floats(self.dim).iter().map(|v| v * 2.0_f32.powi(50)));
        queries
    }
}

pub(crate) fn dims() -> BoxedStrategy<usize> {
    if quick() {
        return prop_oneof![8 => 1_usize..=130, 2 => select(vec![200, 300, 768, 1000])].boxed();
    }
    prop_oneof![24 => 1_usize..=130, 12 => select(&LARGE[..]), 1 => select(vec![65_535, 65_536])].boxed()
}

pub(crate) fn any_case() -> impl Strategy<Value = Case> {
    cases_of(dims(), 20)
}

/// Cases of at most `most` rows, fewer of them the larger they are.
pub(crate) fn cases_of(dims: BoxedStrategy<usize>, most: usize) -> impl Strategy<Value = Case> {
    let kinds = proptest::collection::vec(select(&KINDS[..]), 1..=most);
    (dims, 1_u32..=8, select(&SCALES[..]), select(vec![0, 0, 8, 16, 32]), kinds, any::<u64>()).prop_map(
        |(dim, bits, scale, refine, mut kinds, seed)| {
            kinds.truncate((60_000 / dim).max(2));
            Case { dim, bits, scale, refine, kinds, seed }
        },
    )
}

// --- results as bits ---------------------------------------------------------------------------------------------

pub(crate) fn bits_of(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// What encoding writes; floats by their bits, so that −0 differs from 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Encoded {
    pub(crate) packed: Vec<u8>,
    pub(crate) scales: Vec<u32>,
    pub(crate) squares: Vec<u32>,
}

impl Encoded {
    pub(crate) fn scales(&self) -> Vec<f32> {
        self.scales.iter().map(|&bits| f32::from_bits(bits)).collect()
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.packed.extend(other.packed);
        self.scales.extend(other.scales);
        self.squares.extend(other.squares);
    }
}

/// Encodes into buffers that hold rubbish, so that a byte that is not written shows.
pub(crate) fn encode(codec: &TurboQuant, x: &[f32], how: (bool, bool), exec: Exec) -> Result<Encoded, Error> {
    let (unit_norm, with_squares) = how;
    let n = x.len() / codec.dim();
    let (mut packed, mut scales) = (vec![0xA5; n * codec.row_bytes()], vec![f32::NAN; n]);
    let mut squares = vec![f32::NAN; if with_squares { n } else { 0 }];
    let options = EncodeOptions { unit_norm, squares: with_squares.then_some(&mut squares[..]), badly: None };
    codec.encode_into(x, &mut packed, &mut scales, options, exec)?;
    Ok(Encoded { packed, scales: bits_of(&scales), squares: bits_of(&squares) })
}

pub(crate) fn decode<'a>(codec: &TurboQuant, codes: impl Into<CodesView<'a>>, exec: Exec) -> Vec<u32> {
    let codes = codes.into();
    let mut out = vec![f32::NAN; codes.len() * codec.dim()];
    codec.decode_into(codes, &mut out, exec).unwrap();
    bits_of(&out)
}

pub(crate) fn score<'a>(codec: &TurboQuant, queries: &[f32], codes: impl Into<CodesView<'a>>, exec: Exec) -> Vec<u32> {
    let codes = codes.into();
    let mut out = vec![f32::NAN; queries.len() / codec.dim() * codes.len()];
    codec.score_into(queries, codes, &mut out, exec).unwrap();
    bits_of(&out)
}
