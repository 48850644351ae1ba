//! Outlier splits: refusals with their words, bytes and their damage, and results that no level, thread or batch changes.

mod common;

use proptest::prelude::*;
use turboquant_rs::{CodecSpec, Codes, EncodeOptions, Error, Exec, Options, RotationKind, Segment, TurboQuant};

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, words: &str) {
    assert_eq!(result.unwrap_err().to_string(), words);
}

fn codec() -> TurboQuant {
    TurboQuant::split(40, [3, 2], &[7, 1, 30, 39], Options { seed: 9, ..Options::default() }).unwrap()
}

#[test]
fn impossible_splits_are_refused() {
    let make = |dim, bits, channels: &[usize]| TurboQuant::split(dim, bits, channels, Options::default());
    refused(make(8, [3, 2], &[]), "outliers must be some of the 8 channels, neither none nor all, got 0");
    refused(make(3, [3, 2], &[0, 1, 2]), "outliers must be some of the 3 channels, neither none nor all, got 3");
    refused(make(8, [3, 2], &[1, 8]), "outliers must be channels from 0 to 7, got 8");
    refused(make(8, [3, 2], &[1, 3, 1]), "outliers must be distinct channels, got 1 twice");
    refused(make(8, [2, 3], &[1]), "bits must be not smaller for the outliers than for the others, got 2 and 3");
    refused(make(8, [9, 3], &[1]), "bits must be between 1 and 8, got 9");
    refused(make(8, [3, 0], &[1]), "bits must be between 1 and 8, got 0");
    refused(make(0, [3, 2], &[]), "dim must be between 1 and 65536, got 0");
    refused(make(65_537, [3, 2], &[0]), "dim must be between 1 and 65536, got 65537");
    let dense = Options { rotation: RotationKind::Dense, ..Options::default() };
    let large = TurboQuant::split(5_000, [3, 2], &[0], dense);
    refused(large, r#"dim must be between 1 and 4096 with rotation "dense", got 4999"#);
    let good = codec().spec().clone();
    let mut segments = good.segments.clone();
    segments[0].dim += 1;
    segments[1] = Segment { start: 5, dim: 35, bits: 2 };
    refused(
        TurboQuant::from_spec(CodecSpec { segments, ..good.clone() }),
        "segments must be two, of the outliers and of the others, got 2",
    );
    let bare = TurboQuant::from_spec(CodecSpec { outliers: None, ..good });
    refused(bare, "segments must be one, unless fitted or split, got 2");
}

#[test]
fn codes_say_what_they_are_and_are_cut_by_segments() {
    let codec = codec();
    assert_eq!(codec.spec().outliers.as_ref().unwrap().channels(), [1, 7, 30, 39]);
    let x = common::Numbers(4).floats(5 * 40);
    let codes = codec.encode(&x).unwrap();
    // Units of 4 and 36 channels in whole bytes: 1 and 1 for 3 bits, 5 and 5 for 2.
    assert_eq!((codes.row_bytes(), codes.scales().len(), codes.len()), (12, 10, 5));
    let exec = Exec::default();
    let short = codec.truncate_each(&codes, &[1, 2], exec).unwrap();
    assert_eq!((short.keep(), short.row_bytes()), (&[1, 2][..], 11));
    assert_eq!(codec.truncate(&codes, 1).unwrap(), codec.truncate_each(&short, &[1, 1], exec).unwrap());
    refused(codec.truncate(&codes, 2), "bits must be one of [1, 3] (where a stage ends), got 2");
    refused(codec.truncate_each(&codes, &[1], exec), "bits must be 2 numbers, one a segment, got 1");
    assert_eq!(Codes::from_bytes(&short.to_bytes()).unwrap(), short);
}

#[test]
fn every_flipped_bit_and_other_length_is_reported() {
    let mut bytes = codec().encode(&[0.5; 80]).unwrap().to_bytes();
    for at in 0..bytes.len() {
        assert!(Codes::from_bytes(&bytes[..at]).is_err(), "{at} bytes");
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            assert!(Codes::from_bytes(&bytes).is_err(), "byte {at}, bit {bit}");
            bytes[at] ^= 1 << bit;
        }
    }
    bytes.push(0);
    assert!(Codes::from_bytes(&bytes).is_err(), "one byte too many");
}

proptest! {
    #![proptest_config(common::cases(100))]

    #[test]
    fn neither_level_nor_threads_change_a_byte(
        seed in any::<u64>(),
        dim in 2_usize..200,
        bits in (1_u32..=8, 1_u32..=8),
        mask in prop::collection::vec(any::<bool>(), 200),
        rows in 0_usize..100,
    ) {
        let channels: Vec<usize> = (0..dim).filter(|&i| mask[i]).collect();
        prop_assume!(!channels.is_empty() && channels.len() < dim);
        let bits = [bits.0.max(bits.1), bits.0.min(bits.1)];
        let codec = TurboQuant::split(dim, bits, &channels, Options { seed, ..Options::default() }).unwrap();
        let x = common::Numbers(seed).floats(rows * dim);
        let codes = codec.encode(&x).unwrap();
        let (decoded, scores) = (codec.decode(&codes).unwrap(), codec.score(&x[..rows.min(3) * dim], &codes).unwrap());
        for level in common::levels() {
            let exec = Exec { level: Some(level), serial: true };
            let (mut packed, mut scales) = (vec![0; codes.packed().len()], vec![0.0; 2 * rows]);
            codec.encode_into(&x, &mut packed, &mut scales, EncodeOptions::default(), exec).unwrap();
            prop_assert_eq!(&packed, codes.packed());
            prop_assert_eq!(common::bits_of(&scales), common::bits_of(codes.scales()));
            let mut out = vec![0.0; x.len()];
            codec.decode_into(&codes, &mut out, exec).unwrap();
            prop_assert_eq!(common::bits_of(&out), common::bits_of(&decoded));
            let mut out = vec![0.0; scores.len()];
            codec.score_into(&x[..rows.min(3) * dim], &codes, &mut out, exec).unwrap();
            prop_assert_eq!(common::bits_of(&out), common::bits_of(&scores));
        }
    }
}
