//! Filtered searches and searches within a threshold: what is left of the ranking of all rows, for every way to ask.

mod common;

use std::sync::Arc;

use common::*;
use proptest::prelude::*;
use turboquant_rs::{
    Error, Exec, Filter, Index, Level, Metric, Neighbors, Options, SearchOptions, SearchStats, TurboQuant, Within,
};

const METRICS: [Metric; 3] = [Metric::InnerProduct, Metric::Cosine, Metric::L2];

/// Which rows are allowed.
#[derive(Debug, Clone, Copy)]
enum Which {
    None,
    All,
    /// One in so many, at random.
    OneIn(usize),
    /// All but one in so many.
    AllBut(usize),
    /// A run of rows, in parts of the number of rows.
    Run(usize, usize),
}

fn any_which() -> impl Strategy<Value = Which> {
    prop_oneof![
        1 => Just(Which::None),
        1 => Just(Which::All),
        4 => (2_usize..150).prop_map(Which::OneIn),
        2 => (2_usize..150).prop_map(Which::AllBut),
        2 => (0_usize..8, 1_usize..8).prop_map(|(first, len)| Which::Run(first, len)),
    ]
}

impl Which {
    fn mask(self, n: usize, seed: u64) -> Vec<bool> {
        let mut numbers = Numbers(seed ^ 9);
        let has = |row: usize| match self {
            Self::None => false,
            Self::All => true,
            Self::OneIn(parts) => numbers.below(parts) == 0,
            Self::AllBut(parts) => numbers.below(parts) != 0,
            Self::Run(first, len) => (n * first / 8..n * (first + len) / 8).contains(&row),
        };
        (0..n).map(has).collect()
    }
}

/// Rows in several adds, under ids in no order.
fn filled(bits: u32, dim: usize, n: usize, metric: Metric, seed: u64) -> Index {
    let mut numbers = Numbers(seed);
    let codec = Arc::new(TurboQuant::new(dim, bits, Options::default()).unwrap());
    let mut index = Index::new(codec, metric);
    // Some rows twice, so that scores tie.
    let x: Vec<f32> = (0..n).flat_map(|i| Numbers(seed + (i % (n / 2 + 7)) as u64).floats(dim)).collect();
    let mut ids: Vec<_> = (0..n as i64).map(|id| 3 * id + 1).collect();
    (1..n).rev().for_each(|i| ids.swap(i, numbers.below(i + 1)));
    for rows in [0..n / 3, n / 3..n] {
        index.add(&x[rows.start * dim..rows.end * dim], Some(&ids[rows])).unwrap();
    }
    index
}

fn with(filter: &Filter, k: usize, exact: bool, exec: Exec) -> SearchOptions<'_> {
    SearchOptions { k, filter: Some(filter), exact, exec, ..SearchOptions::default() }
}

proptest! {
    #![proptest_config(cases(30))]

    #[test]
    fn a_filter_leaves_the_ranking_of_its_rows(
        (bits, dim) in (1_u32..=8, 1_usize..=40),
        n in prop_oneof![0_usize..300, if quick() { 300_usize..301 } else { 4_000_usize..6_000 }],
        which in any_which(),
        k in prop_oneof![1_usize..30, Just(700_usize)],
        seed in any::<u32>(),
        metric in 0..3_usize,
    ) {
        let (metric, seed) = (METRICS[metric], u64::from(seed));
        let index = filled(bits, dim, n, metric, seed);
        let queries = Numbers(seed ^ 5).floats(10 * dim);
        let mask = which.mask(n, seed);
        let ids: Vec<_> = index.ids().unwrap().iter().zip(&mask).filter(|(_, has)| **has).map(|(id, _)| *id).collect();
        let set: std::collections::HashSet<_> = ids.iter().copied().collect();
        let all = index.search_with(&queries, top(n.max(1), Exec::default())).unwrap();
        let want = allowed(&all, n.max(1), k, metric.worst(), |id| set.contains(&id));
        // Ids that the index does not have, and some twice.
        let listed: Vec<_> = ids.iter().rev().chain(ids.first()).chain(&[2, -5, i64::MAX]).copied().collect();
        let filters = [index.filter_rows(&mask).unwrap(), index.filter_ids(&listed).unwrap(), index.filter_where(|id| set.contains(&id)).unwrap()];
        for filter in &filters {
            prop_assert_eq!(filter.len(), ids.len());
            let got = index.search_with(&queries, with(filter, k, false, Exec::default())).unwrap();
            prop_assert!(same(&got, &want), "{got:?}, not {want:?}");
        }
        for level in levels() {
            let got = index.search_with(&queries, with(&filters[0], k, false, serial(level))).unwrap();
            prop_assert!(same(&got, &want), "a batch at {}", level.name());
            for exact in [false, true] {
                for (i, query) in queries.chunks(dim).enumerate() {
                    let got = index.search_with(query, with(&filters[0], k, exact, serial(level))).unwrap();
                    prop_assert_eq!(&got.ids, &want.ids[i * k..][..k], "query {} at {}, exact {}", i, level.name(), exact);
                    prop_assert_eq!(bits_of(&got.scores), bits_of(&want.scores[i * k..][..k]));
                }
            }
        }
    }
}

/// Of the ranking of all of `n` rows those that are allowed and within a threshold.
fn within(all: &Neighbors, n: usize, threshold: f32, metric: Metric, has: impl Fn(i64) -> bool) -> Within {
    let mut want = Within { lims: vec![0], scores: vec![], ids: vec![] };
    for (scores, ids) in all.scores.chunks(n).zip(all.ids.chunks(n)) {
        for (&score, &id) in scores.iter().zip(ids) {
            if has(id) && if metric == Metric::L2 { score <= threshold } else { score >= threshold } {
                want.scores.push(score);
                want.ids.push(id);
            }
        }
        want.lims.push(want.ids.len());
    }
    want
}

proptest! {
    #![proptest_config(cases(30))]

    #[test]
    fn a_threshold_cuts_the_ranking(
        (bits, dim) in (1_u32..=8, 1_usize..=40),
        n in prop_oneof![1_usize..300, if quick() { 300_usize..301 } else { 4_000_usize..6_000 }],
        which in any_which(),
        // The threshold is the score of this place, or what lies between two, or beyond all.
        (place, kind) in (any::<proptest::sample::Index>(), 0..5_usize),
        nq in prop_oneof![Just(1_usize), 2_usize..20],
        seed in any::<u32>(),
        metric in 0..3_usize,
    ) {
        let (metric, seed) = (METRICS[metric], u64::from(seed));
        let index = filled(bits, dim, n, metric, seed);
        let queries = Numbers(seed ^ 5).floats(nq * dim);
        let all = index.search(&queries, n).unwrap();
        let score = all.scores[place.index(n)];
        let threshold = [score, score.next_up(), score.next_down(), f32::INFINITY, f32::NEG_INFINITY][kind];
        let mask = which.mask(n, seed);
        let set: std::collections::HashSet<_> = index.ids().unwrap().iter().zip(&mask).filter(|(_, has)| **has).map(|(id, _)| *id).collect();
        let filter = index.filter_rows(&mask).unwrap();
        let want = within(&all, n, threshold, metric, |id| set.contains(&id));
        for exec in levels().into_iter().map(serial).chain([Exec::default()]) {
            for exact in [false, true] {
                let options = with(&filter, usize::MAX, exact, exec);
                let (got, stats) = index.range_search_with(&queries, threshold, options).unwrap();
                prop_assert!(got.lims == want.lims && got.ids == want.ids, "{exec:?}: {got:?}, not {want:?}");
                prop_assert_eq!(bits_of(&got.scores), bits_of(&want.scores));
                prop_assert!(!exact || stats.first_stage_rows == 0 && stats.full_rows >= set.len() * nq);
            }
        }
        let found = index.range_search(&queries, threshold).unwrap();
        prop_assert_eq!(found, within(&all, n, threshold, metric, |_| true));
        let (few, _) = index.range_search_with(&queries, threshold, with(&filter, 3, false, Exec::default())).unwrap();
        for (few, all) in few.lims.windows(2).zip(want.lims.windows(2)) {
            prop_assert_eq!(few[1] - few[0], 3.min(all[1] - all[0]), "at most k");
        }
    }
}

#[test]
fn thresholds_are_numbers() {
    let index = filled(4, 8, 20, Metric::L2, 1);
    let error = index.range_search(&[0.5; 8], f32::NAN).unwrap_err();
    assert_eq!(error.to_string(), "threshold must be a number, got NaN");
    // A row's distance to itself may come out below 0 and is then reported as 0.
    let rows = index.reconstruct(&index.ids().unwrap()).unwrap();
    let at_zero = index.range_search(&rows, 0.0).unwrap();
    assert!(at_zero.scores.iter().all(|score| *score == 0.0));
    assert!(index.range_search(&rows, -f32::MIN_POSITIVE).unwrap().ids.is_empty());
    let none = Index::new(Arc::clone(index.codec()), Metric::Cosine).range_search(&[0.5; 16], 0.0).unwrap();
    assert_eq!(none, Within { lims: vec![0, 0, 0], scores: vec![], ids: vec![] });
    assert_eq!(index.range_search(&[], 1.0).unwrap().lims, [0]);
}

#[test]
fn a_search_says_what_it_read() {
    let index = filled(4, 64, if quick() { 600 } else { 6_000 }, Metric::InnerProduct, 2);
    let n = index.len();
    let read = |nq: usize, options: SearchOptions<'_>| {
        let (mut scores, mut ids) = (vec![0.0; nq * options.k], vec![0; nq * options.k]);
        index.search_into(&Numbers(4).floats(nq * 64), options, &mut scores, &mut ids).unwrap()
    };
    let exec = serial(Level::Scalar);
    let staged = read(1, top(1, exec));
    assert_eq!((staged.first_stage_rows, staged.first_stage_bytes), (n, n * (8 + 4 + 4)));
    assert!(staged.full_rows < n / 4 && staged.full_bytes == staged.full_rows * (32 + 4), "{staged:?}");
    let full = SearchStats { full_rows: 3 * n, full_bytes: n * 36, ..SearchStats::default() };
    assert_eq!(read(3, SearchOptions { exact: true, ..top(1, exec) }), full, "rows of all queries, bytes once");
    // Rows of blocks without an allowed row are not read; few rows of a block are read alone, many with the block.
    let few = index.filter_rows(&(0..n).map(|row| row % 128 == 5).collect::<Vec<_>>()).unwrap();
    let options = SearchOptions { filter: Some(&few), ..top(1, exec) };
    assert_eq!(read(9, SearchOptions { exact: true, ..options }).full_rows, 9 * few.len());
    assert_eq!(read(1, options).first_stage_rows, few.len() * 16, "a block of 16 for each");
    let half = index.filter_rows(&(0..n).map(|row| row < 70).collect::<Vec<_>>()).unwrap();
    let options = SearchOptions { filter: Some(&half), exact: true, ..top(1, exec) };
    assert_eq!(read(9, options).full_rows, 9 * 70);
    // Few queries go by stages until that leaves many rows, and then read the next in full.
    if let Some(level) = Level::available().into_iter().find(|level| level.multiplies_bytes()) {
        let first = read(17, top(1, serial(level))).first_stage_rows;
        assert!(first > 0 && (quick() || first < 17 * n / 2), "{first} of {n}");
        assert_eq!(read(49, top(1, serial(level))).first_stage_rows, 0, "as many queries share the decoding of rows");
    }
    // Wide ranges and a k of all rows are no searches for few rows.
    if !quick() {
        let range = |threshold| {
            let queries = Numbers(4).floats(16 * 64);
            index.range_search_with(&queries, threshold, top(usize::MAX, exec)).unwrap().1.first_stage_rows
        };
        assert_eq!(range(f32::NEG_INFINITY), 0);
        assert!(range(-1e6) < 16 * n / 2, "{}", range(-1e6));
        assert_eq!(read(16, top(n, exec)).first_stage_rows, 0);
    }
    let none = index.filter_where(|_| false).unwrap();
    assert_eq!(read(1, SearchOptions { filter: Some(&none), ..top(1, exec) }), SearchStats::default());
}

/// The last word of places ends behind the last row.
#[test]
fn the_last_rows_may_be_gone() {
    let query = Numbers(9).floats(64);
    for end in [15, 16, 32, 40, 48, 63] {
        for before in [0, 128, 512] {
            let codec = Arc::new(TurboQuant::new(64, 4, Options::default()).unwrap());
            let (mut index, n) = (Index::new(codec, Metric::InnerProduct), before + end);
            index.add(&Numbers(2).floats(64 * n), None).unwrap();
            let kept = index.filter_where(|id| id < before as i64).unwrap();
            let wanted = index.search_with(&query, with(&kept, 10, true, Exec::default())).unwrap();
            index.remove(&(before as i64..n as i64).collect::<Vec<_>>()).unwrap();
            assert_eq!(index.len(), before);
            for exact in [false, true] {
                let found = index.search_with(&query, SearchOptions { exact, ..top(10, Exec::default()) }).unwrap();
                assert_eq!(found, wanted, "{before} of {n} rows, exact {exact}");
            }
        }
    }
}

#[test]
fn filters_combine() {
    let index = filled(4, 8, 150, Metric::L2, 3);
    let odd = index.filter_where(|id| id % 2 == 1).unwrap();
    let low = index.filter_where(|id| id < 100).unwrap();
    let found = |filter: &Filter| {
        let found = index.search_with(&[0.5; 8], with(filter, 150, false, Exec::default())).unwrap();
        let mut ids: Vec<_> = found.ids.into_iter().filter(|id| *id >= 0).collect();
        assert_eq!((ids.len(), filter.is_empty()), (filter.len(), ids.is_empty()));
        ids.sort_unstable();
        ids
    };
    let wanted =
        |has: &dyn Fn(i64) -> bool| -> Vec<i64> { (0..150).map(|i| 3 * i + 1).filter(|&id| has(id)).collect() };
    assert_eq!(found(&odd.and(&low).unwrap()), wanted(&|id| id % 2 == 1 && id < 100));
    assert_eq!(found(&odd.or(&low).unwrap()), wanted(&|id| id % 2 == 1 || id < 100));
    assert_eq!(found(&odd.complement()), wanted(&|id| id % 2 == 0));
    assert_eq!(found(&odd.and(&odd.complement()).unwrap()), []);
    assert_eq!(odd.nbytes(), 24);
}

#[test]
fn rows_added_later_are_not_allowed() {
    let mut index = filled(4, 8, 60, Metric::InnerProduct, 4);
    let (all, none) = (index.filter_where(|_| true).unwrap(), index.filter_where(|_| false).unwrap());
    let before = index.search(&[0.5; 8], 60).unwrap();
    let new = index.add(&[0.9; 10 * 8], None).unwrap();
    assert_eq!(index.search(&[0.5; 8], 1).unwrap().ids[0], new[0], "they are nearer than the others");
    for filter in [&all, &none.complement()] {
        let found = index.search_with(&[0.5; 8], with(filter, 60, false, Exec::default())).unwrap();
        assert!(same(&found, &before));
    }
    // Filters of two ages combine: a row that the older does not know of is not in it.
    let later = index.filter_where(|id| id >= new[0]).unwrap();
    assert_eq!((later.and(&all).unwrap().len(), later.or(&all).unwrap().len(), later.len()), (0, 70, 10));
}

#[test]
fn filters_of_other_rows_are_refused() {
    let (index, other) = (filled(4, 8, 60, Metric::InnerProduct, 4), filled(4, 8, 60, Metric::InnerProduct, 4));
    let refused = |result: Result<_, Error>, text: &str| assert_eq!(result.unwrap_err().to_string(), text);
    let filter = index.filter_where(|_| true).unwrap();
    let text = "filter must be a filter of this index, got one of another index";
    for index in [&other, &index.clone()] {
        let found = index.search_with(&[0.5; 8], with(&filter, 3, false, Exec::default()));
        refused(found.map(|_| ()), text);
        let both = index.filter_where(|_| true).unwrap().and(&filter);
        refused(both.map(|_| ()), "filter must be one of the same index, got one of another index");
    }
    refused(index.filter_rows(&[true; 59]).map(|_| ()), "filter must be one value a row (60), got 59");
}
