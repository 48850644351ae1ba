//! Filtered searches: what is left of the ranking of all rows, for every way to make a filter and to search.

mod common;

use std::sync::Arc;

use common::*;
use proptest::prelude::*;
use turboquant_rs::{Error, Exec, Filter, Index, Metric, Options, SearchOptions, TurboQuant};

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
        let ids: Vec<_> = index.ids().iter().zip(&mask).filter(|(_, has)| **has).map(|(id, _)| *id).collect();
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
