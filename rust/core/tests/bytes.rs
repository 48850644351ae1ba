//! Code bytes: what is written is read back, and damage of any kind is an error, never a panic and never other codes.
//!
//! A CRC-32 finds every damage within 32 consecutive bits; any other slips through with a chance of 2^−32, and the
//! cases are the same on every run.

mod common;

use common::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index as Place;
use turboquant_rs::{CodecSpec, Codes, CodesView, Header, Options, RotationKind, Scale, Segment, TurboQuant};

#[derive(Debug, Clone)]
enum Damage {
    Flip(Vec<(Place, u8)>),
    Cut(Place),
    Append(Vec<u8>),
    Insert(Place, Vec<u8>),
    Remove(Place, usize),
    Overwrite(Place, Vec<u8>),
    Swap(Place, Place, usize),
    Replace(Vec<u8>),
}

impl Damage {
    fn any() -> impl Strategy<Value = Damage> {
        let bytes = || vec(any::<u8>(), 1..80);
        let place = any::<Place>;
        prop_oneof![
            4 => vec((place(), 0_u8..8), 1..9).prop_map(Damage::Flip),
            2 => place().prop_map(Damage::Cut),
            1 => bytes().prop_map(Damage::Append),
            2 => (place(), bytes()).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
            2 => (place(), 1_usize..80).prop_map(|(at, count)| Damage::Remove(at, count)),
            2 => (place(), bytes()).prop_map(|(at, bytes)| Damage::Overwrite(at, bytes)),
            2 => (place(), place(), 1_usize..80).prop_map(|(a, b, count)| Damage::Swap(a, b, count)),
            1 => vec(any::<u8>(), 0..300).prop_map(Damage::Replace),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        let len = bytes.len();
        match self {
            Damage::Flip(flips) => flips.iter().for_each(|(at, bit)| bytes[at.index(len)] ^= 1 << bit),
            Damage::Cut(at) => bytes.truncate(at.index(len)),
            Damage::Append(more) => bytes.extend(more),
            Damage::Insert(at, more) => drop(bytes.splice(at.index(len)..at.index(len), more.iter().copied())),
            Damage::Remove(at, count) => drop(bytes.drain(at.index(len)..len.min(at.index(len) + count))),
            Damage::Overwrite(at, with) => {
                bytes[at.index(len)..].iter_mut().zip(with).for_each(|(byte, new)| *byte = *new);
            }
            Damage::Swap(a, b, count) => {
                let (a, b) = (a.index(len), b.index(len));
                (0..*count).filter(|i| a.max(b) + i < len).for_each(|i| bytes.swap(a + i, b + i));
            }
            Damage::Replace(with) => bytes.clone_from(with),
        }
    }
}

fn codes_of(case: &Case, kept: Place) -> Codes {
    let codec = case.codec();
    let codes = codec.encode(&case.rows()).unwrap();
    let ends: Vec<_> = (1..=case.bits).filter_map(|bits| codec.truncate(&codes, bits).ok()).collect();
    ends[kept.index(ends.len())].clone()
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn what_is_written_is_read(case in any_case(), kept in any::<Place>()) {
        let codes = codes_of(&case, kept);
        let bytes = codes.to_bytes();
        let back = Codes::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&back, &codes);
        prop_assert_eq!(back.to_bytes(), bytes);
        let codec = TurboQuant::from_spec(back.spec().clone()).unwrap();
        let decoded = bits_of(&codec.decode(&back).unwrap());
        prop_assert_eq!(decoded, bits_of(&case.codec().decode(&codes).unwrap()));
    }

    #[test]
    fn damage_is_an_error(
        case in cases_of((1_usize..=200).boxed(), 12),
        kept in any::<Place>(),
        damage in Damage::any(),
    ) {
        let codes = codes_of(&case, kept);
        let bytes = codes.to_bytes();
        let mut damaged = bytes.clone();
        damage.apply(&mut damaged);
        prop_assume!(damaged != bytes);
        prop_assert!(Codes::from_bytes(&damaged).is_err(), "{damage:?} is not noticed");
        // A header alone has no more to go by than its own bytes.
        let header = Header::parse(&bytes).unwrap();
        if damaged.get(..header.packed_at()) != bytes.get(..header.packed_at()) {
            prop_assert!(Header::parse(&damaged).is_err(), "{damage:?} of the header is not noticed");
        }
    }

    /// Checksums hold here, since the writer is at fault: the fields themselves are checked.
    #[test]
    fn a_faulty_writers_header_is_an_error_or_means_what_it_says(
        segments in vec((prop_oneof![0_usize..200, Just(65_536), Just(65_537)], 0_u32..12), 0..4),
        keep in vec(0_u32..12, 0..4),
        numbers in (any::<u64>(), 0_usize..4, prop_oneof![0_u8..40, any::<u8>()]),
        rows in prop_oneof![0_usize..5, any::<usize>()],
        tail in 0_usize..5_000,
    ) {
        let (seed, scale, refine) = numbers;
        let mut start = 0;
        let segments: Vec<_> = segments.into_iter().map(|(dim, bits)| {
            start += dim;
            Segment { start: start - dim, dim, bits }
        }).collect();
        prop_assume!(keep.len() >= segments.len());
        let spec = CodecSpec { segments, seed, rotation: RotationKind::Hadamard, scale: SCALES[scale], refine, fitted: None, outliers: None };
        let header = Header { spec, keep, rows, packed_crc: 0, scales_crc: 0 };
        let mut bytes = header.to_bytes();
        let parsed = Header::parse(&bytes);
        let valid = |s: &Segment| (1..=65_536).contains(&s.dim) && (1..=8).contains(&s.bits);
        if let Ok(parsed) = &parsed {
            prop_assert!(parsed.spec.segments.iter().all(valid) && !parsed.spec.segments.is_empty());
            prop_assert_eq!(&parsed.spec, &header.spec);
            prop_assert_eq!(parsed.rows, rows);
            prop_assert!(parsed.total_len() >= parsed.scales_at() && parsed.scales_at() >= parsed.packed_at());
        }
        bytes.resize(bytes.len() + tail, 0);
        if let Ok(codes) = Codes::from_bytes(&bytes) {
            prop_assert_eq!(codes.len(), rows);
            prop_assert_eq!(codes.to_bytes().len(), bytes.len());
        }
    }
}

#[test]
fn no_rows_are_written_and_read() {
    for bits in 1..=8 {
        let codec = TurboQuant::new(33, bits, Default::default()).unwrap();
        let codes = codec.encode(&[]).unwrap();
        assert_eq!(Codes::from_bytes(&codes.to_bytes()).unwrap(), codes);
        assert_eq!((codes.len(), codes.is_empty(), codes.nbytes()), (0, true, 0));
        assert!(codec.decode(&codes).unwrap().is_empty());
    }
    assert_eq!(Scale::default(), Scale::Unbiased);
}

#[test]
fn scales_that_are_not_finite_are_an_error() {
    let codec = TurboQuant::new(16, 4, Options::default()).unwrap();
    let codes = codec.encode(&[1.0; 32]).unwrap();
    let good = codes.to_bytes();
    for (scale, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let (scales, text) = ([1.0, scale], format!("scales must be finite, got {name} at row 1"));
        let view = CodesView::new(&codec, &[4], codes.packed(), &scales);
        assert_eq!(view.unwrap_err().to_string(), text);
        let owned = Codes::new(codec.spec().clone(), vec![4], codes.packed().to_vec(), scales.to_vec());
        assert_eq!(owned.unwrap_err().to_string(), text);

        let mut file = good.clone();
        let at = file.len() - 4;
        file[at..].copy_from_slice(&scale.to_le_bytes());
        // The checksums are made right again: of the scales, then of the header.
        let scales_crc = crc32fast::hash(&file[at - 4..]);
        file[52..56].copy_from_slice(&scales_crc.to_le_bytes());
        let header_crc = crc32fast::hash(&file[..56]);
        file[56..60].copy_from_slice(&header_crc.to_le_bytes());
        let expected = format!("damaged code bytes: scales hold {name} at byte {at}");
        assert_eq!(Codes::from_bytes(&file).unwrap_err().to_string(), expected);
    }
}
