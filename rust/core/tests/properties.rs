//! Properties of the codec on any input: every level, split and thread count gives the same bits; errors are bounded.

mod common;

use common::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index as Place;
use turboquant_rs::{Codes, CodesView, Error, Level, Options, Scale, TurboQuant};

/// Largest relative difference that rounding leaves between a decoded row and what its scale promises: each of three
/// rounds, there and back, rounds log2(dim) + 1 ≤ 17 times, 2^−24 each; sums of 65,536 terms add less than 1,100
/// roundings; and a one-bit code's cosine (≥ 0.4 here) magnifies by 1/0.16.
const ROUNDING: f64 = (6.0 * 17.0 + 1_100.0) / 0.16 / 16_777_216.0;

/// The scale of a row with a smaller squared norm may be below the smallest normal number, and then is 0.
const MAY_VANISH: f64 = 1.0 / (1_u128 << 110) as f64 / (1_u128 << 110) as f64;

/// Equation 4's distortion of 1 to 8 bits for the Gaussian law.
const DISTORTION: [f64; 8] =
    [0.363_380, 0.117_482, 0.034_548, 0.009_501, 0.002_505, 0.000_644_2, 0.000_163_5, 0.000_041_19];

/// What a sample of 2^15 coordinates may exceed it by: the squared error of a coordinate has a standard deviation of at
/// most 4 times its mean (8 bits: overload), so that 0.2 is nine standard errors.
const SAMPLING: f64 = 0.2;

fn codes_of(codec: &TurboQuant, case: &Case) -> Codes {
    let Encoded { packed, scales, .. } = encode(codec, &case.rows(), (false, false), serial(Level::Scalar)).unwrap();
    let scales = scales.into_iter().map(f32::from_bits).collect();
    Codes::new(codec.spec().clone(), codec.spec().full(), packed, scales).unwrap()
}

/// The rates below `bits` that codes can be truncated to.
fn shorter(bits: u32) -> Vec<u32> {
    let ends: &[u32] = if bits == 3 { &[1] } else { &[1, 2, 4] };
    ends.iter().copied().filter(|&end| end < bits).collect()
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn every_level_gives_the_scalar_bits(case in any_case()) {
        let (codec, x, queries) = (case.codec(), case.rows(), case.queries());
        let codes = codes_of(&codec, &case);
        let scalar = serial(Level::Scalar);
        for level in other_levels() {
            let (exec, name) = (serial(level), level.name());
            for how in [(false, false), (true, false), (false, true)] {
                let (want, got) = (encode(&codec, &x, how, scalar), encode(&codec, &x, how, exec));
                prop_assert_eq!(got, want, "{}: encoding, (unit norm, squares) = {:?}", name, how);
            }
            prop_assert_eq!(decode(&codec, &codes, exec), decode(&codec, &codes, scalar), "{}: decoded", name);
            let (want, got) = (score(&codec, &queries, &codes, scalar), score(&codec, &queries, &codes, exec));
            prop_assert_eq!(got, want, "{}: scores", name);
            for bits in shorter(case.bits) {
                let want = at_default(Level::Scalar, || codec.truncate(&codes, bits)).unwrap();
                let got = at_default(level, || codec.truncate(&codes, bits)).unwrap();
                prop_assert_eq!(got.packed(), want.packed(), "{}: packed, truncated to {}", name, bits);
                prop_assert_eq!(bits_of(got.scales()), bits_of(want.scales()), "{}: scales, {} bits", name, bits);
                prop_assert_eq!(decode(&codec, &want, exec), decode(&codec, &want, scalar), "{}: {} bits", name, bits);
                let (want, got) = (score(&codec, &queries, &want, scalar), score(&codec, &queries, &want, exec));
                prop_assert_eq!(got, want, "{}: scores, {} bits", name, bits);
            }
        }
    }

    #[test]
    fn any_split_of_a_batch_equals_the_whole(case in any_case(), cuts in vec(any::<Place>(), 0..4)) {
        let (codec, x, queries) = (case.codec(), case.rows(), case.queries());
        let (n, exec) = (case.kinds.len(), serial(Level::default_level().unwrap()));
        let whole = encode(&codec, &x, (false, false), exec).unwrap();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(n + 1)).chain([0, n]).collect();
        cuts.sort_unstable();
        let (keep, scales, bytes) = (codec.spec().full(), whole.scales(), codec.row_bytes());
        let view = |from: usize, to: usize| {
            CodesView::new(&codec, &keep, &whole.packed[from * bytes..to * bytes], &scales[from..to]).unwrap()
        };
        let (mut encoded, mut decoded) = (Encoded::default(), Vec::new());
        let all = score(&codec, &queries, view(0, n), exec);
        for pair in cuts.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            encoded.extend(encode(&codec, &x[from * case.dim..to * case.dim], (false, false), exec).unwrap());
            decoded.extend(decode(&codec, view(from, to), exec));
            for (query, all) in queries.chunks(case.dim).zip(all.chunks(n)) {
                prop_assert_eq!(score(&codec, query, view(from, to), exec), &all[from..to], "scores {}..{}", from, to);
            }
        }
        prop_assert_eq!(decoded, decode(&codec, view(0, n), exec), "decoded");
        prop_assert_eq!(encoded, whole, "encoded");
    }

    #[test]
    fn a_scale_keeps_its_promise(case in any_case()) {
        let codec = case.codec();
        let codes = codes_of(&codec, &case);
        let decoded = codec.decode(&codes).unwrap();
        for ((x, back), kind) in case.rows().chunks(case.dim).zip(decoded.chunks(case.dim)).zip(&case.kinds) {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            let square = dot(x, x);
            if matches!(kind, Kind::Zero | Kind::Subnormal) {
                prop_assert!(back.iter().all(|v| *v == 0.0), "{:?} decodes to zeros", kind);
                continue;
            } else if square < MAY_VANISH {
                continue;
            }
            let error = x.iter().zip(back).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>() / square;
            let (along, length) = (dot(x, back) / square, dot(back, back) / square);
            match case.scale {
                Scale::Unbiased => prop_assert!((along - 1.0).abs() < ROUNDING, "<x, x'>/|x|^2 = {along} for {kind:?}"),
                Scale::Matched => prop_assert!((length - 1.0).abs() < ROUNDING, "|x'|^2/|x|^2 = {length} for {kind:?}"),
                Scale::Mse => {
                    prop_assert!(error <= 1.0 + ROUNDING, "squared error {error} for {kind:?}");
                    prop_assert!((error + length - 1.0).abs() < ROUNDING, "x' is the projection of x, for {kind:?}");
                }
                // |c|^2/dim is 0.64 at one bit and tends to 1 with more; rows far from Gaussian stray from that.
                Scale::Paper => prop_assert!(along > 0.0 && length < 4.0, "{along}, {length} for {kind:?}"),
            }
        }
    }

    #[test]
    fn a_score_is_the_inner_product_with_the_decoded_row(case in any_case()) {
        let codec = case.codec();
        let (codes, queries) = (codes_of(&codec, &case), case.queries());
        let (scores, decoded) = (codec.score(&queries, &codes).unwrap(), codec.decode(&codes).unwrap());
        // Integers are off by half a unit at most: the query's by 1/254 (or 1/32,638) of its largest coordinate, which
        // is below its norm; the levels' by less than 0.012 (or 0.0002) of a code's root mean square.
        let root = (case.dim as f64).sqrt();
        let bound = if case.bits <= 4 { root / 254.0 + 0.012 } else { root / 32_638.0 + 0.0002 } + ROUNDING;
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        // A query's factor may vanish as the scale of a row may.
        let queries = queries.chunks(case.dim).zip(scores.chunks(codes.len()));
        for (query, scores) in queries.filter(|(query, _)| dot(query, query) > MAY_VANISH) {
            for (back, &score) in decoded.chunks(case.dim).zip(scores) {
                let size = (dot(query, query) * dot(back, back)).sqrt() + 2.0_f64.powi(-126);
                let exact = dot(query, back);
                if exact.abs() > f64::from(f32::MAX) / 2.0 {
                    continue; // It may be infinite.
                }
                let error = f64::from(score) - exact;
                prop_assert!(error.abs() <= bound * size, "{score} is off by {error}, bound {}", bound * size);
            }
        }
    }

    #[test]
    fn refining_never_adds_error(case in any_case(), refine in prop_oneof![Just(8_u8), Just(16), Just(32)]) {
        let plain = Case { scale: Scale::Mse, refine: 0, ..case };
        let refined = Case { refine, ..plain.clone() };
        let errors = |case: &Case| -> Vec<f64> {
            let codec = case.codec();
            let back = codec.decode(&codes_of(&codec, case)).unwrap();
            let error = |(x, back): (&[f32], &[f32])| {
                x.iter().zip(back).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>()
            };
            case.rows().chunks(case.dim).zip(back.chunks(case.dim)).map(error).collect()
        };
        let rows = plain.rows();
        for ((plain, refined), row) in errors(&plain).into_iter().zip(errors(&refined)).zip(rows.chunks(plain.dim)) {
            let square = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>();
            let bound = plain + ROUNDING * square;
            prop_assert!(refined <= bound || square < MAY_VANISH, "{refined} after {plain}, of {square}");
        }
    }
}

#[test]
fn distortion_is_the_theorys() {
    for dim in if quick() { vec![64, 200] } else { vec![64, 97, 128, 200, 384, 768, 1000, 1024] } {
        let n = 32_768 / dim;
        let x = Numbers(dim as u64).floats(n * dim);
        let square: f64 = x.iter().map(|v| f64::from(*v).powi(2)).sum();
        for bits in 1..=8 {
            let codec = TurboQuant::new(dim, bits, Options { scale: Scale::Mse, ..Options::default() }).unwrap();
            let back = codec.decode(&codec.encode(&x).unwrap()).unwrap();
            let error: f64 = x.iter().zip(&back).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
            let bound = DISTORTION[bits as usize - 1] * (1.0 + SAMPLING);
            assert!(error / square < bound, "{bits} bits at dim {dim}: {} of {bound}", error / square);
        }
    }
}

// --- threads -----------------------------------------------------------------------------------------------------

#[cfg(feature = "parallel")]
proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn threads_change_nothing(case in cases_of((1_usize..=40).boxed(), 8), copies in 40_usize..300) {
        let codec = case.codec();
        let x = case.rows().repeat(copies);
        let queries: Vec<f32> = Numbers(case.seed).floats(90 * case.dim);
        let exec = serial(Level::default_level().unwrap());
        let whole = encode(&codec, &x, (false, false), exec).unwrap();
        let (keep, scales) = (codec.spec().full(), whole.scales());
        let view = CodesView::new(&codec, &keep, &whole.packed, &scales).unwrap();
        let (decoded, scores) = (decode(&codec, view, exec), score(&codec, &queries, view, exec));
        for threads in 1..=3 {
            let exec = turboquant_rs::Exec { serial: false, ..exec };
            pool(threads).install(|| {
                prop_assert_eq!(&encode(&codec, &x, (false, false), exec).unwrap(), &whole, "{} threads", threads);
                prop_assert_eq!(&decode(&codec, view, exec), &decoded, "{} threads", threads);
                prop_assert_eq!(&score(&codec, &queries, view, exec), &scores, "{} threads", threads);
                Ok(())
            })?;
        }
    }

    #[test]
    fn the_first_faulty_row_is_named_by_any_number_of_threads(
        dim in 1_usize..=40,
        n in 1_usize..3_000,
        faults in vec((any::<Place>(), any::<Place>(), select_fault()), 1..6),
    ) {
        let codec = TurboQuant::new(dim, 4, Options::default()).unwrap();
        let mut x = Numbers(n as u64).floats(n * dim);
        for (row, column, value) in &faults {
            x[row.index(n) * dim + column.index(dim)] = *value;
        }
        let at = x.iter().position(|v| !v.is_finite()).unwrap();
        let value = x[at].to_string();
        let expected = |argument| Error::NonFinite { argument, row: at / dim, column: at % dim, value: value.clone() };
        let codes = codec.encode(&vec![1.0; dim]).unwrap();
        for threads in 1..=3 {
            pool(threads).install(|| {
                prop_assert_eq!(codec.encode(&x).unwrap_err(), expected("x"), "{} threads", threads);
                prop_assert_eq!(codec.score(&x, &codes).unwrap_err(), expected("queries"), "{} threads", threads);
                Ok(())
            })?;
        }
    }
}

#[cfg(feature = "parallel")]
fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

#[cfg(feature = "parallel")]
fn select_fault() -> impl Strategy<Value = f32> {
    proptest::sample::select(vec![f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY])
}

// --- refusals ----------------------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn norms_beyond_float32_are_refused_at_every_level(
        case in any_case().prop_filter("one number is its own norm", |case| case.dim > 1),
        at in any::<Place>(),
        sign in any::<bool>(),
    ) {
        let codec = case.codec();
        let (dim, n) = (case.dim, case.kinds.len());
        let mut x = case.rows();
        let row = at.index(n);
        x[row * dim..][..dim].fill(if sign { f32::MAX } else { -f32::MAX });
        let expected = Error::Norm { argument: "x", row, limit: "within float32" };
        for level in levels() {
            prop_assert_eq!(encode(&codec, &x, (false, false), serial(level)).unwrap_err(), expected.clone());
            // x/|x| has no norm to lose.
            prop_assert!(encode(&codec, &x, (true, false), serial(level)).is_ok());
        }
    }

    #[test]
    fn a_single_largest_number_is_encoded_or_refused_alike(case in any_case(), at in any::<Place>()) {
        let codec = case.codec();
        let mut x = vec![0.0; case.dim];
        x[at.index(case.dim)] = f32::MAX;
        let want = encode(&codec, &x, (false, false), serial(Level::Scalar));
        for level in other_levels() {
            prop_assert_eq!(&encode(&codec, &x, (false, false), serial(level)), &want, "{}", level.name());
        }
        if let Err(error) = want {
            prop_assert_eq!(error, Error::Norm { argument: "x", row: 0, limit: "within float32" });
        }
    }
}
