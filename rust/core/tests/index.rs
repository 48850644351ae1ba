//! Properties of the index: one answer for every level, batch, split, thread count and k, and no trace of a failed add.

mod common;

use std::sync::Arc;

use common::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index as Place;
use turboquant_rs::{Error, Exec, Index, Level, Metric, Neighbors, Options, RowIds, TurboQuant};

const METRICS: [Metric; 3] = [Metric::InnerProduct, Metric::Cosine, Metric::L2];

/// Rows that every metric takes, in an index under shuffled ids.
fn filled(case: &Case, metric: Metric, ids: &[i64]) -> Index {
    let mut index = Index::new(Arc::new(case.codec()), metric);
    index.add_with(&case.rows(), RowIds::New(ids), serial(Level::Scalar)).unwrap();
    index
}

/// Distinct ids in no order.
fn shuffled(n: usize, seed: u64) -> Vec<i64> {
    let mut numbers = Numbers(seed ^ 3);
    let mut ids: Vec<_> = (0..n as i64).map(|id| id * 3 + 1).collect();
    (1..n).rev().for_each(|i| ids.swap(i, numbers.below(i + 1)));
    ids
}

fn small_norms(case: Case) -> Case {
    let kinds = case.kinds.iter().map(|&kind| if kind == Kind::Huge { Kind::Plain } else { kind }).collect();
    Case { kinds, ..case }
}

/// The scores of all rows by the codec alone, as a search reports them. None for cosine, whose queries only an index
/// prepares.
fn whole_scores(case: &Case, metric: Metric) -> Option<Vec<f32>> {
    let (codec, x, queries, exec) = (case.codec(), case.rows(), case.queries(), serial(Level::Scalar));
    let encoded = encode(&codec, &x, (false, metric == Metric::L2), exec).unwrap();
    let (scales, full) = (encoded.scales(), codec.spec().full());
    let view = turboquant_rs::CodesView::new(&codec, &full, &encoded.packed, &scales).unwrap();
    let mut scores: Vec<f32> = score(&codec, &queries, view, exec).into_iter().map(f32::from_bits).collect();
    match metric {
        Metric::Cosine => return None,
        Metric::InnerProduct => {}
        Metric::L2 => {
            let of_queries = encode(&codec, &queries, (false, true), exec).unwrap().squares;
            for (query, scores) in of_queries.iter().zip(scores.chunks_mut(case.kinds.len())) {
                for (row, score) in encoded.squares.iter().zip(scores) {
                    let distance = (f32::from_bits(*query) + f32::from_bits(*row)) - 2.0 * *score;
                    *score = if distance < 0.0 { 0.0 } else { distance };
                }
            }
        }
    }
    Some(scores)
}

/// Whether every row was found once, with its score or, where a sign plane bounds it, a worse one.
fn ranks_all(found: &Neighbors, whole: &[f32], ids: &[i64], bits: u32, metric: Metric) -> bool {
    let n = ids.len();
    let queries = found.ids.chunks(n).zip(found.scores.chunks(n)).zip(whole.chunks(n));
    queries.into_iter().all(|((found_ids, scores), whole)| {
        let mut seen = vec![false; n];
        found_ids.iter().zip(scores).all(|(id, &score)| {
            let row = ids.iter().position(|other| other == id).unwrap();
            let worse = if metric == Metric::L2 { score > whole[row] } else { score < whole[row] };
            !std::mem::replace(&mut seen[row], true) && (score == whole[row] || bits > 1 && worse)
        })
    })
}

proptest! {
    #![proptest_config(cases(120))]

    #[test]
    fn a_search_ranks_every_row_at_every_level(case in any_case().prop_map(small_norms)) {
        let n = case.kinds.len();
        let ids = shuffled(n, case.seed);
        for metric in METRICS {
            let index = filled(&case, metric, &ids);
            let all = index.search_with(&case.queries(), top(n, serial(Level::Scalar))).unwrap();
            if let Some(whole) = whole_scores(&case, metric) {
                let ranked = ranks_all(&all, &whole, &ids, case.bits, metric);
                prop_assert!(ranked, "{metric:?}: {all:?} of {ids:?}, {whole:?}");
            }
            for (scores, ids) in all.scores.chunks(n).zip(all.ids.chunks(n)) {
                let sorted = scores.windows(2).zip(ids.windows(2)).all(|(s, i)| match metric {
                    Metric::L2 => s[0] < s[1] || s[0] == s[1] && (i[0] < i[1] || s[0] == 0.0),
                    _ => s[0] > s[1] || s[0] == s[1] && i[0] < i[1],
                });
                prop_assert!(sorted, "{metric:?}: {scores:?} {ids:?}");
                prop_assert!(metric != Metric::Cosine || scores.iter().all(|s| s.abs() < 2.5), "cosines: {scores:?}");
            }
            for level in other_levels() {
                let found = index.search_with(&case.queries(), top(n, serial(level))).unwrap();
                prop_assert!(same(&found, &all), "{}, {:?}: searched", level.name(), metric);
                let mut other = Index::new(Arc::clone(index.codec()), metric);
                other.add_with(&case.rows(), RowIds::New(&ids), serial(level)).unwrap();
                let found = other.search_with(&case.queries(), top(n, serial(Level::Scalar))).unwrap();
                prop_assert!(same(&found, &all), "{}, {:?}: added", level.name(), metric);
                let want = index.reconstruct_with(&ids, serial(Level::Scalar)).unwrap();
                let got = other.reconstruct_with(&ids, serial(level)).unwrap();
                prop_assert_eq!(bits_of(&got), bits_of(&want), "{}: reconstructed", level.name());
            }
        }
    }

    #[test]
    fn fewer_places_are_a_prefix_and_more_are_padded(case in any_case().prop_map(small_norms), more in 1_usize..4) {
        let n = case.kinds.len();
        let (ids, queries) = (shuffled(n, case.seed), case.queries());
        for metric in METRICS {
            let index = filled(&case, metric, &ids);
            let all = index.search(&queries, n + more).unwrap();
            for k in 1..n + more {
                let found = index.search(&queries, k).unwrap();
                for (query, all) in found.ids.chunks(k).zip(all.ids.chunks(n + more)) {
                    prop_assert_eq!(query, &all[..k]);
                }
                for (query, all) in found.scores.chunks(k).zip(all.scores.chunks(n + more)) {
                    prop_assert_eq!(bits_of(query), bits_of(&all[..k]));
                }
            }
            for (scores, ids) in all.scores.chunks(n + more).zip(all.ids.chunks(n + more)) {
                prop_assert!(ids[n..].iter().all(|id| *id == -1) && ids[..n].iter().all(|id| *id > 0));
                prop_assert!(scores[n..].iter().all(|score| *score == metric.worst()));
            }
        }
    }

    #[test]
    fn adds_and_queries_may_be_split(case in any_case().prop_map(small_norms), cuts in vec(any::<Place>(), 0..4)) {
        let n = case.kinds.len();
        let (x, ids, queries) = (case.rows(), shuffled(n, case.seed), case.queries());
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(n + 1)).chain([0, n]).collect();
        cuts.sort_unstable();
        for metric in METRICS {
            let whole = filled(&case, metric, &ids);
            let mut parts = Index::new(Arc::clone(whole.codec()), metric);
            for pair in cuts.windows(2) {
                let rows = pair[0]..pair[1];
                let part = &x[rows.start * case.dim..rows.end * case.dim];
                prop_assert_eq!(parts.add(part, Some(&ids[rows.clone()])).unwrap(), &ids[rows]);
            }
            let all = whole.search(&queries, 5).unwrap();
            prop_assert!(same(&parts.search(&queries, 5).unwrap(), &all), "{metric:?}: {cuts:?}");
            prop_assert_eq!((parts.len(), parts.nbytes(), parts.ids().unwrap()), (whole.len(), whole.nbytes(), whole.ids().unwrap()));
            for (i, query) in queries.chunks(case.dim).enumerate() {
                let found = whole.search(query, 5).unwrap();
                prop_assert_eq!(&found.ids, &all.ids[i * 5..][..5]);
                prop_assert_eq!(bits_of(&found.scores), bits_of(&all.scores[i * 5..][..5]));
            }
        }
    }
}

#[test]
fn equal_rows_come_in_the_order_of_their_ids() {
    // More rows than a parallel task has, more queries than a block.
    let n = if quick() { 1_500 } else { 5_000 };
    let codec = Arc::new(TurboQuant::new(7, 3, Options::default()).unwrap());
    let mut numbers = Numbers(1);
    let (distinct, query) = (numbers.floats(3 * 7), numbers.floats(7));
    let x: Vec<f32> = (0..n).flat_map(|i| distinct[i % 3 * 7..][..7].to_vec()).collect();
    let ids = shuffled(n, 1);
    for metric in METRICS {
        let mut index = Index::new(Arc::clone(&codec), metric);
        index.add(&x, Some(&ids)).unwrap();
        let queries = query.repeat(300);
        for exec in [serial(Level::Scalar), Exec::default()] {
            let found = index.search_with(&queries, top(n, exec)).unwrap();
            let first = (&found.ids[..n], bits_of(&found.scores[..n]));
            assert!(first.1.windows(2).zip(first.0.windows(2)).all(|(s, i)| s[0] != s[1] || i[0] < i[1]), "{metric:?}");
            assert!(found.ids.chunks(n).all(|ids| ids == first.0), "{metric:?}: every query alike");
            for k in [1, 2, 100, n / 3, n / 3 + 1] {
                assert_eq!(
                    index.search_with(&query, top(k, exec)).unwrap().ids,
                    first.0[..k],
                    "{metric:?}: {k} of {n}"
                );
            }
        }
    }
}

#[cfg(feature = "parallel")]
proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn threads_change_nothing(
        case in cases_of((1_usize..=24).boxed(), 8).prop_map(small_norms),
        copies in 150_usize..500,
        k in 1_usize..40,
    ) {
        let (x, queries) = (case.rows().repeat(copies), Numbers(case.seed).floats(70 * case.dim));
        let ids = shuffled(x.len() / case.dim, case.seed);
        let exec = serial(Level::default_level().unwrap());
        for metric in METRICS {
            let mut whole = Index::new(Arc::new(case.codec()), metric);
            whole.add_with(&x, RowIds::New(&ids), exec).unwrap();
            let all = whole.search_with(&queries, top(k, exec)).unwrap();
            for threads in 1..=3 {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let found = pool.install(|| {
                    let mut index = Index::new(Arc::clone(whole.codec()), metric);
                    index.add(&x, Some(&ids)).unwrap();
                    [index.search(&queries, k).unwrap(), whole.search(&queries, k).unwrap()]
                });
                prop_assert!(found.iter().all(|found| same(found, &all)), "{threads} threads, {metric:?}");
            }
        }
    }
}

// --- failing adds ------------------------------------------------------------------------------------------------

/// All that can be seen of an index.
fn snapshot(index: &Index) -> (Vec<i64>, usize, Vec<u32>, Vec<i64>, Vec<u32>) {
    let ids = index.ids().unwrap();
    let rows = bits_of(&index.reconstruct(&ids).unwrap());
    let found = index.search(&Numbers(5).floats(3 * index.codec().dim()), index.len() + 1).unwrap();
    (ids, index.nbytes(), rows, found.ids, bits_of(&found.scores))
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    NotFinite(f32),
    Norm,
    Taken,
    Twice,
    Negative,
    Missing,
    Cut,
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn a_failed_add_leaves_no_trace(
        dim in 2_usize..=12,
        before in prop_oneof![Just(0_usize), 1_usize..40],
        n in prop_oneof![3 => 2_usize..300, 1 => 8_000_usize..20_000],
        given in any::<bool>(),
        fault in prop_oneof![
            Just(Fault::NotFinite(f32::NAN)),
            Just(Fault::NotFinite(f32::NEG_INFINITY)),
            Just(Fault::Norm),
            Just(Fault::Taken),
            Just(Fault::Twice),
            Just(Fault::Negative),
            Just(Fault::Missing),
            Just(Fault::Cut),
        ],
        at in any::<Place>(),
        metric in 0_usize..3,
    ) {
        let metric = METRICS[metric];
        let codec = Arc::new(TurboQuant::new(dim, 4, Options::default()).unwrap());
        let mut index = Index::new(codec, metric);
        let ids: Vec<_> = (0..before as i64).map(|id| if given { 10 * id + 7 } else { id }).collect();
        index.add(&Numbers(6).floats(before * dim), given.then_some(&ids[..])).unwrap();
        let unchanged = snapshot(&index);

        let (mut x, row) = (Numbers(n as u64).floats(n * dim), at.index(n));
        let mut new: Vec<_> = (1_000_000..1_000_000 + n as i64).collect();
        let refused = |argument, expected: &str, got: i64| {
            Error::Argument { argument, expected: expected.to_owned(), got: got.to_string() }
        };
        let expected = match fault {
            Fault::NotFinite(value) => {
                x[row * dim + 1] = value;
                Error::NonFinite { argument: "x", row, column: 1, value: value.to_string() }
            }
            Fault::Norm => {
                x[row * dim..][..dim].fill(f32::MAX);
                let limit = if metric == Metric::L2 { "below 2^63 for squared L2 distances" } else { "within float32" };
                prop_assume!(metric != Metric::Cosine);
                Error::Norm { argument: "x", row, limit }
            }
            Fault::Taken => {
                prop_assume!(before > 0);
                new[row] = ids[before - 1];
                Error::DuplicateId { id: new[row] }
            }
            Fault::Twice => {
                prop_assume!(row > 0);
                new[row] = new[row - 1];
                Error::DuplicateId { id: new[row] }
            }
            Fault::Negative => {
                new[row] = -5;
                refused("ids", "at least 0 (−1 marks empty places)", -5)
            }
            Fault::Missing => {
                new.pop();
                refused("ids", &format!("one a row ({n})"), n as i64 - 1)
            }
            Fault::Cut => {
                x.pop();
                let expected = format!("whole rows of {dim} values (the codec's dim)");
                Error::Argument { argument: "x", expected, got: format!("{} values", n * dim - 1) }
            }
        };
        prop_assert_eq!(index.add(&x, Some(&new)).unwrap_err(), expected);
        prop_assert!(snapshot(&index) == unchanged, "the index is as before");
        prop_assert_eq!(index.add(&vec![0.5; dim], None).unwrap(), [ids.last().map_or(0, |id| id + 1)]);
    }
}
