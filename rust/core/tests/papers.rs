//! QJL, TurboQuant_prod and PolarQuant by the crate's public face: the reference's hashes at every level, refusals, damage.
//!
//! `golden_papers.txt` is made by the NumPy reference; tests/golden/make_papers_golden.py says what a line holds.

mod common;

use common::{levels, quick, serial};
use turboquant_rs::papers::{PaperCodec, PaperCodes, PolarQuant, ProjectionKind, Qjl, Radius, TurboQuantProd};
use turboquant_rs::{Error, Exec, Level};

const GOLDEN: &str = include_str!("golden_papers.txt");
const ROWS: usize = 14;

fn splitmix64(key: u64, i: u64) -> u64 {
    let z = key.wrapping_add(i.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn words(purpose: u64, dim: usize, row: u64) -> Vec<u64> {
    let key = splitmix64(splitmix64(purpose, dim as u64), row);
    (0..dim as u64).map(|i| splitmix64(key, i)).collect()
}

fn plain(purpose: u64, dim: usize, row: u64, power: i32) -> Vec<f32> {
    let factor = 2.0_f32.powi(power);
    words(purpose, dim, row).iter().map(|word| ((word >> 40) as f32 / 4_194_304.0 - 2.0) * factor).collect()
}

/// The rows of tests/golden/make_golden.py.
fn rows(dim: usize) -> Vec<Vec<f32>> {
    let from = |row, value: &dyn Fn(u64) -> f32| -> Vec<f32> { words(1, dim, row).into_iter().map(value).collect() };
    let mut one_hot = vec![0.0; dim];
    one_hot[(words(1, dim, 7)[0] % dim as u64) as usize] = -1.5;
    let two = |i: usize| if i == 0 || i == dim / 2 { 1.0 } else { 0.0 };
    let wide = |word: u64| f32::from_bits((word >> 32) as u32 & 0x807F_FFFF | ((word % 50 + 100) as u32) << 23);
    vec![
        plain(1, dim, 0, 0),
        plain(1, dim, 0, 0),
        plain(1, dim, 2, 20),
        plain(1, dim, 3, -100),
        plain(1, dim, 4, -126),
        from(5, &|word| if word & 1 == 1 { -0.0 } else { 0.0 }),
        from(6, &|word| f32::from_bits(word as u32 & 0x807F_FFFF)),
        one_hot,
        (0..dim).map(two).collect(),
        vec![0.1; dim],
        from(10, &|word| [-1.0, -0.0, 0.0, 1.0][word as usize & 3]),
        from(11, &wide),
        from(12, &|word| ((word >> 61) as f32 - 3.5) / 4.0),
        plain(1, dim, 13, 116),
    ]
}

fn queries(dim: usize) -> Vec<f32> {
    let half = plain(1, dim, 0, 0).iter().map(|value| value * 0.5).collect();
    let mut one_hot = vec![0.0; dim];
    one_hot[dim - 1] = 3.0;
    [plain(2, dim, 0, 0), half, one_hot, vec![0.0; dim], plain(2, dim, 1, 86)].concat()
}

/// Eight hex digits that depend on every bit, its place, and the length.
fn fold(bytes: &[u8]) -> String {
    let word = |chunk: &[u8]| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    };
    let total = bytes.chunks(8).map(word).zip(0..).fold(0_u64, |sum, (word, i)| sum.wrapping_add(splitmix64(word, i)));
    format!("{:08x}", splitmix64(total, bytes.len() as u64) >> 32)
}

fn floats(values: &[f32]) -> String {
    fold(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
}

fn stages(codec: &impl PaperCodec, level: Level, x: &[f32]) -> Vec<String> {
    let (spec, exec) = (codec.spec(), serial(level));
    let n = x.len() / spec.dim();
    // Rubbish in the buffers, so that a byte that is not written shows.
    let (mut packed, mut scales) = (vec![0xA5; n * spec.row_bytes()], vec![f32::NAN; n * spec.norms()]);
    codec.encode_into(x, &mut packed, &mut scales, exec).unwrap();
    let queries = queries(spec.dim());
    let (mut decoded, mut scores) = (vec![f32::NAN; x.len()], vec![f32::NAN; 5 * n]);
    codec.decode_into(&packed, &scales, &mut decoded, exec).unwrap();
    codec.score_into(&queries, &packed, &scales, &mut scores, exec).unwrap();
    let codes = PaperCodes::new(spec.clone(), packed.clone(), scales.clone()).unwrap();
    vec![fold(&packed), floats(&scales), floats(&decoded), floats(&scores), fold(&codes.to_bytes())]
}

#[test]
fn every_stage_is_the_references() {
    const STAGES: [&str; 5] = ["packed", "scales", "decoded", "scores", "file"];
    for level in levels() {
        let mut moved = Vec::new();
        for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
            let line: Vec<&str> = line.split(' ').collect();
            let dim = line[1].parse().unwrap();
            if matches!(line[0], "normals" | "haar") || quick() && dim > 64 {
                continue;
            }
            let seed = splitmix64(7, dim as u64);
            let all = rows(dim);
            let projection = || ProjectionKind::named(line[3]).unwrap();
            let found = match line[0] {
                "qjl" => {
                    let codec = Qjl::new(dim, line[2].parse().unwrap(), projection(), seed).unwrap();
                    stages(&codec, level, &all.concat())
                }
                "prod" => {
                    let codec = TurboQuantProd::new(dim, line[2].parse().unwrap(), projection(), seed).unwrap();
                    stages(&codec, level, &all.concat())
                }
                "polar" => {
                    let bits: Vec<u32> = line[2].split(',').map(|bits| bits.parse().unwrap()).collect();
                    let radius = Radius::named(line[3]).unwrap();
                    let modest = [0, 1, 5, 6, 7, 8, 9, 10, 12];
                    let kept: Vec<usize> = if line[3] == "float16" { modest.to_vec() } else { (0..ROWS).collect() };
                    let x: Vec<f32> = kept.iter().flat_map(|&i| all[i].clone()).collect();
                    stages(&PolarQuant::new(dim, &bits, radius, seed).unwrap(), level, &x)
                }
                kind => panic!("unknown kind of line: {kind}"),
            };
            for (i, stage) in STAGES.iter().enumerate() {
                if found[i] != line[4 + i] {
                    moved.push(format!("{stage} of {}", line[..4].join(" ")));
                }
            }
        }
        assert!(moved.is_empty(), "level {}: MOVED FIRST: {}", level.name(), moved.join("; then "));
    }
}

#[test]
fn faulty_arguments_are_named() {
    let message = |error: Error| error.to_string();
    let gaussian = ProjectionKind::Gaussian;
    assert_eq!(message(Qjl::new(0, 8, gaussian, 0).unwrap_err()), "dim must be between 1 and 4096, got 0");
    assert_eq!(
        message(Qjl::new(8, 16_385, gaussian, 0).unwrap_err()),
        "sketch_dim must be between 1 and 16384, got 16385"
    );
    assert_eq!(message(TurboQuantProd::new(8, 9, gaussian, 0).unwrap_err()), "bits must be between 1 and 8, got 9");
    let polar = |dim, bits: &[u32]| message(PolarQuant::new(dim, bits, Radius::Float16, 0).unwrap_err());
    assert_eq!(polar(24, &[4, 2, 2, 2]), "dim must be a multiple of 16 (2^levels), got 24");
    assert_eq!(polar(24, &[]), "levels must be between 1 and 16, got 0");
    assert_eq!(polar(24, &[0]), "bits must be between 1 and 8, got 0");
    assert!(ProjectionKind::named("haar").unwrap_err().to_string().contains("\"haar\""));
    assert!(Radius::named("bfloat16").unwrap_err().to_string().contains("\"bfloat16\""));
}

#[test]
fn faulty_rows_are_named_the_first_of_them() {
    let codec = PolarQuant::new(16, &[4, 2, 2, 2], Radius::Float16, 0).unwrap();
    let mut x = vec![1.0; 16 * 300];
    x[16 * 200] = f32::NAN;
    let first = |x: &[f32]| codec.encode(x).unwrap_err().to_string();
    assert_eq!(first(&x), "x must be finite, got NaN at row 200, column 0");
    x[16 * 7 + 3] = 1e6;
    assert!(first(&x).starts_with("x must have norms that keep radii within float16"), "{}", first(&x));
    assert!(first(&x).ends_with("at row 7"), "{}", first(&x));
    let prod = TurboQuantProd::new(16, 3, ProjectionKind::Hadamard, 0).unwrap();
    assert_eq!(
        prod.encode(&[f32::MAX; 16]).unwrap_err().to_string(),
        "x must have norms within float32, got a larger one at row 0"
    );
    let codes = prod.encode(&[1.0; 32]).unwrap();
    assert!(prod.score(&[1e30; 16], &codes).unwrap_err().to_string().contains("below 2^96"));
    assert!(prod.score(&[1.0; 15], &codes).unwrap_err().to_string().contains("whole rows of 16 values"));
}

#[test]
fn codes_of_another_codec_are_refused() {
    let one = Qjl::new(16, 32, ProjectionKind::Gaussian, 0).unwrap();
    let codes = one.encode(&[1.0; 16]).unwrap();
    let others = [
        (16, 32, ProjectionKind::Orthogonal, 0),
        (16, 32, ProjectionKind::Gaussian, 1),
        (16, 31, ProjectionKind::Gaussian, 0),
    ];
    for (dim, size, kind, seed) in others {
        let other = Qjl::new(dim, size, kind, seed).unwrap();
        assert!(matches!(other.decode(&codes), Err(Error::OtherCodec { .. })));
        assert!(matches!(other.score(&[1.0; 16], &codes), Err(Error::OtherCodec { .. })));
    }
    assert!(one.decode(&codes).is_ok());
}

#[test]
fn every_flipped_bit_and_every_other_length_is_reported() {
    let x: Vec<f32> = rows(16)[..3].concat();
    let codes = [
        Qjl::new(16, 20, ProjectionKind::Gaussian, 1).unwrap().encode(&x).unwrap(),
        TurboQuantProd::new(16, 3, ProjectionKind::Hadamard, 2).unwrap().encode(&x).unwrap(),
        PolarQuant::new(16, &[3, 2], Radius::Float32, 3).unwrap().encode(&x).unwrap(),
    ];
    for codes in codes {
        let mut bytes = codes.to_bytes();
        assert_eq!(PaperCodes::from_bytes(&bytes).unwrap(), codes);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                assert!(PaperCodes::from_bytes(&bytes).is_err(), "byte {at}, bit {bit}");
                bytes[at] ^= 1 << bit;
            }
            assert!(PaperCodes::from_bytes(&bytes[..at]).is_err(), "{at} bytes");
        }
        bytes.push(0);
        assert!(PaperCodes::from_bytes(&bytes).is_err(), "one byte too many");
    }
}

#[test]
fn threads_and_splits_change_nothing() {
    let dim = 24;
    let x: Vec<f32> = (0..1_200).flat_map(|i| plain(3, dim, i, 0)).collect();
    let queries: Vec<f32> = (0..300).flat_map(|i| plain(4, dim, i, 0)).collect();
    let codec = TurboQuantProd::new(dim, 3, ProjectionKind::Orthogonal, 5).unwrap();
    let codes = codec.encode(&x).unwrap();
    let scores = codec.score(&queries, &codes).unwrap();
    let exec = Exec { serial: true, ..Exec::default() };
    let (mut packed, mut scales) = (vec![0; codes.packed().len()], vec![0.0; codes.scales().len()]);
    codec.encode_into(&x, &mut packed, &mut scales, exec).unwrap();
    assert_eq!((&packed[..], &scales[..]), (codes.packed(), codes.scales()));
    let mut again = vec![0.0; scores.len()];
    codec.score_into(&queries, &packed, &scales, &mut again, exec).unwrap();
    assert_eq!(again, scores);
    let last = codec.encode(&x[1_199 * dim..]).unwrap();
    assert_eq!(last.packed(), &packed[1_199 * codec.spec().row_bytes()..]);
}

#[test]
fn radii_that_no_encoder_writes_are_refused() {
    let bad = [
        (f32::INFINITY, 0x7C00_u16, "inf"),
        (f32::NAN, 0x7E00, "NaN"),
        (f32::NEG_INFINITY, 0xFC00, "-inf"),
        (-1.0, 0xBC00, "-1"),
        (-0.0, 0x8000, "-0"),
    ];
    for radius in [Radius::Float16, Radius::Float32] {
        let codec = PolarQuant::new(32, &[4, 2, 2, 2], radius, 0).unwrap();
        let (spec, x) = (codec.spec(), vec![1.0; 32 * 70]);
        let good = codec.encode(&x).unwrap();
        for (value, half, name) in bad {
            let (mut packed, at) = (good.packed().to_vec(), 66 * spec.row_bytes());
            match radius {
                Radius::Float16 => packed[at + 2..at + 4].copy_from_slice(&half.to_le_bytes()),
                Radius::Float32 => packed[at + 4..at + 8].copy_from_slice(&value.to_le_bytes()),
            }
            let text = format!("packed must be rows with finite radii that are not negative, got {name} at row 66");
            let made = PaperCodes::new(spec.clone(), packed.clone(), Vec::new());
            assert_eq!(made.unwrap_err().to_string(), text);
            let exec = Exec::default();
            let mut out = vec![7.0; x.len()];
            assert_eq!(codec.decode_into(&packed, &[], &mut out, exec).unwrap_err().to_string(), text);
            let scored = codec.score_into(&x[..32], &packed, &[], &mut out[..70], exec);
            assert_eq!(scored.unwrap_err().to_string(), text);
            assert!(out.iter().all(|&value| value == 7.0), "nothing is written");

            let mut file = good.to_bytes();
            file[128..128 + packed.len()].copy_from_slice(&packed);
            // The checksums are made right again: of the packed rows, then of the header.
            file[60..64].copy_from_slice(&crc32fast::hash(&packed).to_le_bytes());
            let header_crc = crc32fast::hash(&file[..68]);
            file[68..72].copy_from_slice(&header_crc.to_le_bytes());
            let expected = format!("damaged code bytes: no codes: {text}, section starts at byte 128");
            assert_eq!(PaperCodes::from_bytes(&file).unwrap_err().to_string(), expected);
        }
    }
}
