//! Damaged index files: every flipped bit, every missing byte and any number of wrong bytes are reported with section and offset before a
//! result uses them.

mod common;

use std::io::{Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use common::{Numbers, quick};
use turboquant_rs::{Error, Exec, Index, Keep, Metric, Options, RowIds, SearchOptions, TurboQuant};

fn rows(dim: usize, n: usize, seed: u64) -> Vec<f32> {
    Numbers(seed).floats(dim * n)
}

/// The bytes of a file of two commits: of integer ids and codes alone, or of string ids and with kept rows.
fn two_commits(name: &str, named: bool) -> Vec<u8> {
    let codec = Arc::new(TurboQuant::new(16, 4, Options::default()).unwrap());
    let mut index = if named { Index::keeping(codec, Metric::L2, Keep::Int8) } else { Index::new(codec, Metric::L2) };
    let add = |index: &mut Index, rows: &[f32], names: &[&str], ids: &[i64]| {
        let ids = if named { RowIds::NewNames(names) } else { RowIds::New(ids) };
        index.add_with(rows, ids, Exec::default()).unwrap()
    };
    add(&mut index, &rows(16, 5, 1), &["a", "", "bcd", "é", "e"], &[0, 1, 2, 3, 4]);
    let path = std::env::temp_dir().join(format!("turboquant-damage-{name}-{}", std::process::id()));
    index.save(&path).unwrap();
    let ids = add(&mut index, &rows(16, 2, 2), &["f", "ghi"], &[900, 30]);
    if named { index.remove_names(&["bcd"]) } else { index.remove(&[ids[1]]) }.unwrap();
    index.commit().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    bytes
}

/// Whether an error is the documented one, about a byte of the file.
#[track_caller]
fn assert_reported(error: &Error, len: usize, what: &str) {
    match error {
        Error::Corrupt { of, what: section, offset } => {
            assert_eq!(*of, "index file");
            assert!(*offset <= len && section.len() > 10, "{what}: {error}");
        }
        Error::Version { .. } => {}
        other => panic!("{what}: {other}"),
    }
}

#[test]
fn every_flipped_bit_is_reported() {
    for named in [false, true] {
        let bytes = two_commits("flips", named);
        assert!(bytes.len() < 8_000, "{}", bytes.len());
        let whole = Index::from_bytes(&bytes).unwrap();
        let newest = 512; // The record of commit 2: without it the chunk behind commit 1 counts, since it is whole.
        let mut as_before = 0;
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                match Index::from_bytes(&damaged) {
                    Err(error) => assert_reported(&error, bytes.len(), &format!("byte {at}, bit {bit}")),
                    Ok(index) => {
                        assert!((newest..newest + 512).contains(&at), "byte {at}, bit {bit} is not reported");
                        assert_eq!(index.to_bytes().unwrap(), whole.to_bytes().unwrap(), "byte {at}, bit {bit}");
                        as_before += 1;
                    }
                }
            }
        }
        assert_eq!(as_before, 512 * 8, "any damage of the newest record is made good by the chunk that it counts");
    }
}

#[test]
fn every_missing_byte_is_reported() {
    for named in [false, true] {
        let bytes = two_commits("cuts", named);
        for len in 0..bytes.len() {
            let error = Index::from_bytes(&bytes[..len]).expect_err("a byte is missing");
            assert_reported(&error, len, &format!("{len} bytes"));
        }
        // What follows the last commit is a chunk that a stopped writer has not finished: it is no part of the index.
        let more = [&bytes[..], &[0x55; 300]].concat();
        assert_eq!(Index::from_bytes(&more).unwrap().to_bytes(), Index::from_bytes(&bytes).unwrap().to_bytes());
    }
}

/// Many bytes at many places of a mapped file, with and without looking at all of it first.
#[test]
fn wrong_bytes_of_a_mapped_file_are_reported_before_they_are_used() {
    let codec = Arc::new(TurboQuant::new(96, 4, Options::default()).unwrap());
    let (dim, path) = (96, std::env::temp_dir().join(format!("turboquant-damage-{}", std::process::id())));
    let mut index = Index::keeping(codec, Metric::L2, Keep::Int8);
    index.add(&rows(dim, 20_000, 1), None).unwrap();
    index.save(&path).unwrap();
    index.add(&rows(dim, 40, 2), None).unwrap();
    // So many that the removed rows are a target worth hitting.
    index.remove(&(0..4_000).map(|i| 5 * i + 4).collect::<Vec<_>>()).unwrap();
    index.commit().unwrap();
    drop(index);
    let bytes = std::fs::read(&path).unwrap();
    let queries = rows(dim, 9, 3);
    let [one, many] = [&queries[..dim], &queries[..]];
    let whole = Index::open(&path, true).unwrap();
    let found = |index: &Index, queries: &[f32], rescore| {
        index.search_with(queries, SearchOptions { rescore, ..SearchOptions::new(10) })
    };
    let asked = [(one, 0), (many, 0), (one, 2)];
    let right = asked.map(|(queries, rescore)| found(&whole, queries, rescore).unwrap());
    let some = [3, 19_998, 20_005];
    let decoded = whole.reconstruct(&some).unwrap();
    drop(whole);

    let mut random = Numbers(11);
    let mut file = std::fs::File::options().write(true).open(&path).unwrap();
    let mut put = |at: usize, bytes: &[u8]| {
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(bytes).unwrap();
    };
    let [mut at_open, mut at_search, mut unread, mut unused] = [0; 4];
    for trial in 0..if quick() { 30 } else { 1_000 } {
        let mut damages = Vec::new();
        for _ in 0..1 + random.below(3) {
            let (at, len) = (random.below(bytes.len()), 1 + random.below(if trial % 2 == 0 { 8 } else { 5_000 }));
            let len = len.min(bytes.len() - at);
            damages.push((at, (0..len).map(|_| random.word() as u8).collect::<Vec<_>>()));
        }
        damages.iter().for_each(|(at, wrong)| put(*at, wrong));
        let what = format!("trial {trial}");
        match Index::open(&path, true) {
            Err(error) => {
                assert_reported(&error, bytes.len(), &what);
                assert!(error.to_string().contains(path.to_str().unwrap()), "{what}: {error}");
                at_open += 1;
            }
            Ok(index) => {
                // Either the bytes are reported or what is found is right; in whichever order one looks.
                let mut reported = false;
                for i in [trial % 3, (trial + 1) % 3, (trial + 2) % 3] {
                    let (queries, rescore) = asked[i];
                    match found(&index, queries, rescore) {
                        Ok(found) => assert_eq!(found, right[i], "{what}"),
                        Err(error) => {
                            assert_reported(&error, bytes.len(), &what);
                            reported = true;
                        }
                    }
                }
                match index.reconstruct(&some) {
                    Ok(found) => assert_eq!(found, decoded, "{what}"),
                    Err(error) => assert_reported(&error, bytes.len(), &what),
                }
                match index.verify() {
                    Err(error) => {
                        assert_reported(&error, bytes.len(), &what);
                        *(if reported { &mut at_search } else { &mut unread }) += 1;
                    }
                    Ok(()) => {
                        assert!(!reported, "{what}: what a search reports, all of it does");
                        unused += 1;
                    }
                }
            }
        }
        damages.iter().for_each(|(at, wrong)| put(*at, &bytes[*at..*at + wrong.len()]));
    }
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "what was damaged was put back");
    std::fs::remove_file(path).unwrap();
    let all = format!("at opening {at_open}, at a search {at_search}, only by verify {unread}, nowhere {unused}");
    // Nothing but damage to the newest commit record, or bytes that happen to be right, goes by.
    assert!(at_search > 0 && (quick() || at_open > 0) && unused <= 5, "{all}");
}
