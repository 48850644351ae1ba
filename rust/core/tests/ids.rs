//! Ids: whatever rows came and went, an index answers as one to which the rows that are left were added once, in that order.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index as Place;
use turboquant_rs::{Error, Exec, FittedParts, Index, Keep, Metric, Options, RowIds, SearchOptions, TurboQuant};

const METRICS: [Metric; 3] = [Metric::InnerProduct, Metric::Cosine, Metric::L2];
const KEEPS: [Option<Keep>; 5] =
    [None, Some(Keep::Float32), Some(Keep::Float16), Some(Keep::BFloat16), Some(Keep::Int8)];
const DIM: usize = 16;

/// A plain codec, or a fitted one that sees every other coordinate well: half of the rows are coded badly.
fn codec(fitted: bool) -> Arc<TurboQuant> {
    if !fitted {
        return Arc::new(TurboQuant::new(DIM, 3, Options::default()).unwrap());
    }
    let transform: Vec<i16> = (0..DIM / 2 * DIM).map(|i| if i % (DIM + 2) == 0 { 32_000 } else { 0 }).collect();
    let (sigmas, segments, order) = (&[0.25][..], &[(DIM / 2, 2)][..], &[0, 0][..]);
    let parts = FittedParts { dim: DIM, center: None, transform: &transform, sigmas, segments, order, dual: None };
    Arc::new(TurboQuant::from_parts(parts, Options::default()).unwrap())
}

/// Rows with energy in the coordinates that the fitted codec sees, or in the others, or in all.
fn rows(n: usize, numbers: &mut Numbers) -> Vec<f32> {
    let mut x = numbers.floats(n * DIM);
    for row in x.chunks_exact_mut(DIM) {
        let kind = numbers.below(3);
        row.iter_mut().enumerate().for_each(|(i, value)| *value *= if i % 2 == kind { 0.01 } else { 1.0 });
    }
    x
}

fn empty(codec: &Arc<TurboQuant>, metric: Metric, keep: Option<Keep>) -> Index {
    keep.map_or_else(|| Index::new(codec.clone(), metric), |keep| Index::keeping(codec.clone(), metric, keep))
}

/// Ids with their rows, in the order of adding.
#[derive(Default, Clone)]
struct Model(Vec<(i64, Vec<f32>)>);

impl Model {
    fn put(&mut self, ids: &[i64], x: &[f32]) {
        self.0.retain(|(id, _)| !ids.contains(id));
        self.0.extend(ids.iter().copied().zip(x.chunks_exact(DIM).map(<[f32]>::to_vec)));
    }

    fn ids(&self) -> Vec<i64> {
        self.0.iter().map(|(id, _)| *id).collect()
    }

    fn index(&self, like: &Index) -> Index {
        let mut index = empty(like.codec(), like.metric(), like.keep());
        index.add(&self.0.iter().flat_map(|(_, row)| row.clone()).collect::<Vec<_>>(), Some(&self.ids())).unwrap();
        index
    }
}

/// All that can be seen of an index but its bytes.
fn seen(index: &Index) -> (Vec<i64>, usize, Vec<u32>, Vec<i64>, Vec<u32>) {
    let ids = index.ids().unwrap();
    let back = bits_of(&index.reconstruct(&ids).unwrap());
    let queries = Numbers(5).floats(11 * DIM);
    let (mut found, mut scores) = (Vec::new(), Vec::new());
    let mut note = |neighbors: turboquant_rs::Neighbors| {
        found.extend(neighbors.ids);
        scores.extend(bits_of(&neighbors.scores));
    };
    note(index.search(&queries, index.len() + 2).unwrap());
    note(index.search(&queries[..DIM], 3).unwrap());
    // Filters see the rows that are left, in the order of adding.
    let odd = |row: usize| row % 2 == 1;
    let mask: Vec<_> = (0..ids.len()).map(odd).collect();
    let chosen: Vec<_> = ids.iter().enumerate().filter(|(row, _)| odd(*row)).map(|(_, &id)| id).collect();
    for filter in [index.filter_rows(&mask), index.filter_ids(&chosen), index.filter_where(|id| chosen.contains(&id))] {
        let filter = filter.unwrap();
        assert_eq!(filter.len(), chosen.len());
        for exact in [false, true] {
            let options = SearchOptions { filter: Some(&filter), exact, ..SearchOptions::new(9) };
            note(index.search_with(&queries, options).unwrap());
            note(index.search_with(&queries[..DIM], options).unwrap());
            let within = index.range_search_with(&queries, 0.1, options).unwrap().0;
            note(turboquant_rs::Neighbors { scores: within.scores, ids: within.ids });
        }
    }
    if index.keep().is_some() {
        note(index.search_with(&queries, SearchOptions { rescore: 3, ..SearchOptions::new(2) }).unwrap());
        note(index.search_with(&queries[..DIM], SearchOptions { rescore: 2, ..SearchOptions::new(30) }).unwrap());
    }
    (ids, index.plain_rows(), back, found, scores)
}

fn same_as(index: &Index, model: &Model) {
    let fresh = model.index(index);
    assert_eq!(index.len(), model.0.len());
    assert!(seen(index) == seen(&fresh), "{:?}", model.ids());
    assert!(
        model.ids().iter().all(|&id| index.contains(id).unwrap())
            && !index.contains(-1).unwrap()
            && !index.contains(i64::MAX).unwrap()
    );
}

#[derive(Debug, Clone)]
enum Step {
    Add(usize),
    AddIds(Vec<i64>),
    Upsert(Vec<i64>),
    Remove(Vec<Place>),
    Compact,
    Fail(Vec<i64>),
}

fn step() -> impl Strategy<Value = Step> {
    let ids = || vec(prop_oneof![4 => 0..60_i64, 1 => 1_000_000..1_000_060_i64], 0..12);
    prop_oneof![
        2 => (0_usize..90).prop_map(Step::Add),
        2 => ids().prop_map(Step::AddIds),
        2 => ids().prop_map(Step::Upsert),
        3 => vec(any::<Place>(), 0..20).prop_map(Step::Remove),
        1 => Just(Step::Compact),
        1 => ids().prop_map(Step::Fail),
    ]
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn an_index_is_its_rows_that_are_left(
        steps in vec(step(), 1..12),
        metric in 0..3_usize,
        keep in 0..5_usize,
        fitted in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut index = empty(&codec(fitted), METRICS[metric], KEEPS[keep]);
        let (mut model, mut numbers, mut largest) = (Model::default(), Numbers(seed), -1);
        for step in steps {
            match step {
                Step::Add(n) => {
                    let x = rows(n, &mut numbers);
                    let ids = index.add(&x, None).unwrap();
                    let want: Vec<_> = (largest + 1..).take(n).collect();
                    prop_assert_eq!(&ids, &want, "no id is assigned twice");
                    model.put(&ids, &x);
                    largest = largest.max(largest + n as i64);
                }
                Step::AddIds(ids) => {
                    let x = rows(ids.len(), &mut numbers);
                    let mut met: BTreeSet<_> = model.ids().into_iter().collect();
                    match ids.iter().find(|id| !met.insert(**id)) {
                        Some(&id) => prop_assert_eq!(index.add(&x, Some(&ids)), Err(Error::DuplicateId { id })),
                        None => {
                            index.add(&x, Some(&ids)).unwrap();
                            model.put(&ids, &x);
                            largest = ids.into_iter().fold(largest, i64::max);
                        }
                    }
                }
                Step::Upsert(ids) => {
                    let x = rows(ids.len(), &mut numbers);
                    let mut met = BTreeSet::new();
                    match ids.iter().find(|id| !met.insert(**id)) {
                        Some(&id) => prop_assert_eq!(index.upsert(&x, &ids), Err(Error::DuplicateId { id })),
                        None => {
                            index.upsert(&x, &ids).unwrap();
                            model.put(&ids, &x);
                            largest = ids.into_iter().fold(largest, i64::max);
                        }
                    }
                }
                Step::Remove(places) => {
                    let ids = model.ids();
                    let mut gone: Vec<_> =
                        places.iter().filter(|_| !ids.is_empty()).map(|place| ids[place.index(ids.len())]).collect();
                    index.remove(&gone).unwrap();
                    model.0.retain(|(id, _)| !gone.contains(id));
                    prop_assert!(gone.iter().all(|&id| !index.contains(id).unwrap()));
                    prop_assert!(4 * index.removed() <= index.len() + index.removed(), "compaction comes by itself");
                    // Now the first of them is unknown, and the whole batch is refused.
                    if let Some(&id) = gone.first() {
                        gone = model.ids();
                        gone.push(id);
                        prop_assert_eq!(index.remove(&gone), Err(Error::UnknownId { id }));
                        prop_assert_eq!(index.reconstruct(&gone), Err(Error::UnknownId { id }));
                    }
                }
                Step::Compact => {
                    index.compact().unwrap();
                    prop_assert_eq!(index.removed(), 0);
                    prop_assert_eq!(index.nbytes(), model.index(&index).nbytes(), "as one that never had more");
                }
                Step::Fail(mut ids) => {
                    ids.sort_unstable();
                    ids.dedup();
                    let mut x = rows(ids.len(), &mut numbers);
                    if let Some(last) = x.last_mut() {
                        *last = f32::NAN;
                        prop_assert!(index.upsert(&x, &ids).is_err());
                    }
                }
            }
            same_as(&index, &model);
        }
        let other = index.clone();
        index.compact().unwrap();
        prop_assert!(seen(&index) == seen(&other), "compaction changes no answer");
    }

    #[test]
    fn an_extended_index_is_one_that_got_all_rows(
        n in 0_usize..300,
        more in 0_usize..300,
        gone in vec(any::<Place>(), 0..40),
        metric in 0..3_usize,
        keep in 0..5_usize,
        fitted in any::<bool>(),
    ) {
        let codec = codec(fitted);
        let make = |first: usize, n: usize| {
            let (mut index, mut model) = (empty(&codec, METRICS[metric], KEEPS[keep]), Model::default());
            let (ids, x) = ((first..first + n).rev().map(|id| id as i64).collect::<Vec<_>>(), rows(n, &mut Numbers(first as u64)));
            index.add(&x, Some(&ids)).unwrap();
            model.put(&ids, &x);
            (index, model)
        };
        let ((mut index, mut model), (mut other, mut others)) = (make(0, n), make(1_000, more));
        for (index, model) in [(&mut index, &mut model), (&mut other, &mut others)] {
            let ids: Vec<_> = gone.iter().map(|place| place.index(1_300) as i64).filter(|&id| index.contains(id).unwrap()).collect();
            index.remove(&ids).unwrap();
            model.0.retain(|(id, _)| !ids.contains(id));
        }
        let before = seen(&other);
        index.extend(&other).unwrap();
        model.0.extend(others.0);
        same_as(&index, &model);
        prop_assert!(seen(&other) == before);
        if let Some(&id) = other.ids().unwrap().first() {
            prop_assert_eq!(index.extend(&other), Err(Error::DuplicateId { id }));
            same_as(&index, &model);
        }
    }
}

/// The answers with and without a filter, to a batch and to one query, and within a threshold.
fn answers(index: &Index) -> Vec<(Vec<i64>, Vec<u32>)> {
    let queries = Numbers(9).floats(11 * DIM);
    let third = index.filter_where(|id| id % 3 == 0).unwrap();
    let mut answers = Vec::new();
    for (filter, exact) in [(None, false), (Some(&third), false), (Some(&third), true)] {
        let options = SearchOptions { filter, exact, ..SearchOptions::new(40) };
        for queries in [&queries[..], &queries[..DIM]] {
            let found = index.search_with(queries, options).unwrap();
            answers.push((found.ids, bits_of(&found.scores)));
            let within = index.range_search_with(queries, 0.5, options).unwrap().0;
            answers.push((within.ids, bits_of(&within.scores)));
        }
    }
    answers
}

/// Rows in a mapped file and rows added behind it, of both codecs, with removed ones among both.
#[test]
fn rows_of_a_mapped_file_are_removed_and_left_out_of_the_next() {
    let path = std::env::temp_dir().join(format!("turboquant-ids-{}", std::process::id()));
    let (n, mut numbers) = (50_000, Numbers(4));
    let (x, more) = (rows(n, &mut numbers), rows(300, &mut numbers));
    let mut index = empty(&codec(true), Metric::InnerProduct, None);
    index.add(&x, None).unwrap();
    index.save(&path).unwrap();
    let mut index = Index::open(&path, true).unwrap();
    assert!(index.mapped_nbytes() > 0);
    index.add(&more, None).unwrap();
    let gone: Vec<_> = (0..n as i64 + 300).filter(|id| id % 7 == 2).collect();
    index.remove(&gone).unwrap();
    assert_eq!(index.removed(), gone.len());

    let mut fresh = empty(&codec(true), Metric::InnerProduct, None);
    let left: Vec<_> = (0..n as i64 + 300).filter(|id| id % 7 != 2).collect();
    let row = |id: i64| x.chunks_exact(DIM).chain(more.chunks_exact(DIM)).nth(id as usize).unwrap();
    fresh.add(&left.iter().flat_map(|&id| row(id)).copied().collect::<Vec<_>>(), Some(&left)).unwrap();
    let expected = answers(&fresh);
    assert!(fresh.plain_rows() > n / 10 && index.plain_rows() == fresh.plain_rows());
    assert!(answers(&index) == expected);
    index.save(&path).unwrap();
    let back = Index::open(&path, true).unwrap();
    assert!(back.removed() == gone.len() && answers(&back) == expected);
    index.compact().unwrap();
    assert!(answers(&index) == expected);
    index.save(&path).unwrap();
    for mapped in [true, false] {
        let back = Index::open(&path, mapped).unwrap();
        assert!(back.ids().unwrap() == left && answers(&back) == expected);
    }
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn filters_hold_until_rows_change_their_places() {
    let mut index = empty(&codec(false), Metric::L2, None);
    index.add(&rows(20, &mut Numbers(1)), None).unwrap();
    let filter = index.filter_where(|id| id < 10).unwrap();
    let options = SearchOptions { filter: Some(&filter), ..SearchOptions::new(20) };
    let found = |index: &Index| {
        index.search_with(&[0.5; DIM], options).map(|found| {
            let mut ids: Vec<_> = found.ids.into_iter().filter(|&id| id >= 0).collect();
            ids.sort_unstable();
            ids
        })
    };
    index.remove(&[3, 15]).unwrap();
    index.add(&rows(5, &mut Numbers(2)), None).unwrap();
    assert_eq!(found(&index).unwrap(), [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    index.compact().unwrap();
    let text = "filter must be made after the last compaction, got one from before the index was compacted";
    assert_eq!(found(&index).unwrap_err().to_string(), text);
}

#[test]
fn the_fitted_codec_of_these_tests_codes_some_rows_badly() {
    let mut index = empty(&codec(true), Metric::InnerProduct, None);
    index.add(&rows(90, &mut Numbers(1)), None).unwrap();
    assert!((20..70).contains(&index.plain_rows()), "{}", index.plain_rows());
}

#[test]
fn strings_stand_for_rows() {
    let mut index = empty(&codec(false), Metric::L2, None);
    let x = rows(4, &mut Numbers(1));
    let exec = Exec::default();
    assert_eq!(index.add_with(&x, RowIds::NewNames(&["b", "", "ä", "a"]), exec).unwrap(), [0, 1, 2, 3]);
    let taken = index.add_with(&x[..DIM], RowIds::NewNames(&["ä"]), exec);
    assert_eq!(taken.unwrap_err().to_string(), "ids must be new and distinct, got \"ä\" a second time");
    assert_eq!(index.add_with(&x[..DIM], RowIds::UpsertNames(&["b"]), exec).unwrap(), [4]);
    assert_eq!(
        (index.name(4).unwrap(), index.name(0).unwrap(), index.id_of_name("b").unwrap(), index.len()),
        (Some("b"), None, Some(4), 4)
    );
    let back = index.reconstruct_names(&["a", "b"], exec).unwrap();
    assert_eq!(back, index.reconstruct(&[3, 4]).unwrap());
    let unknown = index.remove_names(&["a", "c"]);
    assert_eq!(unknown.unwrap_err().to_string(), "ids must be in the index, got \"c\"");
    index.remove_names(&["a", ""]).unwrap();
    assert_eq!((index.removed(), index.ids().unwrap()), (0, vec![2, 4]), "three of five gone: compacted");
    assert_eq!(
        (index.name(2).unwrap(), index.id_of_name("a").unwrap(), index.id_of_name("b").unwrap()),
        (Some("ä"), None, Some(4))
    );
    index.add_with(&x[..DIM], RowIds::NewNames(&["a"]), exec).unwrap();
    assert_eq!((index.id_of_name("a").unwrap(), index.id_of_name("ä").unwrap()), (Some(5), Some(2)));
    let mixed = index.add(&x[..DIM], None).unwrap_err().to_string();
    assert_eq!(mixed, "ids must be strings, as those of the index's rows are, got none");
    let mixed = index.add(&x[..DIM], Some(&[9])).unwrap_err().to_string();
    assert_eq!(mixed, "ids must be strings, as those of the index's rows are, got integers");
    let mut numbered = empty(&codec(false), Metric::L2, None);
    numbered.add(&x, None).unwrap();
    let mixed = numbered.add_with(&x[..DIM], RowIds::NewNames(&["a"]), exec).unwrap_err().to_string();
    assert_eq!(mixed, "ids must be integers, as those of the index's rows are, got strings");
    assert!(numbered.extend(&index).is_err() && !numbered.named() && index.named());
}

#[test]
fn indexes_of_other_kinds_are_refused() {
    let mut index = empty(&codec(false), Metric::L2, Some(Keep::Int8));
    let mut refused = |other: Index, text: &str| {
        assert_eq!(index.extend(&other).unwrap_err().to_string(), text);
    };
    let text = "other must be an index of the same metric, \"l2\", got \"ip\"";
    refused(empty(&codec(false), Metric::InnerProduct, Some(Keep::Int8)), text);
    let text = "other must be an index that keeps the same originals, int8, got none";
    refused(empty(&codec(false), Metric::L2, None), text);
    let other = codec(true);
    assert!(index.extend(&empty(&other, Metric::L2, Some(Keep::Int8))).is_err());
    let text =
        "rescore must be left out, since this index keeps no rows to score exactly (keep= makes it do so), got one";
    let options = SearchOptions { rescore: 4, ..SearchOptions::new(1) };
    let none = empty(&codec(false), Metric::L2, None).search_with(&[1.0; DIM], options);
    assert_eq!(none.unwrap_err().to_string(), text);
}

#[test]
fn what_a_form_cannot_hold_is_refused() {
    for (keep, largest) in [(Keep::Float16, 65_520_f32.next_down()), (Keep::BFloat16, f32::from_bits(0x7f7f_7fff))] {
        let mut index = empty(&codec(false), Metric::Cosine, Some(keep));
        let mut x = vec![1.0; 3 * DIM];
        x[2 * DIM + 5] = -largest;
        index.add(&x, None).unwrap();
        x[2 * DIM + 5] = -largest.next_up();
        let text = format!(
            "x must fit {}, in which the index keeps rows, got {} at row 2, column 5",
            keep.name(),
            x[2 * DIM + 5]
        );
        assert_eq!(index.add(&x, None).unwrap_err().to_string(), text);
        assert_eq!(
            (index.len(), index.nbytes()),
            (3, {
                index.compact().unwrap();
                index.nbytes()
            })
        );
    }
}
