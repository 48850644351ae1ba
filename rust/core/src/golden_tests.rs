//! The reference's hashes of every stage from a seed to its results, held against every level of this machine.
//!
//! `tests/golden.txt` is made by the NumPy reference; tests/golden/make_golden.py says what a line holds. Where NumPy
//! cannot run, on an emulated processor for one, this is what proves that the core computes the reference's bytes.
//! `TURBOQUANT_TEST_DEPTH=quick` thins the dimensions.

mod fitted_tests;
mod split_tests;

use std::fmt::Write as _;
use std::sync::Arc;

use crate::codebook::{boundaries, integer_levels, levels};
use crate::codec::prepare;
use crate::kernels::Level;
use crate::kernels::testing::other_levels;
use crate::rng::{derive, digest, is_negative, permutation, splitmix64};
use crate::rotation::Rotation;
use crate::units::{self, stage_ends};
use crate::{Codes, EncodeOptions, Exec, Index, Metric, Options, RotationKind, Scale, SearchOptions, TurboQuant};

const GOLDEN: &str = include_str!("../tests/golden.txt");

const ROWS: usize = 14;
const QUERIES: usize = 5;
const K: usize = 5;

/// The stages in the order in which a row passes them, with what it means that one moved.
const STAGES: [(&str, &str); 18] = [
    ("inputs", "the rows and queries made here are not the reference's, so nothing below says anything about the core"),
    ("prepared", "the power of two, what counts as zero, or the norm: everything from `codes` on follows"),
    ("signs", "SplitMix64 or the sign streams: everything below follows"),
    ("permutation", "Fisher-Yates or its stream: everything below follows where dim is no power of two"),
    ("rotated", "signs, steps or arithmetic of the rotation: codes, scales and scores follow"),
    ("unrotated", "the inverse rotation: decoded rows follow"),
    ("levels", "the codebook's constants, or which table a dimension takes: everything below follows"),
    ("boundaries", "the midpoints of levels: codes and all that is made of them follow"),
    ("integers", "integer levels or their scale: scores follow"),
    ("parts", "the fitted codecs made here are not the reference's, so their lines say nothing about the core"),
    ("codes", "assignment: norm, ties, or (if only refined lines moved) trial scales; everything below follows"),
    ("packed", "units and where they lie; the codes in them are right"),
    ("scales", "the sums of y·c and c·c, or the formula of the scale; the codes are right"),
    ("decoded", "lookup, order of inverse rotation and scale"),
    ("scores", "preparation of queries, the integer product, or how it is scaled"),
    ("truncated", "which bytes a shorter code keeps, its levels or its scale"),
    ("file", "header, sections or checksums; what they hold is right"),
    ("found", "the metrics' arithmetic, or the order of results"),
];

const DIM_STAGES: [&str; 9] =
    ["inputs", "prepared", "signs", "permutation", "rotated", "unrotated", "levels", "boundaries", "integers"];
const FIT_STAGES: [&str; 9] = ["parts", "codes", "packed", "scales", "decoded", "scores", "truncated", "file", "found"];
const FOUND_STAGES: [&str; 8] = ["codes", "packed", "scales", "decoded", "scores", "truncated", "file", "found"];
const CODE_STAGES: [&str; 7] = ["codes", "packed", "scales", "decoded", "scores", "truncated", "file"];

#[test]
fn every_stage_is_the_references() {
    let quick = std::env::var("TURBOQUANT_TEST_DEPTH").is_ok_and(|depth| depth == "quick");
    let lines: Vec<Vec<&str>> =
        GOLDEN.lines().filter(|l| !l.starts_with('#')).map(|l| l.split(' ').collect()).collect();
    let dims = lines.iter().filter(|line| line[0] == "dim").count();
    assert_eq!(dims, 141, "tests/golden.txt holds every dimension");
    let before = Level::default_level().unwrap();
    for level in [vec![Level::Scalar], other_levels()].concat() {
        // Truncation takes the default level.
        level.set_default();
        let mut moved = Vec::new();
        let mut inputs = Inputs::new(1);
        for line in lines.iter().filter(|line| !quick || in_quick(line[1].parse().unwrap())) {
            let dim = line[1].parse().unwrap();
            if inputs.dim != dim {
                inputs = Inputs::new(dim);
            }
            let (keys, names, found): (usize, &[&'static str], Vec<String>) = match line[0] {
                "dim" => (2, &DIM_STAGES, dim_stages(level, &inputs)),
                "code" => (5, &CODE_STAGES, code_stages(level, &inputs, &line[2..5])),
                "find" => (4, &["found"], vec![found(level, &inputs, &line[2..4])]),
                "dense" => (6, &FOUND_STAGES, dense_stages(level, &inputs, &line[2..6])),
                "split" => (8, &FOUND_STAGES, split_tests::stages(level, &inputs, &line[2..8])),
                "fit" => (6, &FIT_STAGES, fitted_tests::stages(level, &inputs, &line[2..6])),
                kind => panic!("unknown kind of line: {kind}"),
            };
            assert_eq!(line.len(), keys + names.len(), "a whole line: {line:?}");
            for ((name, want), got) in names.iter().zip(&line[keys..]).zip(&found) {
                if got != want {
                    moved.push((*name, line[..keys].join(" ")));
                }
            }
        }
        assert!(moved.is_empty(), "{}", diagnosis(level, &moved));
    }
    before.set_default();
}

/// What an emulator has time for: every remainder of a register and of the 64 lanes, and some usual dimensions.
fn in_quick(dim: usize) -> bool {
    dim <= 18 || [31, 32, 33, 47, 63, 64, 65, 79, 97, 127, 128, 129, 200, 300, 768].contains(&dim)
}

/// Names the stage that moved first: later ones mostly follow from it.
fn diagnosis(level: Level, moved: &[(&str, String)]) -> String {
    let mut text = format!("level {}: results are not the reference's.", level.name());
    let mut first = true;
    for (stage, meaning) in STAGES {
        let lines: Vec<_> = moved.iter().filter(|(name, _)| *name == stage).map(|(_, line)| line).collect();
        if let Some(line) = lines.first() {
            let lead = if first { "MOVED FIRST" } else { "then" };
            let _ = write!(text, "\n  {lead}: `{stage}` in {} lines, `{line}` the first; {meaning}", lines.len());
            first = false;
        }
    }
    text
}

// --- inputs ------------------------------------------------------------------------------------------------------

struct Inputs {
    dim: usize,
    seed: u64,
    /// 14 rows, plain and awkward ones; the last is too large for squared distances.
    rows: Vec<f32>,
    /// 5 queries; likewise.
    queries: Vec<f32>,
}

impl Inputs {
    fn new(dim: usize) -> Self {
        let words = |purpose, row: u64| -> Vec<u64> {
            let key = derive(purpose, &[dim as u64, row]);
            (0..dim as u64).map(|i| splitmix64(key, i)).collect()
        };
        let plain = |purpose, row, power: i32| -> Vec<f32> {
            let factor = 2.0_f32.powi(power);
            words(purpose, row).iter().map(|word| ((word >> 40) as f32 / 4_194_304.0 - 2.0) * factor).collect()
        };
        let from = |row, value: &dyn Fn(u64) -> f32| -> Vec<f32> { words(1, row).into_iter().map(value).collect() };
        let single =
            |at: usize, value: f32| -> Vec<f32> { (0..dim).map(|i| if i == at { value } else { 0.0 }).collect() };
        let two = |i: usize| if i == 0 || i == dim / 2 { 1.0 } else { 0.0 };
        let wide = |word: u64| f32::from_bits((word >> 32) as u32 & 0x807F_FFFF | ((word % 50 + 100) as u32) << 23);
        let rows = [
            plain(1, 0, 0),
            plain(1, 0, 0),
            plain(1, 2, 20),
            plain(1, 3, -100),
            plain(1, 4, -126),
            from(5, &|word| if word & 1 == 1 { -0.0 } else { 0.0 }),
            from(6, &|word| f32::from_bits(word as u32 & 0x807F_FFFF)),
            single((words(1, 7)[0] % dim as u64) as usize, -1.5),
            (0..dim).map(two).collect(),
            vec![0.1; dim],
            from(10, &|word| [-1.0, -0.0, 0.0, 1.0][word as usize & 3]),
            from(11, &wide),
            from(12, &|word| ((word >> 61) as f32 - 3.5) / 4.0),
            plain(1, 13, 116),
        ];
        let half = rows[0].iter().map(|value| value * 0.5).collect();
        let queries = [plain(2, 0, 0), half, single(dim - 1, 3.0), vec![0.0; dim], plain(2, 1, 86)];
        Self { dim, seed: splitmix64(7, dim as u64), rows: rows.concat(), queries: queries.concat() }
    }

    /// The first `n` rows.
    fn first(&self, n: usize) -> &[f32] {
        &self.rows[..n * self.dim]
    }
}

// --- stages ------------------------------------------------------------------------------------------------------

fn dim_stages(level: Level, inputs: &Inputs) -> Vec<String> {
    let Inputs { dim, seed, .. } = *inputs;
    let rotation = Rotation::new(dim, seed, 0);
    let (mut rotated, mut unrotated, mut spare) =
        (inputs.first(ROWS - 1).to_vec(), inputs.first(ROWS - 1).to_vec(), vec![]);
    rotation.apply(level, &mut rotated, &mut spare);
    rotation.apply_inverse(level, &mut unrotated, &mut spare);
    let (mut tops, mut exponents, mut prepared, mut norms) =
        (vec![], vec![], vec![0.0; inputs.rows.len()], vec![0.0; ROWS]);
    prepare(level, "x", &inputs.rows, dim, &mut tops, &mut exponents, &mut prepared, &mut norms).unwrap();
    let mut preparation = Fold::default();
    preparation.floats(&prepared);
    preparation.0.extend(exponents.iter().flat_map(|exponent| exponent.to_le_bytes()));
    let key = derive(seed, &[0, 0]);
    let signs: Vec<_> = (0..1 << dim.ilog2()).map(|i| if is_negative(key, i) { -1.0 } else { 1.0 }).collect();
    let (mut tables, mut bounds, mut integers) = (Fold::default(), Fold::default(), Fold::default());
    for bits in 1..=8 {
        for keep in 1..=bits {
            let c = levels(bits, keep, dim);
            let ints = integer_levels(bits, keep, dim, false);
            tables.floats(&c);
            bounds.floats(&boundaries(&c));
            integers.0.extend(ints.values.iter().flat_map(|value| value.to_le_bytes()));
            integers.floats(&[ints.scale]);
        }
    }
    let order: Vec<_> = permutation(derive(seed, &[0, 2]), dim).into_iter().map(i64::from).collect();
    vec![
        Fold::default().floats(&inputs.rows).floats(&inputs.queries).digits(),
        preparation.floats(&norms).digits(),
        Fold::default().floats(&signs).digits(),
        Fold::default().integers(&order).digits(),
        Fold::default().floats(&rotated).digits(),
        Fold::default().floats(&unrotated).digits(),
        tables.digits(),
        bounds.digits(),
        integers.digits(),
    ]
}

/// The codec of the keys bits, scale, refinement.
fn codec(inputs: &Inputs, keys: &[&str], rotation: RotationKind) -> TurboQuant {
    let (scale, refine) = (Scale::named(keys[1]).unwrap(), keys[2].parse().unwrap());
    let options = Options { seed: inputs.seed, rotation, scale, refine };
    TurboQuant::new(inputs.dim, keys[0].parse().unwrap(), options).unwrap()
}

fn code_stages(level: Level, inputs: &Inputs, keys: &[&str]) -> Vec<String> {
    stages_of(level, inputs, &codec(inputs, keys, RotationKind::Hadamard))
}

fn dense_stages(level: Level, inputs: &Inputs, keys: &[&str]) -> Vec<String> {
    let codec = codec(inputs, keys, RotationKind::Dense);
    let mut stages = stages_of(level, inputs, &codec);
    stages.push(found_by(level, inputs, Arc::new(codec), keys[3]));
    stages
}

fn stages_of(level: Level, inputs: &Inputs, codec: &TurboQuant) -> Vec<String> {
    let (dim, bits) = (inputs.dim, codec.spec().segments[0].bits);
    let exec = Exec { level: Some(level), serial: true };
    let (mut packed, mut scales) = (vec![0xAA; ROWS * codec.row_bytes()], vec![f32::NAN; ROWS]);
    codec.encode_into(&inputs.rows, &mut packed, &mut scales, EncodeOptions::default(), exec).unwrap();
    let mut unpacked = vec![0; ROWS * dim];
    units::unpack(level, &packed, dim, &codec.spec().units(&[bits])[0], codec.row_bytes(), &mut unpacked);
    let codes = Codes::new(codec.spec().clone(), vec![bits], packed, scales).unwrap();
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
    for &end in stage_ends(bits).iter().filter(|end| **end < bits) {
        let short = codec.truncate(&codes, end).unwrap();
        truncated.bytes(short.packed()).floats(short.scales()).floats(&decode(&short)).floats(&score(&short));
    }
    vec![
        Fold::default().bytes(&unpacked).digits(),
        Fold::default().bytes(codes.packed()).digits(),
        Fold::default().floats(codes.scales()).digits(),
        Fold::default().floats(&decode(&codes)).digits(),
        Fold::default().floats(&score(&codes)).digits(),
        truncated.digits(),
        Fold::default().bytes(&codes.to_bytes()).digits(),
    ]
}

fn found(level: Level, inputs: &Inputs, keys: &[&str]) -> String {
    let options = Options { seed: inputs.seed, ..Options::default() };
    let codec = TurboQuant::new(inputs.dim, keys[0].parse().unwrap(), options).unwrap();
    found_by(level, inputs, Arc::new(codec), keys[1])
}

fn found_by(level: Level, inputs: &Inputs, codec: Arc<TurboQuant>, metric: &str) -> String {
    let mut index = Index::new(codec, Metric::named(metric).unwrap());
    let exec = Exec { level: Some(level), serial: true };
    let n = ROWS - 1;
    // Shuffled, so that equal scores must be put in order.
    let ids: Vec<i64> = (0..n as i64).map(|i| (5 * i + 2) % n as i64).collect();
    index.add_with(inputs.first(n), crate::RowIds::New(&ids), exec).unwrap();
    let queries = &inputs.queries[..(QUERIES - 1) * inputs.dim];
    let found = index.search_with(queries, SearchOptions { exec, ..SearchOptions::new(K) }).unwrap();
    Fold::default().floats(&found.scores).integers(&found.ids).digits()
}

/// The bytes that a hash is made of.
#[derive(Default)]
struct Fold(Vec<u8>);

impl Fold {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn floats(&mut self, values: &[f32]) -> &mut Self {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self
    }

    fn integers(&mut self, values: &[i64]) -> &mut Self {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self
    }

    /// Eight hex digits that depend on every bit, its place, and the length.
    fn digits(&self) -> String {
        format!("{:08x}", digest(&self.0) >> 32)
    }
}
