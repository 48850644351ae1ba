//! Several index files as one index, and an index that takes what others have committed.

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use common::Numbers;
use turboquant_rs::{Error, Index, Keep, Metric, Options, SearchOptions, TurboQuant};

const DIM: usize = 40;

fn rows(n: usize, seed: u64) -> Vec<f32> {
    Numbers(seed).floats(n * DIM)
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("turboquant-several-{name}-{}", std::process::id()))
}

fn empty() -> Index {
    Index::keeping(Arc::new(TurboQuant::new(DIM, 3, Options::default()).unwrap()), Metric::L2, Keep::Int8)
}

fn assert_same(one: &Index, other: &Index) {
    assert_eq!((one.len(), one.ids().unwrap()), (other.len(), other.ids().unwrap()));
    for rescore in [0, 2] {
        let options = SearchOptions { rescore, ..SearchOptions::new(9) };
        let found = |index: &Index| index.search_with(&rows(3, 7), options).unwrap();
        assert_eq!(found(one), found(other));
    }
}

#[test]
fn several_files_are_one_index() {
    let paths = ["a", "b", "c"].map(path);
    let mut merged = empty();
    for (i, (path, n)) in paths.iter().zip([70, 3, 130]).enumerate() {
        let mut index = empty();
        index
            .add(&rows(n, i as u64), Some(&(0..n as i64).map(|id| 1_000 * i as i64 + id).collect::<Vec<_>>()))
            .unwrap();
        index.remove(&[1_000 * i as i64 + 1]).unwrap();
        index.save(path).unwrap();
        merged.extend(&index).unwrap();
    }
    for map in [false, true] {
        let mut opened = Index::open_all(&paths, map).unwrap();
        opened.verify().unwrap();
        assert_same(&merged, &opened);
        assert_same(&merged, &Index::from_bytes(&opened.to_bytes().unwrap()).unwrap());
        assert!(
            matches!(opened.commit(), Err(Error::File { .. })) && matches!(opened.refresh(), Err(Error::File { .. }))
        );
        opened.compact().unwrap();
        assert_same(&merged, &opened);
        assert_eq!(opened.to_bytes().unwrap(), merged.to_bytes().unwrap());
    }
    let error = Index::open_all(&[&paths[1], &paths[1]], true).map(drop).unwrap_err();
    assert!(error.to_string().contains("got 1000 a second time"), "{error}");
    paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
}

#[test]
fn a_reader_takes_what_was_committed() {
    let path = path("refresh");
    let mut writer = empty();
    writer.save(&path).unwrap();
    let mut readers = [false, true].map(|map| Index::open(&path, map).unwrap());
    // So many rows that their chunk is mapped; an emulator tries fewer.
    let many = if common::quick() { 300 } else { 30_000 };
    for (step, n) in [1, 64, many, 5].into_iter().enumerate() {
        writer.upsert(&rows(n, step as u64), &(0..n as i64).map(|id| id + n as i64 / 3).collect::<Vec<_>>()).unwrap();
        writer.commit().unwrap();
        for reader in &mut readers {
            assert_eq!((reader.refresh(), reader.refresh()), (Ok(true), Ok(false)));
            reader.verify().unwrap();
            assert_same(&writer, reader);
        }
    }
    writer.remove(&[40, 41]).unwrap();
    writer.compact().unwrap();
    writer.commit().unwrap();
    for reader in &mut readers {
        assert_eq!(reader.refresh(), Ok(true));
        assert_same(&writer, reader);
    }
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_reader_takes_another_file_that_has_the_number_of_a_former_one() {
    // A system gives the number of a file that is gone to the next one; writing into the file has the same effect.
    let path = path("number");
    let mut index = empty();
    index.add(&rows(20, 1), None).unwrap();
    index.save(&path).unwrap();
    let mut reader = Index::open(&path, false).unwrap();
    for (n, seed) in [(20, 2), (21, 2), (19, 3), (0, 0)] {
        let mut other = empty();
        other.add(&rows(n, seed), None).unwrap();
        std::fs::write(&path, other.to_bytes().unwrap()).unwrap();
        assert_eq!((reader.refresh(), reader.refresh()), (Ok(true), Ok(false)));
        assert_same(&other, &reader);
    }
    let mut damaged = index.to_bytes().unwrap();
    let last = damaged.len() - 1_000;
    damaged[last] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    assert!(matches!(reader.refresh(), Err(Error::Corrupt { .. })));
    assert_eq!(reader.len(), 0);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_damaged_commit_leaves_a_reader_as_it_was() {
    let path = path("damaged");
    let mut writer = empty();
    writer.save(&path).unwrap();
    let mut reader = Index::open(&path, true).unwrap();
    // Ids out of order, which are looked at when they are read, in a chunk that stays in the file where it is not an emulator's.
    let many = if common::quick() { 600 } else { 30_000 };
    let ids: Vec<i64> = (0..many).rev().collect();
    writer.add(&rows(ids.len(), 1), Some(&ids)).unwrap();
    writer.commit().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let some: Vec<_> = ids[500..502].iter().flat_map(|id| id.to_le_bytes()).collect();
    let at = whole.windows(some.len()).position(|bytes| bytes == some).unwrap();
    let mut damaged = whole.clone();
    damaged[at] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    for _ in 0..2 {
        assert!(matches!(reader.refresh(), Err(Error::Corrupt { .. })));
        assert_same(&empty(), &reader);
    }
    std::fs::write(&path, whole).unwrap();
    assert_eq!(reader.refresh(), Ok(true));
    assert_same(&writer, &reader);
    std::fs::remove_file(&path).unwrap();
}
