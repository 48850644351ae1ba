//! Bytes of format version 0 (`data/v0`, written before version 1 was frozen and never again) are read as what they were written from.
//!
//! tests/parity/test_version_0.py holds the package and the reference to the same files.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::Folder;
use turboquant_rs::papers::{PaperCodec, PaperCodes, PolarQuant, ProjectionKind, Qjl, Radius, TurboQuantProd};
use turboquant_rs::{
    Codes, Error, FORMAT_VERSION, FittedParts, Header, Index, Metric, Options, RotationKind, Scale, TurboQuant,
};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/v0").join(name)
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap()
}

/// Rows of which every third has its energy behind the first eight coordinates. Every number is exact.
fn rows(n: usize, dim: usize, from: usize) -> Vec<f32> {
    let value = |at: usize| {
        let small = (at / dim % 3 == 1) == (at % dim < 8);
        (((from + at) * 37 % 101) as f32 - 50.0) / if small { 16.0 * 1024.0 } else { 16.0 }
    };
    (0..n * dim).map(value).collect()
}

fn plain() -> TurboQuant {
    TurboQuant::new(24, 4, Options { seed: 7, ..Options::default() }).unwrap()
}

/// Eight axes that are the first coordinates: every third row is coded badly.
fn fitted() -> TurboQuant {
    let transform: Vec<i16> = (0..8 * 32).map(|at| if at % 32 == at / 32 { 32_000 } else { 0 }).collect();
    let parts = FittedParts {
        dim: 32,
        center: None,
        transform: &transform,
        sigmas: &[0.35],
        segments: &[(8, 6)],
        order: &[0; 6],
        dual: None,
    };
    TurboQuant::from_parts(parts, Options::default()).unwrap()
}

/// The bytes that today's writer makes of what was read, and those of version 0: they differ in the version and the header's checksum.
#[track_caller]
fn assert_same_layout(name: &str, written: &[u8], checksum_at: usize) {
    let mut bytes = written.to_vec();
    assert_eq!(bytes[6..8], FORMAT_VERSION.to_le_bytes(), "{name}: what is written is of the newest version");
    bytes[6..8].fill(0);
    let checksum = crc32fast::hash(&bytes[..checksum_at]);
    bytes[checksum_at..checksum_at + 4].copy_from_slice(&checksum.to_le_bytes());
    assert!(bytes == read(name), "{name}");
}

#[test]
fn codes_and_codecs_of_version_0_are_those_made_today() {
    let options = Options { scale: Scale::Mse, rotation: RotationKind::Dense, ..Options::default() };
    let dense = TurboQuant::new(24, 3, options).unwrap();
    let split = TurboQuant::split(24, [4, 2], &[1, 5, 20], Options::default()).unwrap();
    let encoded = |codec: &TurboQuant| codec.encode(&rows(5, codec.dim(), 0)).unwrap();
    for (name, codec, codes, checksum_at) in [
        ("plain.tq", plain(), encoded(&plain()), 56),
        ("cut.tq", plain(), plain().truncate(&encoded(&plain()), 2).unwrap(), 56),
        ("dense.tq", dense.clone(), encoded(&dense), 56),
        ("split.tq", split.clone(), encoded(&split), 68),
        ("fitted.tq", fitted(), encoded(&fitted()), 60),
        ("plain.tqc", plain(), plain().encode(&[]).unwrap(), 56),
        ("fitted.tqc", fitted(), fitted().encode(&[]).unwrap(), 60),
    ] {
        let before = Codes::from_bytes(&read(name)).unwrap();
        assert_eq!(before, codes, "{name}");
        assert_eq!((before.spec(), before.fingerprint()), (codec.spec(), codec.fingerprint()), "{name}");
        let query = rows(1, codec.dim(), 3);
        assert_eq!(codec.score(&query, &before).unwrap(), codec.score(&query, &codes).unwrap(), "{name}");
        assert_same_layout(name, &before.to_bytes(), checksum_at);
    }
    let qjl = Qjl::new(16, 40, ProjectionKind::Gaussian, 0).unwrap();
    let prod = TurboQuantProd::new(16, 3, ProjectionKind::Gaussian, 0).unwrap();
    let polar = PolarQuant::new(16, &[4, 2, 2, 2], Radius::Float32, 0).unwrap();
    for (name, codes) in [
        ("qjl.tq", qjl.encode(&rows(5, 16, 0))),
        ("prod.tq", prod.encode(&rows(5, 16, 0))),
        ("polar.tq", polar.encode(&rows(5, 16, 0))),
    ] {
        let before = PaperCodes::from_bytes(&read(name)).unwrap();
        assert_eq!(before, codes.unwrap(), "{name}");
        assert_same_layout(name, &before.to_bytes(), 68);
    }
}

#[test]
fn index_files_with_codecs_of_version_0_are_opened_appended_to_and_saved() {
    let folder = Folder::new("version-0");
    let found = |index: &Index| index.search(&rows(7, index.codec().dim(), 11), 9).unwrap();
    for (name, codec, metric) in [("plain.tqi", plain(), Metric::L2), ("fitted.tqi", fitted(), Metric::Cosine)] {
        let dim = codec.dim();
        let mut anew = Index::new(Arc::new(codec), metric);
        anew.add(&rows(70, dim, 0), None).unwrap();
        anew.add(&rows(5, dim, 9), None).unwrap();
        anew.remove(&[3, 64]).unwrap();
        let file = folder.file(name);
        for map in [false, true] {
            let mut anew = anew.clone();
            std::fs::copy(path(name), &file).unwrap();
            let mut index = Index::open(&file, map).unwrap();
            index.verify().unwrap();
            assert_eq!(index.codec().spec(), anew.codec().spec(), "{name}");
            assert_eq!((index.ids().unwrap(), found(&index)), (anew.ids().unwrap(), found(&anew)), "{name}");
            // Codes of a codec that was made today go into it.
            let more = anew.codec().encode(&rows(66, dim, 5)).unwrap();
            for index in [&mut index, &mut anew] {
                index.add(&rows(66, dim, 5), None).unwrap();
                assert_eq!(index.codec().score(&rows(1, dim, 3), &more).unwrap().len(), 66);
            }
            index.commit().unwrap();
            let (bytes, before) = (std::fs::read(&file).unwrap(), read(name));
            let codec_end = 1_536 + usize::from(u16::from_le_bytes([before[8], before[9]]));
            assert!(bytes[..512] == before[..512] && bytes[1_536..codec_end] == before[1_536..codec_end], "{name}");
            assert_eq!(bytes[1_542..1_544], [0, 0], "{name}: its codec stays of version 0");
            for map in [false, true] {
                let again = Index::open(&file, map).unwrap();
                again.verify().unwrap();
                assert_eq!(found(&again), found(&anew), "{name}");
            }
            index.save(&file).unwrap();
            let saved = std::fs::read(&file).unwrap();
            assert_eq!(
                saved[1_542..1_544],
                FORMAT_VERSION.to_le_bytes(),
                "{name}: a file that is written anew is of version 1"
            );
            assert!(saved == anew.to_bytes().unwrap(), "{name}");
        }
    }
}

#[test]
fn version_2_is_refused() {
    let newer = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at..at + 2].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
        bytes
    };
    let error = Error::Version { of: "code bytes", found: 2, newest: 1 };
    for name in ["plain.tq", "fitted.tqc", "split.tq"] {
        assert_eq!(Codes::from_bytes(&newer(&read(name), 6)).unwrap_err(), error, "{name}");
        assert_eq!(Header::parse(&newer(&read(name), 6)).unwrap_err(), error, "{name}");
    }
    assert_eq!(PaperCodes::from_bytes(&newer(&read("qjl.tq"), 6)).unwrap_err(), error);
    // In an index file the codec's checksum, then the header's, are made right again.
    let mut bytes = newer(&read("plain.tqi"), 1_542);
    let checksum = crc32fast::hash(&bytes[1_536..1_600]);
    bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..28]);
    bytes[28..32].copy_from_slice(&checksum.to_le_bytes());
    assert_eq!(Index::from_bytes(&bytes).unwrap_err(), error);
}
