//! The public surface as a stranger uses it: every method, and every refusal with its words, after which nothing has
//! changed.

mod common;

use std::sync::Arc;

use common::{Numbers, bits_of};
use turboquant_rs::{
    CodecSpec, Codes, CodesView, EncodeOptions, Error, Exec, FORMAT_VERSION, Header, Index, Level, MAX_DIM, Metric,
    Neighbors, Options, RotationKind, Scale, SearchOptions, Segment, TurboQuant,
};

const fn is_shareable<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe + 'static>() {}
const fn is_cloneable<T: Clone + std::fmt::Debug>() {}

const _: () = {
    is_shareable::<TurboQuant>();
    is_shareable::<Index>();
    is_shareable::<Codes>();
    is_shareable::<CodesView<'static>>();
    is_shareable::<Header>();
    is_shareable::<CodecSpec>();
    is_shareable::<Neighbors>();
    is_shareable::<Error>();
    is_shareable::<Exec>();
    is_shareable::<Level>();
    is_shareable::<Metric>();
    is_shareable::<Options>();
    is_cloneable::<TurboQuant>();
    is_cloneable::<Index>();
    is_cloneable::<Codes>();
    is_cloneable::<CodesView<'static>>();
    is_cloneable::<Header>();
    is_cloneable::<Error>();
};

fn codec(dim: usize, bits: u32) -> TurboQuant {
    TurboQuant::new(dim, bits, Options::default()).unwrap()
}

/// Asserts that `result` is an error with these words.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, words: &str) {
    assert_eq!(result.unwrap_err().to_string(), words);
}

#[track_caller]
fn is_other_codec<T: std::fmt::Debug>(result: Result<T, Error>, expected: u64, got: u64) {
    assert_eq!(result.unwrap_err(), Error::OtherCodec { expected, got });
}

// --- making codecs -----------------------------------------------------------------------------------------------

#[test]
fn a_codec_says_what_it_is() {
    let options = Options { seed: 7, scale: Scale::Mse, refine: 16, ..Options::default() };
    let codec = TurboQuant::new(100, 3, options).unwrap();
    assert_eq!((codec.dim(), codec.row_bytes()), (100, 13 + 25));
    let spec = codec.spec();
    assert_eq!(spec.segments, [Segment { start: 0, dim: 100, bits: 3 }]);
    assert_eq!((spec.dim(), spec.norms(), spec.full(), spec.row_bytes(&[1])), (100, 1, vec![3], 13));
    assert_eq!((spec.seed, spec.scale, spec.refine), (7, Scale::Mse, 16));
    assert_eq!(spec.fingerprint(), codec.fingerprint());
    let same = CodecSpec::plain(100, 3, 7, RotationKind::Hadamard, Scale::Mse, 16).unwrap();
    assert_eq!(spec, &same);
    assert_eq!(TurboQuant::from_spec(same).unwrap().fingerprint(), codec.fingerprint());
    // Three rounds of two blocks of 64 signs, two permutations of 100, and 16 tables of 8 levels.
    assert!((4 * (6 * 64 + 2 * 100)..20_000).contains(&codec.nbytes()), "{} bytes", codec.nbytes());
}

#[test]
fn impossible_codecs_are_refused() {
    let make = |dim, bits, refine| TurboQuant::new(dim, bits, Options { refine, ..Options::default() });
    refused(make(0, 4, 0), "dim must be between 1 and 65536, got 0");
    refused(make(MAX_DIM + 1, 4, 0), "dim must be between 1 and 65536, got 65537");
    refused(make(64, 0, 0), "bits must be between 1 and 8, got 0");
    refused(make(64, 9, 0), "bits must be between 1 and 8, got 9");
    refused(make(64, 4, 5), "refine must be 0 (off), 8, 16 or 32, got 5");
    refused(make(64, 4, 1), "refine must be 0 (off), 8, 16 or 32, got 1");
    assert!(make(1, 1, 0).is_ok() && make(MAX_DIM, 8, 32).is_ok());
    let dense = |dim| TurboQuant::new(dim, 4, Options { rotation: RotationKind::Dense, ..Options::default() });
    refused(dense(4_097), r#"dim must be between 1 and 4096 with rotation "dense", got 4097"#);
    // Its matrix is made when rows come.
    assert!(dense(4_096).unwrap().nbytes() > 4 * 4_096 * 4_096);
}

#[test]
fn names_go_both_ways() {
    for scale in common::SCALES {
        assert_eq!(Scale::named(scale.name()).unwrap(), scale);
    }
    for metric in [Metric::InnerProduct, Metric::Cosine, Metric::L2] {
        assert_eq!(Metric::named(metric.name()).unwrap(), metric);
    }
    for rotation in [RotationKind::Hadamard, RotationKind::Dense] {
        assert_eq!(RotationKind::named(rotation.name()).unwrap(), rotation);
    }
    refused(Scale::named("MSE"), r#"scale must be "unbiased", "mse", "matched" or "paper", got "MSE""#);
    refused(Metric::named("dot"), r#"metric must be "ip", "cosine" or "l2", got "dot""#);
    refused(RotationKind::named("haar"), r#"rotation must be "hadamard" or "dense", got "haar""#);
    assert_eq!(Metric::L2.worst(), f32::INFINITY);
    assert_eq!((Metric::InnerProduct.worst(), Metric::Cosine.worst()), (f32::NEG_INFINITY, f32::NEG_INFINITY));
}

#[test]
fn fingerprints_tell_codecs_apart_and_leave_refine_out() {
    let of = |dim, bits, options| TurboQuant::new(dim, bits, options).unwrap().fingerprint();
    let plain = of(64, 4, Options::default());
    assert_eq!(of(64, 4, Options { refine: 32, ..Options::default() }), plain);
    for other in [
        of(65, 4, Options::default()),
        of(64, 3, Options::default()),
        of(64, 4, Options { seed: 1, ..Options::default() }),
        of(64, 4, Options { scale: Scale::Mse, ..Options::default() }),
        of(64, 4, Options { rotation: RotationKind::Dense, ..Options::default() }),
    ] {
        assert_ne!(other, plain);
    }
}

// --- encoding ----------------------------------------------------------------------------------------------------

#[test]
fn rows_that_are_not_rows_are_refused() {
    let codec = codec(16, 4);
    let codes = codec.encode(&[1.0; 32]).unwrap();
    refused(codec.encode(&[1.0; 33]), "x must be whole rows of 16 values (the codec's dim), got 33 values");
    let words = "queries must be whole rows of 16 values (the codec's dim), got 15 values";
    refused(codec.score(&[1.0; 15], &codes), words);
    let index = Index::new(Arc::new(codec), Metric::L2);
    refused(index.search(&[1.0; 15], 1), words);
}

#[test]
fn buffers_of_another_length_are_refused() {
    let codec = codec(16, 4);
    let x = [1.0; 32];
    let into = |packed: usize, scales: usize, squares: Option<usize>| {
        let mut squares = squares.map(|n| vec![0.0; n]);
        let options = EncodeOptions { unit_norm: false, squares: squares.as_deref_mut(), badly: None };
        codec.encode_into(&x, &mut vec![0; packed], &mut vec![0.0; scales], options, Exec::default())
    };
    refused(into(15, 2, None), "packed must be 16 long for 2 rows, got 15");
    refused(into(16, 3, None), "scales must be 2 long for 2 rows, got 3");
    refused(into(16, 2, Some(1)), "squares must be 2 long for 2 rows, got 1");
    assert_eq!(into(16, 2, Some(2)), Ok(()));
    let codes = codec.encode(&x).unwrap();
    let exec = Exec::default();
    refused(codec.decode_into(&codes, &mut [0.0; 31], exec), "out must be 32 long for 2 rows, got 31");
    let scored = codec.score_into(&[1.0; 48], &codes, &mut [0.0; 5], exec);
    refused(scored, "out must be 6 long (3 queries, 2 rows), got 5");
}

#[test]
fn values_that_are_not_finite_are_refused_with_row_and_column() {
    let codec = codec(8, 2);
    let codes = codec.encode(&[1.0; 8]).unwrap();
    for (value, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let mut x = vec![1.0; 8 * 700];
        x[8 * 600 + 5] = value;
        x[8 * 600 + 6] = f32::NAN;
        x[8 * 699] = f32::NAN;
        refused(codec.encode(&x), &format!("x must be finite, got {name} at row 600, column 5"));
        let words = format!("queries must be finite, got {name} at row 600, column 5");
        refused(codec.score(&x, &codes), &words);
        let mut index = Index::new(Arc::new(codec.clone()), Metric::L2);
        refused(index.search(&x, 1), &words);
        index.add(&[1.0; 8], None).unwrap();
        refused(index.search(&x, 1), &words);
        assert!(codec.score(&x, &codec.encode(&[]).unwrap()).is_err(), "without rows, too");
    }
}

#[test]
fn norms_have_limits() {
    let codec = codec(4, 4);
    let codes = codec.encode(&[1.0; 4]).unwrap();
    let row = |norm: f32| vec![norm / 2.0; 4];
    let two = |norm: f32| [row(1.0), row(norm)].concat();
    let power = |p: i32| 2.0_f32.powi(p);

    refused(codec.encode(&[1.0, 1.0, 1.0, 1.0, f32::MAX, f32::MAX, 0.0, 0.0]), {
        "x must have norms within float32, got a larger one at row 1"
    });
    assert!(codec.encode(&row(power(127))).is_ok());

    let words = "queries must have norms below 2^96, got a larger one at row 1";
    refused(codec.score(&two(power(96)), &codes), words);
    assert!(codec.score(&two(power(96).next_down()), &codes).is_ok());

    let mut index = Index::new(Arc::new(codec.clone()), Metric::L2);
    refused(index.add(&two(power(63)), None), {
        "x must have norms below 2^63 for squared L2 distances, got a larger one at row 1"
    });
    assert!(index.is_empty());
    assert_eq!(index.add(&two(power(63).next_down()), None).unwrap(), [0, 1]);
    let words = "queries must have norms below 2^63 for squared L2 distances, got a larger one at row 1";
    refused(index.search(&two(power(63)), 1), words);
    assert!(index.search(&two(power(63).next_down()), 1).unwrap().scores.iter().all(|score| score.is_finite()));

    let mut index = Index::new(Arc::new(codec.clone()), Metric::InnerProduct);
    index.add(&row(1.0), None).unwrap();
    refused(index.search(&two(power(96)), 1), "queries must have norms below 2^96, got a larger one at row 1");

    // Cosines need no norm: beyond float32 for rows as for queries.
    let mut index = Index::new(Arc::new(codec), Metric::Cosine);
    index.add(&[f32::MAX; 4], None).unwrap();
    let cosine = index.search(&[f32::MAX; 4], 1).unwrap().scores[0];
    assert!((cosine - 1.0).abs() < 0.05, "{cosine}");
}

#[test]
fn encode_into_fills_the_callers_buffers() {
    let codec = codec(24, 5);
    let x = Numbers(1).floats(24 * 3);
    let codes = codec.encode(&x).unwrap();
    let (mut packed, mut scales, mut squares) = (vec![9; codec.row_bytes() * 3], vec![9.0; 3], vec![9.0; 3]);
    let options = EncodeOptions { unit_norm: true, squares: Some(&mut squares), badly: None };
    codec.encode_into(&x, &mut packed, &mut scales, options, Exec::default()).unwrap();
    assert_eq!(packed, codes.packed(), "the norm does not enter the codes");
    for ((unit, whole), (square, row)) in scales.iter().zip(codes.scales()).zip(squares.iter().zip(x.chunks(24))) {
        let exact = row.iter().map(|v| v * v).sum::<f32>();
        assert!((square / exact - 1.0).abs() < 1e-5, "{square} is |x|^2");
        assert!((unit * square.sqrt() / whole - 1.0).abs() < 1e-5, "{unit} times the norm is {whole}");
    }
    let view = CodesView::new(&codec, &[5], &packed, codes.scales()).unwrap();
    assert_eq!((view.len(), view.is_empty()), (3, false));
    assert_eq!(codec.decode(view).unwrap(), codec.decode(&codes).unwrap());
    assert_eq!(codec.decode(codes.view()).unwrap().len(), 24 * 3);
}

#[test]
fn an_empty_batch_is_a_batch() {
    let codec = codec(9, 3);
    let codes = codec.encode(&[]).unwrap();
    assert!(codes.is_empty() && codes.view().is_empty() && codec.decode(&codes).unwrap().is_empty());
    assert!(codec.score(&[1.0; 9], &codes).unwrap().is_empty());
    assert!(codec.score(&[], &codec.encode(&[1.0; 9]).unwrap()).unwrap().is_empty());
    assert!(codec.truncate(&codes, 1).unwrap().is_empty());
}

// --- codes -------------------------------------------------------------------------------------------------------

#[test]
fn another_codecs_codes_are_refused_everywhere() {
    let codec = codec(16, 4);
    let mut index = Index::new(Arc::new(codec.clone()), Metric::InnerProduct);
    let make = |dim, bits, options| TurboQuant::new(dim, bits, options).unwrap();
    for other in [
        make(17, 4, Options::default()),
        make(16, 5, Options::default()),
        make(16, 4, Options { seed: 1, ..Options::default() }),
        make(16, 4, Options { scale: Scale::Paper, ..Options::default() }),
    ] {
        let codes = other.encode(&vec![1.0; other.dim()]).unwrap();
        let (expected, got) = (codec.fingerprint(), other.fingerprint());
        is_other_codec(codec.decode(&codes), expected, got);
        is_other_codec(codec.score(&[1.0; 16], &codes), expected, got);
        is_other_codec(codec.truncate(&codes, 1), expected, got);
        is_other_codec(index.add_codes(&codes, &[], None), expected, got);
        assert!(index.is_empty());
        let words =
            format!("codes must come from this codec (fingerprint {expected:016x}), got codes of another ({got:016x})");
        refused(codec.decode(&codes), &words);
    }
    let refined = make(16, 4, Options { refine: 8, ..Options::default() }).encode(&[1.0; 16]).unwrap();
    assert!(codec.decode(&refined).is_ok(), "refine chooses codes, it does not change what they mean");
}

#[test]
fn codes_of_contradictory_parts_are_refused() {
    let codec = codec(16, 4);
    let codes = codec.encode(&[1.0; 32]).unwrap();
    let spec = || codec.spec().clone();
    let (packed, scales) = (codes.packed().to_vec(), codes.scales().to_vec());
    let keep = |keep: Vec<u32>| Codes::new(spec(), keep, packed.clone(), scales.clone());
    refused(keep(vec![3]), "keep must be the end of a stage for every segment, got [3]");
    refused(keep(vec![]), "keep must be the end of a stage for every segment, got []");
    refused(keep(vec![4, 4]), "keep must be the end of a stage for every segment, got [4, 4]");
    refused(keep(vec![2]), "packed must be 4 bytes for each of the 2 rows of scales, got 16 bytes");
    let short = CodesView::new(&codec, &[4], &packed[1..], &scales);
    refused(short, "packed must be 8 bytes for each of the 2 rows of scales, got 15 bytes");
    let short = CodesView::new(&codec, &[4], &packed, &scales[1..]);
    refused(short, "packed must be 8 bytes for each of the 1 rows of scales, got 16 bytes");
    assert_eq!(keep(vec![4]).unwrap(), codes);
}

#[test]
fn codes_say_what_they_are_and_truncate_at_stages() {
    let codec = codec(20, 7);
    let codes = codec.encode(&Numbers(3).floats(20 * 4)).unwrap();
    assert_eq!((codes.len(), codes.row_bytes(), codes.keep()), (4, codec.row_bytes(), &[7][..]));
    assert_eq!(codes.nbytes(), codes.packed().len() + 4 * codes.scales().len());
    assert_eq!((codes.spec(), codes.fingerprint()), (codec.spec(), codec.fingerprint()));
    for bits in [1, 2, 4, 7] {
        let short = codec.truncate(&codes, bits).unwrap();
        assert_eq!((short.keep(), short.len(), short.row_bytes()), (&[bits][..], 4, codec.spec().row_bytes(&[bits])));
        assert_eq!(codec.truncate(&short, bits).unwrap().packed(), short.packed());
    }
    assert_eq!(bits_of(codec.truncate(&codes, 7).unwrap().scales()), bits_of(codes.scales()));
    for bits in [0, 3, 5, 6, 8] {
        let words = format!("bits must be one of [1, 2, 4, 7] (where a stage ends), got {bits}");
        refused(codec.truncate(&codes, bits), &words);
    }
    let two = codec.truncate(&codes, 2).unwrap();
    refused(codec.truncate(&two, 4), "bits must be one of [1, 2] (where a stage ends), got 4");
}

#[test]
fn damaged_bytes_say_where() {
    let codec = codec(16, 4);
    let codes = codec.encode(&[1.0; 16 * 9]).unwrap();
    let bytes = codes.to_bytes();
    let header = Header::parse(&bytes).unwrap();
    assert_eq!((header.rows, header.packed_at(), header.packed_len()), (9, 64, 72));
    assert_eq!((header.scales_at(), header.total_len()), (192, bytes.len()));
    assert_eq!((&header.spec, &header.keep[..]), (codec.spec(), codes.keep()));
    assert_eq!(header.to_bytes(), &bytes[..64]);
    assert_eq!(header.check_length(bytes.len()), Ok(()));

    let change = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        Codes::from_bytes(&bytes)
    };
    let start = "damaged code bytes:";
    refused(change(0), &format!("{start} no turboquant codes (the first bytes must be TQCODE) at byte 0"));
    refused(change(20), &format!("{start} header fails its checksum at byte 56"));
    refused(change(62), &format!("{start} header's padding is not zero at byte 62"));
    refused(change(64), &format!("{start} packed codes fail their checksum, section starts at byte 64"));
    refused(change(137), &format!("{start} padding is not zero at byte 137"));
    refused(change(200), &format!("{start} scales fail their checksum, section starts at byte 192"));
    refused(Codes::from_bytes(&bytes[..30]), &format!("{start} header is cut short at byte 30"));
    refused(Codes::from_bytes(&bytes[..227]), &format!("{start} 228 bytes expected, cut short at byte 227"));
    let longer = [&bytes[..], &[0]].concat();
    refused(Codes::from_bytes(&longer), &format!("{start} 228 bytes expected, more follow at byte 228"));
    let mut newer = bytes.clone();
    newer[6] = 7;
    assert_eq!(
        Codes::from_bytes(&newer).unwrap_err(),
        Error::Version { of: "code bytes", found: 7, newest: FORMAT_VERSION }
    );
    let words = "code bytes have format version 7, this build reads version 1; update turboquant-rs";
    refused(Codes::from_bytes(&newer), words);
}

// --- the index ---------------------------------------------------------------------------------------------------

#[test]
fn an_empty_index_answers() {
    for metric in [Metric::InnerProduct, Metric::Cosine, Metric::L2] {
        let index = Index::new(Arc::new(codec(5, 4)), metric);
        assert_eq!((index.len(), index.is_empty(), index.ids().unwrap(), index.metric()), (0, true, vec![], metric));
        assert_eq!(index.nbytes(), index.codec().nbytes());
        let found = index.search(&[1.0; 10], 3).unwrap();
        assert_eq!((found.ids, found.scores), (vec![-1; 6], vec![metric.worst(); 6]));
        let found = index.search(&[], 3).unwrap();
        assert!(found.ids.is_empty() && found.scores.is_empty() && index.reconstruct(&[]).unwrap().is_empty());
    }
}

#[test]
fn ids_are_the_callers_or_the_next() {
    let mut index = Index::new(Arc::new(codec(4, 4)), Metric::InnerProduct);
    assert_eq!(index.add(&[1.0; 8], None).unwrap(), [0, 1]);
    assert!(index.add(&[], None).unwrap().is_empty());
    assert_eq!(index.add(&[1.0; 8], Some(&[9, 5])).unwrap(), [9, 5]);
    assert_eq!(index.add(&[1.0; 4], None).unwrap(), [10]);
    refused(index.add(&[1.0; 4], Some(&[9])), "ids must be new and distinct, got 9 a second time");
    refused(index.add(&[1.0; 8], Some(&[2, 2])), "ids must be new and distinct, got 2 a second time");
    refused(index.add(&[1.0; 4], Some(&[-1])), "ids must be at least 0 (−1 marks empty places), got -1");
    refused(index.add(&[1.0; 4], Some(&[])), "ids must be one a row (1), got 0");
    refused(index.add(&[1.0; 4], Some(&[2, 3])), "ids must be one a row (1), got 2");
    assert_eq!(index.add(&[1.0; 4], Some(&[i64::MAX])).unwrap(), [i64::MAX]);
    refused(index.add(&[1.0; 4], None), "ids must be given, since the largest id is in use, got none");
    assert_eq!(index.ids().unwrap(), [0, 1, 9, 5, 10, i64::MAX]);
    assert_eq!(index.reconstruct(&[5, i64::MAX]).unwrap().len(), 8);
    refused(index.reconstruct(&[5, 2]), "ids must be in the index, got 2");
    refused(index.reconstruct(&[-1]), "ids must be in the index, got -1");
    let found = index.search(&[1.0; 4], 100).unwrap();
    assert_eq!(found.ids[..7], [0, 1, 5, 9, 10, i64::MAX, -1], "equal rows by id, then nothing");
}

#[test]
fn k_must_be_possible() {
    let mut index = Index::new(Arc::new(codec(4, 4)), Metric::InnerProduct);
    index.add(&[1.0; 4], None).unwrap();
    refused(index.search(&[1.0; 4], 0), "k must be at least 1, got 0");
    for k in [1 << 45, usize::MAX] {
        let words = format!("k must be small enough for the result to fit memory, got {k}");
        refused(index.search(&[1.0; 8], k), &words);
    }
}

#[test]
fn search_into_fills_the_callers_buffers() {
    let mut index = Index::new(Arc::new(codec(6, 4)), Metric::L2);
    index.add(&Numbers(1).floats(6 * 5), None).unwrap();
    let queries = Numbers(2).floats(6 * 2);
    let into = |k, scores: &mut [f32], ids: &mut [i64]| index.search_into(&queries, SearchOptions::new(k), scores, ids);
    for k in [1, 3, 7] {
        let (mut scores, mut ids) = (vec![f32::NAN; 2 * k], vec![-7; 2 * k]);
        into(k, &mut scores, &mut ids).unwrap();
        assert_eq!(Neighbors { scores, ids }, index.search(&queries, k).unwrap());
    }
    refused(into(3, &mut [0.0; 5], &mut [0; 6]), "scores must be 3 places for each of 2 queries, got 5");
    refused(into(3, &mut [0.0; 6], &mut [0; 7]), "ids must be 3 places for each of 2 queries, got 7");
    refused(into(0, &mut [], &mut []), "k must be at least 1, got 0");
}

#[test]
fn descriptions_of_no_codec_are_refused() {
    let good = codec(100, 3).spec().clone();
    let with = |segments: &[(usize, usize, u32)], refine| {
        let segments = segments.iter().map(|&(start, dim, bits)| Segment { start, dim, bits }).collect();
        TurboQuant::from_spec(CodecSpec { segments, refine, ..good.clone() })
    };
    assert!(with(&[(0, 3, 4)], 8).is_ok());
    refused(with(&[(0, 3, 4), (3, 5, 2)], 8), "segments must be one, unless fitted or split, got 2");
    refused(with(&[], 0), "segments must be between 1 and 255, got 0");
    refused(with(&[(0, 0, 4)], 0), "dim must be between 1 and 65536, got 0");
    refused(with(&[(0, 4, 9)], 0), "bits must be between 1 and 8, got 9");
    refused(with(&[(0, 4, 2)], 3), "refine must be 0 (off), 8, 16 or 32, got 3");
    refused(with(&[(0, 4, 4), (5, 4, 2)], 0), "segments must be runs that follow one another (here from 4), got 5");
    refused(with(&[(0, MAX_DIM - 1, 4), (MAX_DIM - 1, 2, 2)], 0), "dim must be between 1 and 1, got 2");
}

#[test]
fn encoded_rows_are_added_as_their_vectors_are() {
    let codec = Arc::new(codec(12, 4));
    let (x, query) = (Numbers(8).floats(12 * 6), Numbers(9).floats(12));
    let codes = codec.encode(&x).unwrap();
    for metric in [Metric::InnerProduct, Metric::Cosine, Metric::L2] {
        let mut squares = [0.0; 6];
        let (mut packed, mut scales) = (vec![0; codes.packed().len()], vec![0.0; 6]);
        let wanted = (metric == Metric::L2).then_some(&mut squares[..]);
        let options = EncodeOptions { unit_norm: metric == Metric::Cosine, squares: wanted, badly: None };
        codec.encode_into(&x, &mut packed, &mut scales, options, Exec::default()).unwrap();
        let view = CodesView::new(&codec, &[4], &packed, &scales).unwrap();
        let (given, other) = if metric == Metric::L2 { (&squares[..], &[][..]) } else { (&[][..], &squares[..]) };

        let (mut whole, mut parts) = (Index::new(Arc::clone(&codec), metric), Index::new(Arc::clone(&codec), metric));
        whole.add(&x, None).unwrap();
        let words = format!("squares must be {} long, got {}", given.len(), other.len());
        refused(parts.add_codes(view, other, None), &words);
        let short = codec.truncate(view, 2).unwrap();
        refused(parts.add_codes(&short, given, None), "codes must be whole, not truncated, got [2] bits");
        refused(parts.add_codes(view, given, Some(&[1])), "ids must be one a row (6), got 1");
        assert!(parts.is_empty());
        assert_eq!(parts.add_codes(view, given, None).unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(parts.search(&query, 6).unwrap(), whole.search(&query, 6).unwrap());
        assert_eq!(parts.nbytes(), whole.nbytes());
        assert_eq!(parts.clone().reconstruct(&[4]).unwrap(), whole.reconstruct(&[4]).unwrap());
    }
}

#[test]
fn errors_are_errors() {
    let error: Box<dyn std::error::Error + Send + Sync> = codec(4, 4).encode(&[f32::NAN; 4]).unwrap_err().into();
    assert_eq!(error.to_string(), "x must be finite, got NaN at row 0, column 0");
    let error = codec(4, 4).encode(&[f32::NAN; 4]).unwrap_err().with_first_row(1_000);
    assert_eq!(error.to_string(), "x must be finite, got NaN at row 1000, column 0");
    assert_eq!(Error::UnknownId { id: 3 }.with_first_row(5), Error::UnknownId { id: 3 });
}

// --- known gaps --------------------------------------------------------------------------------------------------

#[test]
fn the_first_faulty_row_is_named_whatever_its_fault() {
    let codec = codec(16, 4);
    let mut x = vec![0.5; 16 * 20];
    x[3 * 16..4 * 16].fill(f32::MAX);
    x[10 * 16 + 2] = f32::NAN;
    assert_eq!(codec.encode(&x).unwrap_err(), Error::Norm { argument: "x", row: 3, limit: "within float32" });
}

#[test]
fn squares_that_are_none_are_refused() {
    let codec = codec(16, 4);
    let codes = codec.encode(&[1.0; 32]).unwrap();
    let mut index = Index::new(Arc::new(codec), Metric::L2);
    for square in [f32::NAN, f32::INFINITY, -1.0] {
        assert!(index.add_codes(&codes, &[1.0, square], None).is_err(), "{square}");
    }
}
