//! Fitted codecs of random parts: every level, split, cut and detour through bytes gives the same bits.

mod common;

use std::sync::Arc;

use common::*;
use proptest::prelude::*;
use proptest::sample::Index as Place;
use turboquant_rs::{
    Codes, CodesView, DualParts, EncodeOptions, EncodedRows, Error, Exec, FittedParts, Header, Index, Level, Metric,
    Options, RowIds, Scale, SearchOptions, TurboQuant,
};

/// What a fit would have found, owned.
#[derive(Debug, Clone)]
struct Fit {
    dim: usize,
    center: Option<Vec<f32>>,
    transform: Vec<i16>,
    sigmas: Vec<f32>,
    segments: Vec<(usize, u32)>,
    order: Vec<u8>,
    dual: Option<(Vec<i16>, Vec<f32>, Vec<f32>)>,
}

impl Fit {
    /// Random parts: axes of any direction, some of them left out, up to five segments, units in any order.
    fn new(dim: usize, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let (mut left, mut segments) = (1 + numbers.below(dim), Vec::new());
        let axes = left;
        while left > 0 {
            let m = if segments.len() == 4 { left } else { 1 + numbers.below(left) };
            segments.push((m, 1 + numbers.below(8) as u32));
            left -= m;
        }
        segments.sort_by_key(|(_, bits)| std::cmp::Reverse(*bits));
        let mut order: Vec<u8> = (0..).zip(&segments).flat_map(|(i, (_, bits))| vec![i; *bits as usize]).collect();
        (1..order.len()).for_each(|i| order.swap(i, numbers.below(i + 1)));
        // Rows and columns have at most dim values.
        let reach = 32_000.0 / (dim as f32).sqrt();
        let matrix = |numbers: &mut Numbers| -> Vec<i16> {
            numbers.floats(axes * dim).iter().map(|value| (value * reach) as i16).collect()
        };
        let transform = matrix(&mut numbers);
        let positive = |numbers: &mut Numbers, n: usize| -> Vec<f32> {
            numbers.floats(n).iter().map(|value| value.abs() + 0.125).collect()
        };
        let sigmas = positive(&mut numbers, segments.len());
        let center = (numbers.word() & 1 == 0).then(|| {
            let values = numbers.floats(dim);
            values.into_iter().map(|value| if value.abs() < 0.1 { 0.0 } else { value }).collect()
        });
        let dual = (numbers.word() & 1 == 0)
            .then(|| (matrix(&mut numbers), positive(&mut numbers, axes), positive(&mut numbers, axes)));
        Self { dim, center, transform, sigmas, segments, order, dual }
    }

    fn parts(&self) -> FittedParts<'_> {
        FittedParts {
            dim: self.dim,
            center: self.center.as_deref(),
            transform: &self.transform,
            sigmas: &self.sigmas,
            segments: &self.segments,
            order: &self.order,
            dual: self.dual.as_ref().map(|(matrix, rows, queries)| DualParts {
                matrix,
                row_gains: rows,
                query_gains: queries,
            }),
        }
    }
}

fn codec_of(case: &Case) -> TurboQuant {
    let scale = if case.scale == Scale::Paper { Scale::Matched } else { case.scale };
    let options = Options { seed: case.seed, scale, refine: case.refine, ..Options::default() };
    TurboQuant::from_parts(Fit::new(case.dim, case.seed).parts(), options).unwrap()
}

fn fitted_cases() -> impl Strategy<Value = Case> {
    cases_of(prop_oneof![20 => 1_usize..=130, 1 => Just(300)].boxed(), 12)
}

/// Codes of the case's rows; none if a scale is beyond float32, which axes of any direction can make of huge rows.
fn codes_of(codec: &TurboQuant, case: &Case) -> Option<Codes> {
    let Encoded { packed, scales, .. } = encode(codec, &case.rows(), (false, false), serial(Level::Scalar)).ok()?;
    let scales = scales.into_iter().map(f32::from_bits).collect();
    Some(Codes::new(codec.spec().clone(), codec.spec().full(), packed, scales).unwrap())
}

/// Bits a row of every prefix of the units, the shortest first.
fn lengths(codec: &TurboQuant) -> Vec<usize> {
    let spec = codec.spec();
    let units = spec.fitted.as_ref().unwrap().order().iter().map(|&i| spec.segments[usize::from(i)].dim);
    units
        .scan(0, |sum, m| {
            *sum += m;
            Some(*sum)
        })
        .collect()
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn every_level_gives_the_scalar_bits(case in fitted_cases(), cut in any::<Place>()) {
        let (codec, x, queries) = (codec_of(&case), case.rows(), case.queries());
        let scalar = serial(Level::Scalar);
        for level in other_levels() {
            let exec = serial(level);
            for how in [(false, false), (true, false), (false, true)] {
                let (want, got) = (encode(&codec, &x, how, scalar), encode(&codec, &x, how, exec));
                prop_assert_eq!(got, want, "{}: encoding, (unit norm, squares) = {:?}", level.name(), how);
            }
        }
        let Some(codes) = codes_of(&codec, &case) else { return Ok(()) };
        let ends = lengths(&codec);
        let bits = ends[cut.index(ends.len())];
        let short = codec.truncate_to(&codes, bits, scalar).unwrap();
        for level in other_levels() {
            let (exec, name) = (serial(level), level.name());
            let got = codec.truncate_to(&codes, bits, exec).unwrap();
            prop_assert_eq!(bits_of(got.scales()), bits_of(short.scales()), "{}: scales, {} bits", name, bits);
            prop_assert_eq!(&got, &short, "{}: truncated to {} bits", name, bits);
            for codes in [&codes, &short] {
                prop_assert_eq!(decode(&codec, codes, exec), decode(&codec, codes, scalar), "{}: decoded", name);
                let (want, got) = (score(&codec, &queries, codes, scalar), score(&codec, &queries, codes, exec));
                prop_assert_eq!(got, want, "{}: scores", name);
            }
        }
    }

    #[test]
    fn rows_do_not_depend_on_their_batch(case in fitted_cases(), cut in any::<Place>()) {
        let codec = codec_of(&case);
        let Some(codes) = codes_of(&codec, &case) else { return Ok(()) };
        let (x, queries, exec) = (case.rows(), case.queries(), serial(Level::default_level().unwrap()));
        let at = cut.index(codes.len() + 1);
        let mut parts = Encoded::default();
        for rows in [&x[..at * case.dim], &x[at * case.dim..]] {
            parts.extend(encode(&codec, rows, (false, false), exec).unwrap());
        }
        prop_assert_eq!(&parts.packed, codes.packed());
        prop_assert_eq!(&parts.scales, &bits_of(codes.scales()));
        let full = codec.spec().full();
        let tail = CodesView::new(&codec, &full, &parts.packed[at * codec.row_bytes()..], &codes.scales()[at..]).unwrap();
        prop_assert_eq!(&decode(&codec, tail, exec)[..], &decode(&codec, &codes, exec)[at * case.dim..]);
        let whole = score(&codec, &queries, &codes, Exec::default());
        let nq = queries.len() / case.dim;
        for (query, tail) in (0..nq).zip(score(&codec, &queries, tail, exec).chunks((codes.len() - at).max(1))) {
            prop_assert_eq!(tail, &whole[query * codes.len() + at..(query + 1) * codes.len()]);
        }
    }

    #[test]
    fn a_length_has_one_code(case in fitted_cases(), cuts in any::<(Place, Place)>()) {
        let codec = codec_of(&case);
        let Some(codes) = codes_of(&codec, &case) else { return Ok(()) };
        let ends = lengths(&codec);
        let mut bits = [ends[cuts.0.index(ends.len())], ends[cuts.1.index(ends.len())]];
        bits.sort_unstable();
        let direct = codec.truncate_to(&codes, bits[0], Exec::default()).unwrap();
        let detour = codec.truncate_to(&codes, bits[1], Exec::default()).unwrap();
        let kept: usize = detour.spec().segments.iter().zip(detour.keep()).map(|(s, &keep)| s.dim * keep as usize).sum();
        prop_assert_eq!(kept, bits[1]);
        prop_assert_eq!(&codec.truncate_to(&detour, bits[0], Exec::default()).unwrap(), &direct);
        prop_assert_eq!(&codes.packed()[..direct.row_bytes()], &direct.packed()[..direct.row_bytes()]);
    }

    #[test]
    fn bytes_bring_codes_and_codec_back(case in fitted_cases()) {
        let codec = codec_of(&case);
        let Some(codes) = codes_of(&codec, &case) else { return Ok(()) };
        let bytes = codes.to_bytes();
        let back = Codes::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&back, &codes);
        let again = TurboQuant::from_spec(back.spec().clone()).unwrap();
        prop_assert_eq!(again.fingerprint(), codec.fingerprint());
        prop_assert_eq!(decode(&again, &codes, Exec::default()), decode(&codec, &codes, Exec::default()));
        let header = Header::parse(&bytes).unwrap();
        prop_assert_eq!(Header::len_of(&bytes[..bytes.len().min(Header::LONGEST)]).unwrap(), header.packed_at());
        prop_assert!(header.packed_at() >= header.spec.fitted.as_ref().unwrap().transform().len() * 2);
        prop_assert!(Header::parse(&bytes[..header.packed_at() - 1]).is_err());
    }

    #[test]
    fn an_index_does_not_depend_on_how_rows_came(case in fitted_cases(), cut in any::<Place>(), metric in 0..3_usize) {
        let metric = [Metric::InnerProduct, Metric::Cosine, Metric::L2][metric];
        let codec = Arc::new(codec_of(&case));
        let (dim, x, queries) = (case.dim, case.rows(), case.queries());
        let mut whole = Index::new(codec.clone(), metric);
        if whole.add(&x, None).is_err() {
            prop_assert!(whole.is_empty() && whole.plain_rows() == 0);
            return Ok(());
        }
        let at = cut.index(x.len() / dim + 1);
        let mut parts = Index::new(codec.clone(), metric);
        parts.add(&x[..at * dim], None).unwrap();
        parts.add(&x[at * dim..], None).unwrap();
        prop_assert_eq!(parts.plain_rows(), whole.plain_rows());
        let (want, got) = (whole.search(&queries, 5).unwrap(), parts.search(&queries, 5).unwrap());
        prop_assert_eq!(&got.ids, &want.ids);
        prop_assert_eq!(bits_of(&got.scores), bits_of(&want.scores));
        for level in other_levels().into_iter().chain([Level::Scalar]) {
            let got = whole.search_with(&queries, top(3, serial(level))).unwrap();
            for (got, want) in got.ids.chunks(3).zip(want.ids.chunks(5)) {
                prop_assert_eq!(got, &want[..3], "{}: the first three of five", level.name());
            }
        }
        // Filters know the places of rows in both partitions, in whatever adds they came.
        let n = whole.len();
        let all = whole.search(&queries, n).unwrap();
        let third = |id: i64| id % 3 == case.seed as i64 % 3;
        for index in [&whole, &parts] {
            let mask: Vec<_> = index.ids().unwrap().iter().map(|&id| third(id)).collect();
            for filter in [index.filter_where(third).unwrap(), index.filter_rows(&mask).unwrap()] {
                let got = index.search_with(&queries, SearchOptions { filter: Some(&filter), ..SearchOptions::new(n) }).unwrap();
                prop_assert!(same(&got, &allowed(&all, n, n, metric.worst(), third)));
            }
        }
        let rows = parts.reconstruct(&parts.ids().unwrap()).unwrap();
        prop_assert_eq!(bits_of(&rows), bits_of(&whole.reconstruct(&whole.ids().unwrap()).unwrap()));
        // A fault in the last row leaves no trace of the rows before it.
        let mut faulty = x.clone();
        *faulty.last_mut().unwrap() = f32::NAN;
        prop_assert!(parts.add(&faulty, None).is_err());
        prop_assert_eq!(parts.search(&queries, 5).unwrap().ids, want.ids);
    }
}

#[test]
fn split_rows_are_checked() {
    let case = Case { dim: 16, bits: 1, scale: Scale::Matched, refine: 0, kinds: vec![], seed: 1 };
    let parts = Fit { dual: None, segments: vec![(16, 2)], order: vec![0, 0], sigmas: vec![0.25], ..Fit::new(16, 3) };
    let transform: Vec<i16> = (0..256).map(|i| if i % 17 == 0 { 32_000 } else { 0 }).collect();
    let parts = Fit { transform, center: None, ..parts };
    let codec = Arc::new(TurboQuant::from_parts(parts.parts(), Options::default()).unwrap());
    let plain = codec.plain().unwrap();
    assert_eq!((plain.dim(), plain.spec().full()), (16, vec![2]));
    let x = Numbers(7).floats(3 * case.dim);
    let mut badly = [false; 3];
    let (mut packed, mut scales) = (vec![0; 12], vec![0.0; 3]);
    let options = EncodeOptions { badly: Some(&mut badly), ..EncodeOptions::default() };
    codec.encode_into(&x, &mut packed, &mut scales, options, Exec::default()).unwrap();
    let (codes, coarse) = (codec.encode(&x).unwrap(), plain.encode(&x[..32]).unwrap());
    assert_eq!(codes.packed(), packed);
    let mut index = Index::new(codec.clone(), Metric::InnerProduct);
    let refused = |result: Result<Vec<i64>, Error>, text: &str| assert_eq!(result.unwrap_err().to_string(), text);
    let two = [true, false, true];
    let rows = EncodedRows { codes: codes.view(), squares: &[], badly: &two, plain: None, originals: None };
    let mut add = |rows, ids| index.add_encoded(rows, ids);
    let short = EncodedRows { badly: &two[..2], ..rows };
    refused(add(short, RowIds::Assigned), "badly must be one a row (3), got 2");
    refused(add(rows, RowIds::Assigned), "plain must be codes of 2 rows of a fitted codec, got 0");
    let one = plain.encode(&x[..16]).unwrap();
    let with = |plain| EncodedRows { plain: Some(plain), ..rows };
    refused(add(with(one.view()), RowIds::Assigned), "plain must be codes of 2 rows of a fitted codec, got 1");
    let other = TurboQuant::new(16, 3, Options::default()).unwrap().encode(&x[..32]).unwrap();
    assert!(matches!(add(with(other.view()), RowIds::Assigned), Err(Error::OtherCodec { .. })));
    let kept = EncodedRows { originals: Some((&[0; 192], &[])), ..with(coarse.view()) };
    refused(add(kept, RowIds::Assigned), "originals must be none, got 192 bytes and 0 scales");
    assert!(index.is_empty());
    index.add_encoded(with(coarse.view()), RowIds::New(&[5, 6, 7])).unwrap();
    assert_eq!((index.len(), index.plain_rows()), (3, 2));
    let rows = index.reconstruct(&[6, 7]).unwrap();
    assert_eq!(rows[..16], codec.decode(&codes).unwrap()[16..32]);
    assert_eq!(rows[16..], plain.decode(&coarse).unwrap()[16..]);
    assert!(plain.plain().is_none(), "a plain codec has no plainer one");
}

#[test]
fn rows_that_are_refused_late_leave_a_fitted_index_as_it_was() {
    // Rows are encoded so many at a time; the fault is behind the first of these, which have rows of both kinds.
    const BLOCK: usize = 8_192;
    let (dim, axes) = (16, 8);
    let mut transform = vec![0; axes * dim];
    (0..axes).for_each(|axis| transform[axis * dim + axis] = 32_000);
    let parts = FittedParts {
        dim,
        center: None,
        transform: &transform,
        sigmas: &[0.35],
        segments: &[(axes, 4)],
        order: &[0; 4],
        dual: None,
    };
    let codec = Arc::new(TurboQuant::from_parts(parts, Options::default()).unwrap());
    let mut numbers = Numbers(1);
    let mut rows = |n: usize, along: fn(usize) -> bool| -> Vec<f32> {
        let mut x = numbers.floats(n * dim);
        // Rows along the axes, and rows across them.
        x.chunks_mut(dim)
            .enumerate()
            .for_each(|(i, row)| if along(i) { row[axes..].fill(0.0) } else { row[..axes].fill(0.0) });
        x
    };
    let (first, mut refused) = (rows(100, |_| true), rows(BLOCK + 1, |i| i % 3 != 0));
    *refused.last_mut().unwrap() = f32::NAN;
    for metric in [Metric::InnerProduct, Metric::L2] {
        let mut index = Index::new(codec.clone(), metric);
        index.add(&first, None).unwrap();
        assert_eq!(index.plain_rows(), 0);
        let state = |index: &Index| (index.len(), index.plain_rows(), index.nbytes(), index.to_bytes().unwrap());
        let before = state(&index);
        assert!(matches!(index.add(&refused, None), Err(Error::NonFinite { row: BLOCK, .. })));
        assert!(state(&index) == before, "{metric:?}: {} bytes, {} before", index.nbytes(), before.2);
        index.add(&refused[..BLOCK * dim], None).unwrap();
        assert_eq!(index.plain_rows(), BLOCK.div_ceil(3));
    }
}
