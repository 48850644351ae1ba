//! Index files: what is opened, by map or not, finds what was saved; commits append; one writer at a time.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Folder, Numbers};
use turboquant_rs::{Error, Exec, FittedParts, Index, Keep, Metric, Options, RowIds, SearchOptions, TurboQuant};

/// Codecs of every kind of file: one stage, several, two-byte levels, a fitted one with a plain one beside it.
fn codecs() -> Vec<(&'static str, Arc<TurboQuant>)> {
    let plain = |dim, bits| Arc::new(TurboQuant::new(dim, bits, Options::default()).unwrap());
    vec![("1 bit", plain(1003, 1)), ("4 bits", plain(40, 4)), ("7 bits", plain(133, 7)), ("fitted", fitted())]
}

/// Eight axes that are the first coordinates: rows with their energy elsewhere are coded badly.
fn fitted() -> Arc<TurboQuant> {
    let dim = 32;
    let transform: Vec<i16> = (0..8 * dim).map(|i| if i % dim == i / dim { 32_000 } else { 0 }).collect();
    let parts = FittedParts {
        dim,
        center: None,
        transform: &transform,
        sigmas: &[0.35],
        segments: &[(8, 6)],
        order: &[0; 6],
        dual: None,
    };
    Arc::new(TurboQuant::from_parts(parts, Options::default()).unwrap())
}

/// Rows of which every third has its energy where `fitted` has no axis.
fn rows(dim: usize, n: usize, seed: u64) -> Vec<f32> {
    let mut x = Numbers(seed).floats(dim * n);
    for (i, row) in x.chunks_exact_mut(dim).enumerate() {
        let small = if i % 3 == 1 { 0..8.min(dim) } else { 8.min(dim)..dim };
        row[small].iter_mut().for_each(|value| *value *= 1e-3);
    }
    x
}

#[track_caller]
fn assert_same(one: &Index, other: &Index, what: &str) {
    assert_eq!(
        (one.len(), one.plain_rows(), one.ids().unwrap()),
        (other.len(), other.plain_rows(), other.ids().unwrap()),
        "{what}"
    );
    let queries = rows(one.codec().dim(), 11, 99);
    for (nq, k) in [(1, 5), (1, one.len() + 1), (11, 7)] {
        let queries = &queries[..nq * one.codec().dim()];
        assert_eq!(one.search(queries, k).unwrap(), other.search(queries, k).unwrap(), "{what}, {nq} queries, k = {k}");
    }
    let some: Vec<_> = one.ids().unwrap().iter().copied().step_by(5).collect();
    assert_eq!(one.reconstruct(&some).unwrap(), other.reconstruct(&some).unwrap(), "{what}");
}

#[test]
fn opened_indexes_find_what_saved_ones_do() {
    let folder = Folder::new("opened");
    for (name, codec) in codecs() {
        for metric in [Metric::InnerProduct, Metric::Cosine, Metric::L2] {
            for n in [0, 1, 63, 64, 130] {
                let mut index = Index::new(Arc::clone(&codec), metric);
                index.add(&rows(codec.dim(), n, 3), None).unwrap();
                let path = folder.file("index.tqi");
                index.save(&path).unwrap();
                let what = format!("{name}, {}, {n} rows", metric.name());
                assert_eq!(index.plain_rows() > 0, name == "fitted" && n > 1, "{what}");
                assert_eq!(std::fs::read(&path).unwrap(), index.to_bytes().unwrap(), "{what}");
                for map in [false, true] {
                    let opened = Index::open(&path, map).unwrap();
                    opened.verify().unwrap();
                    assert_same(&index, &opened, &what);
                    assert_eq!(opened.to_bytes().unwrap(), index.to_bytes().unwrap(), "{what}");
                }
            }
        }
    }
}

/// Rows whose chunk is mapped and not copied, since it has more than 1 MiB with scales and ids.
fn large(codec: &TurboQuant) -> usize {
    (1 << 20) / (codec.row_bytes() + 4 + 8) + 7
}

/// The codecs whose larger indexes are tried: with a first stage in blocks, and with a plain partition. An emulator tries one.
fn some_codecs() -> Vec<(&'static str, Arc<TurboQuant>)> {
    let tried = if common::quick() { &["fitted"][..] } else { &["4 bits", "fitted"] };
    codecs().into_iter().filter(|(name, _)| tried.contains(name)).collect()
}

#[test]
fn mapped_rows_and_those_in_memory_are_one_index() {
    let folder = Folder::new("mapped");
    for (name, codec) in some_codecs() {
        let dim = codec.dim();
        let (path, n) = (folder.file("index.tqi"), large(&codec));
        let x = rows(dim, n + 400, 5);
        let mut whole = Index::new(Arc::clone(&codec), Metric::L2);
        whole.add(&x[..n * dim], None).unwrap();
        whole.save(&path).unwrap();
        let mut mapped = Index::open(&path, true).unwrap();
        // A mapped index holds its rows where the file is; adding leaves them there.
        let mut at = n;
        for more in [1, 70, 29] {
            mapped.add(&x[at * dim..(at + more) * dim], None).unwrap();
            whole.add(&x[at * dim..(at + more) * dim], None).unwrap();
            at += more;
            assert_same(&whole, &mapped, name);
            mapped.commit().unwrap();
            assert_same(&whole, &Index::open(&path, true).unwrap(), name);
        }
        assert_eq!(mapped.to_bytes().unwrap(), whole.to_bytes().unwrap(), "{name}");
        assert_ne!(std::fs::read(&path).unwrap(), whole.to_bytes().unwrap(), "commits append");
        mapped.save(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole.to_bytes().unwrap(), "{name}: saving puts chunks together");
    }
}

#[test]
fn ids_come_back_and_new_ones_follow() {
    let folder = Folder::new("ids");
    let codec = Arc::new(TurboQuant::new(40, 4, Options::default()).unwrap());
    let path = folder.file("index.tqi");
    let ids: Vec<i64> = (0..50).map(|i| (i * 37) % 50 + 1000).collect();
    let mut index = Index::new(codec, Metric::InnerProduct);
    index.add(&rows(40, 50, 1), Some(&ids)).unwrap();
    index.save(&path).unwrap();
    index.add(&rows(40, 2, 2), Some(&[7, 1 << 40])).unwrap();
    index.commit().unwrap();
    for map in [false, true] {
        let mut opened = Index::open(&path, map).unwrap();
        assert_same(&index, &opened, "ids");
        assert_eq!(opened.add(&rows(40, 1, 3), Some(&[1003])), Err(Error::DuplicateId { id: 1003 }));
        assert_eq!(opened.add(&rows(40, 1, 3), None).unwrap(), [(1 << 40) + 1]);
    }
}

#[test]
fn removed_rows_stay_removed() {
    let folder = Folder::new("removed");
    for (name, codec) in codecs() {
        let (dim, path) = (codec.dim(), folder.file("index.tqi"));
        let mut index = Index::new(Arc::clone(&codec), Metric::L2);
        index.add(&rows(dim, 130, 3), None).unwrap();
        index.remove(&[0, 64, 129]).unwrap();
        index.save(&path).unwrap();
        let reopened = |index: &Index, what: &str, removed: usize| {
            for map in [false, true] {
                let opened = Index::open(&path, map).unwrap();
                opened.verify().unwrap();
                assert_same(index, &opened, &format!("{name}, {what}"));
                assert_eq!(opened.removed(), removed, "{name}, {what}");
            }
        };
        reopened(&index, "saved", 3);
        // Replaced rows, rows that go before they were ever committed, and rows alone that go.
        index.upsert(&rows(dim, 3, 4), &[5, 1, 200]).unwrap();
        index.remove(&[200, 7]).unwrap();
        index.commit().unwrap();
        reopened(&index, "replaced", 7);
        index.remove(&[8]).unwrap();
        index.commit().unwrap();
        reopened(&index, "removed", 8);
        let size = std::fs::metadata(&path).unwrap().len();
        index.commit().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), size, "nothing new, nothing written");
        // Compacting gives rows new numbers: the commit after it writes the file anew, and others go on from there.
        index.compact().unwrap();
        index.commit().unwrap();
        reopened(&index, "compacted", 0);
        assert!(std::fs::metadata(&path).unwrap().len() < size);
        index.remove(&index.ids().unwrap()).unwrap();
        index.commit().unwrap();
        reopened(&index, "emptied", 0);
        let mut opened = Index::open(&path, true).unwrap();
        assert_eq!(opened.add(&rows(dim, 1, 5), None).unwrap(), [201], "{name}: no id is assigned twice");
    }
}

#[test]
fn rows_of_a_mapped_file_can_go() {
    let folder = Folder::new("go");
    for (name, codec) in some_codecs() {
        let (dim, path, n) = (codec.dim(), folder.file("index.tqi"), large(&codec));
        let mut whole = Index::new(Arc::clone(&codec), Metric::InnerProduct);
        whole.add(&rows(dim, n, 5), None).unwrap();
        whole.save(&path).unwrap();
        let mut mapped = Index::open(&path, true).unwrap();
        for index in [&mut whole, &mut mapped] {
            index.remove(&(0..n as i64).step_by(9).collect::<Vec<_>>()).unwrap();
            index.upsert(&rows(dim, 2, 6), &[1, n as i64 + 5]).unwrap();
        }
        let before = std::fs::metadata(&path).unwrap().len();
        mapped.commit().unwrap();
        let added = std::fs::metadata(&path).unwrap().len() - before;
        assert!(added < 8 * n as u64, "{name}: {added} bytes appended");
        let again = Index::open(&path, true).unwrap();
        assert_eq!(again.removed(), whole.removed(), "{name}");
        for index in [&mapped, &again] {
            assert_same(&whole, index, name);
        }
        assert_eq!(again.to_bytes().unwrap(), whole.to_bytes().unwrap(), "{name}");
        mapped.compact().unwrap();
        mapped.commit().unwrap();
        let again = Index::open(&path, true).unwrap();
        assert_eq!((again.removed(), again.is_empty()), (0, false), "{name}");
        assert_same(&whole, &again, name);
    }
}

/// Adds or replaces rows under string ids.
fn upsert_names(index: &mut Index, x: &[f32], names: &[&str]) {
    index.add_with(x, RowIds::UpsertNames(names), Exec::default()).unwrap();
}

#[test]
fn string_ids_are_in_files() {
    let folder = Folder::new("names");
    let codec = Arc::new(TurboQuant::new(40, 4, Options::default()).unwrap());
    let path = folder.file("index.tqi");
    for n in [3, large(&codec)] {
        let names: Vec<_> = (0..n).map(|i| format!("row {i} {}", "ä".repeat(i % 3))).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let mut index = Index::new(Arc::clone(&codec), Metric::InnerProduct);
        upsert_names(&mut index, &rows(40, n, 1), &names);
        index.save(&path).unwrap();
        // The empty string is one, too; rows go and are replaced; a removal alone is a commit.
        upsert_names(&mut index, &rows(40, 3, 2), &["", names[1], "new"]);
        index.commit().unwrap();
        index.remove_names(&["new"]).unwrap();
        index.commit().unwrap();
        for map in [false, true] {
            let mut opened = Index::open(&path, map).unwrap();
            assert_eq!(opened.mapped_nbytes() > 0, map && n > 3);
            opened.verify().unwrap();
            assert_same(&index, &opened, "string ids");
            for name in ["", "new", names[0], names[1], names[n - 1]] {
                assert_eq!(opened.id_of_name(name).unwrap(), index.id_of_name(name).unwrap(), "{name}");
            }
            assert!(index.ids().unwrap().iter().all(|&id| opened.name(id).unwrap() == index.name(id).unwrap()));
            assert_eq!(opened.to_bytes().unwrap(), index.to_bytes().unwrap());
            let taken = opened.add_with(&rows(40, 1, 3), RowIds::NewNames(&[names[1]]), Exec::default());
            assert_eq!(taken, Err(Error::DuplicateName { name: names[1].to_owned() }));
            assert!(opened.add(&rows(40, 1, 3), None).is_err(), "integers among strings");
            upsert_names(&mut opened, &rows(40, 1, 3), &["more"]);
            assert_eq!(opened.id_of_name("more").unwrap(), Some(n as i64 + 3));
        }
        // Without rows ids are still strings.
        let all: Vec<_> = names.iter().copied().chain([""]).collect();
        index.remove_names(&all).unwrap();
        index.compact().unwrap();
        index.commit().unwrap();
        let opened = Index::open(&path, true).unwrap();
        assert_eq!((opened.len(), opened.named()), (0, true));
    }
}

#[test]
fn originals_are_in_files() {
    let folder = Folder::new("originals");
    let codec = Arc::new(TurboQuant::new(40, 2, Options::default()).unwrap());
    let path = folder.file("index.tqi");
    let rescored = |index: &Index| {
        let options = SearchOptions { rescore: 3, ..SearchOptions::new(5) };
        index.search_with(&rows(40, 4, 9), options).unwrap()
    };
    for keep in [Keep::Float32, Keep::Float16, Keep::BFloat16, Keep::Int8] {
        for n in [0, 70, if keep == Keep::Int8 || !common::quick() { (1 << 20) / 40 } else { 7 }] {
            let mut index = Index::keeping(Arc::clone(&codec), Metric::Cosine, keep);
            index.add(&rows(40, n, 1), None).unwrap();
            index.save(&path).unwrap();
            index.add(&rows(40, 80, 2), None).unwrap();
            index.upsert(&rows(40, 2, 3), &[n as i64 + 1, 3]).unwrap();
            index.commit().unwrap();
            for map in [false, true] {
                let mut opened = Index::open(&path, map).unwrap();
                assert_eq!((opened.keep(), opened.mapped_nbytes() > 0), (Some(keep), map && n > 70));
                opened.verify().unwrap();
                assert_same(&index, &opened, keep.name());
                assert_eq!(rescored(&opened), rescored(&index));
                assert_eq!(opened.to_bytes().unwrap(), index.to_bytes().unwrap());
                // A mapped index takes more, and what it takes back is found no more.
                let mut twin = index.clone();
                for index in [&mut opened, &mut twin] {
                    index.add(&rows(40, 3, 4), None).unwrap();
                    index.add(&[f32::NAN; 40], None).unwrap_err();
                    index.remove(&[5, n as i64 + 3]).unwrap();
                    index.compact().unwrap();
                }
                assert_eq!(rescored(&opened), rescored(&twin));
                assert_same(&twin, &opened, keep.name());
            }
        }
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The index whose file of two commits is tests/data/`name`-v1.tqi, and that file, made anew.
fn golden(name: &str, folder: &Folder) -> (Index, PathBuf) {
    let codec = if name.starts_with("fitted") {
        fitted()
    } else {
        let bits = if name.starts_with("one-bit") { 1 } else { 4 };
        Arc::new(TurboQuant::new(40, bits, Options { seed: 7, ..Options::default() }).unwrap())
    };
    let metric = if name.starts_with("fitted") { Metric::Cosine } else { Metric::L2 };
    let mut index =
        if name.contains("kept") { Index::keeping(codec, metric, Keep::Int8) } else { Index::new(codec, metric) };
    let dim = index.codec().dim();
    let names: Vec<_> = (0..75).map(|i| format!("{i}{}", "é".repeat(i % 4))).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    if name.contains("names") {
        upsert_names(&mut index, &rows(dim, 70, 1), &names[..70]);
    } else {
        index.add(&rows(dim, 70, 1), None).unwrap();
    }
    let path = folder.file(name);
    index.save(&path).unwrap();
    if name.contains("names") {
        upsert_names(&mut index, &rows(dim, 5, 2), &names[68..73]);
        index.remove_names(&names[..2]).unwrap();
    } else {
        index.add(&rows(dim, 5, 2), Some(&[900, 80, 81, 82, 1 << 50])).unwrap();
    }
    if name.contains("removed") {
        index.remove(&[3, 64, 80]).unwrap();
        index.upsert(&rows(dim, 1, 3), &[7]).unwrap();
    }
    index.commit().unwrap();
    (index, path)
}

const GOLDEN: [&str; 6] = ["plain", "one-bit", "fitted", "fitted-removed", "plain-names", "plain-kept"];

/// Files written on an x86-64 are those that every machine writes, and reads. `TURBOQUANT_WRITE_GOLDEN=1` writes them anew.
#[test]
fn golden_files_are_written_and_read_everywhere() {
    let folder = Folder::new("golden");
    for name in GOLDEN {
        let ((index, written), path) = (golden(name, &folder), data(&format!("{name}-v1.tqi")));
        if std::env::var_os("TURBOQUANT_WRITE_GOLDEN").is_some() {
            std::fs::copy(&written, &path).unwrap();
        }
        assert!(std::fs::read(&written).unwrap() == std::fs::read(&path).unwrap(), "{name}: bytes have moved");
        for map in [false, true] {
            assert_same(&index, &Index::open(&path, map).unwrap(), name);
        }
    }
}

/// Codes of 1 bit once stood in files row by row; such files are read, appended to and saved in today's form.
#[test]
fn codes_of_1_bit_are_read_from_rows_as_well() {
    let folder = Folder::new("one-bit-rows");
    let path = folder.file("index.tqi");
    std::fs::copy(data("one-bit-rows-v1.tqi"), &path).unwrap();
    let mut index = Index::open(&path, true).unwrap();
    assert_same(&index, &Index::from_bytes(&index.to_bytes().unwrap()).unwrap(), "in blocks");
    index.add(&rows(20, 70, 1), None).unwrap();
    index.commit().unwrap();
    assert_same(&index, &Index::open(&path, true).unwrap(), "both forms in one file");
}

/// First stages once lay in files in blocks of 64 rows, those of fitted codes with other bytes or bounds; such files are read, appended to
/// and saved in today's form.
#[test]
fn earlier_first_stages_are_cut_anew() {
    let folder = Folder::new("earlier-stages");
    let path = folder.file("index.tqi");
    for (today, earlier) in [
        ("one-bit", &["long-blocks"][..]),
        ("plain", &["long-blocks"]),
        ("fitted-removed", &["long-blocks", "smaller-stage", "other-bounds"]),
    ] {
        let (now, _) = golden(today, &folder);
        for (form, map) in earlier.iter().flat_map(|form| [(form, false), (form, true)]) {
            let name = format!("{today}-{form}-v1.tqi");
            std::fs::copy(data(&name), &path).unwrap();
            let mut index = Index::open(&path, map).unwrap();
            index.verify().unwrap();
            assert_same(&now, &index, &name);
            assert_eq!(index.to_bytes().unwrap(), now.to_bytes().unwrap(), "{name}");
            index.add(&rows(index.codec().dim(), 70, 4), None).unwrap();
            index.commit().unwrap();
            assert_same(&index, &Index::open(&path, map).unwrap(), "both forms in one file");
        }
    }
}

fn kind_of(error: &Error) -> std::io::ErrorKind {
    match error {
        Error::File { kind, .. } => *kind,
        error => panic!("an error of files, got {error}"),
    }
}

fn small(path: &Path) -> Index {
    let mut index = Index::new(Arc::new(TurboQuant::new(8, 2, Options::default()).unwrap()), Metric::InnerProduct);
    index.add(&rows(8, 3, 1), None).unwrap();
    index.save(path).unwrap();
    index
}

#[test]
fn one_index_writes_at_a_time() {
    use std::io::ErrorKind::{InvalidInput, WouldBlock};
    let folder = Folder::new("writers");
    let path = folder.file("index.tqi");
    let mut first = small(&path);
    let mut second = Index::open(&path, true).unwrap();
    let mut third = Index::open(&path, true).unwrap();
    for index in [&mut first, &mut second, &mut third] {
        index.add(&rows(8, 1, 7), None).unwrap();
    }
    first.commit().unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = second.commit().unwrap_err();
    assert_eq!(kind_of(&error), WouldBlock, "{error}");
    assert!(error.to_string().contains("one writer at a time"), "{error}");
    assert_eq!(kind_of(&second.save(&path).unwrap_err()), WouldBlock);
    assert_eq!(std::fs::read(&path).unwrap(), before, "a refused writer writes nothing");
    drop(first);
    let error = second.commit().unwrap_err();
    assert_eq!(kind_of(&error), InvalidInput, "{error}");
    assert!(error.to_string().contains("open it again"), "{error}");
    // Saving needs no knowledge of what is there, and the file is another one then.
    second.save(&path).unwrap();
    assert_eq!(kind_of(&third.commit().unwrap_err()), InvalidInput);
    second.add(&rows(8, 1, 8), None).unwrap();
    second.commit().unwrap();
    assert_same(&second, &Index::open(&path, true).unwrap(), "after saving");
}

#[test]
fn a_writer_that_saves_stays_the_writer() {
    let folder = Folder::new("stays");
    let path = folder.file("index.tqi");
    let mut index = small(&path);
    index.add(&rows(8, 1, 7), None).unwrap();
    index.commit().unwrap();
    index.save(&path).unwrap();
    let other = Index::open(&path, false).unwrap();
    assert_eq!(kind_of(&other.save(&path).unwrap_err()), std::io::ErrorKind::WouldBlock);
    index.add(&rows(8, 1, 8), None).unwrap();
    index.commit().unwrap();
    assert_same(&index, &Index::open(&path, true).unwrap(), "after saving");
}

#[test]
fn errors_of_files_name_them() {
    use std::io::ErrorKind::{IsADirectory, NotFound};
    let folder = Folder::new("errors");
    let nowhere = folder.file("nowhere").join("index.tqi");
    let index = small(&folder.file("index.tqi"));
    for (error, kind) in [
        (Index::open(&nowhere, true).unwrap_err(), NotFound),
        (index.save(&nowhere).unwrap_err(), NotFound),
        (index.save(&folder.0).unwrap_err(), IsADirectory),
        (Index::open(&folder.0, true).unwrap_err(), IsADirectory),
        (index.clone().commit().unwrap_err(), NotFound),
    ] {
        assert_eq!(kind_of(&error), kind, "{error}");
    }
    assert!(index.save(&nowhere).unwrap_err().to_string().contains("nowhere"));
    std::fs::write(folder.file("empty"), []).unwrap();
    for map in [false, true] {
        let error = Index::open(folder.file("empty"), map).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }) && error.to_string().contains("empty"), "{error}");
    }
    let left: Vec<_> = std::fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "no temporary file is left: {left:?}");
}

#[test]
fn searches_of_a_mapped_index_are_alike_at_every_level() {
    let folder = Folder::new("levels");
    for (name, codec) in some_codecs() {
        let path = folder.file("index.tqi");
        let mut index = Index::new(Arc::clone(&codec), Metric::InnerProduct);
        index.add(&rows(codec.dim(), large(&codec), 4), None).unwrap();
        index.save(&path).unwrap();
        let query = rows(codec.dim(), 1, 6);
        for level in common::levels() {
            let exec = Exec { level: Some(level), serial: true };
            let mapped = Index::open(&path, true).unwrap();
            let found = mapped.search_with(&query, SearchOptions { exec, ..SearchOptions::new(10) }).unwrap();
            assert_eq!(found, index.search(&query, 10).unwrap(), "{name}, {}", level.name());
        }
    }
}
