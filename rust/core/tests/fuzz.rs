//! The harness that fuzzers call (`make fuzz`, rust/fuzz), on their seeds, on golden files and on random damages of both whose checksums
//! were made right again: what a file's checksums let through, the reader must bear.

mod common;
#[path = "fuzz/harness.rs"]
mod harness;

use std::path::Path;

use common::{Numbers, quick};
use turboquant_rs::Index;
use turboquant_rs::papers::PaperCodes;

const PLAIN: &[u8] = include_bytes!("data/plain-v1.tqi");
const FITTED: &[u8] = include_bytes!("data/fitted-v1.tqi");
const REMOVED: &[u8] = include_bytes!("data/fitted-removed-v1.tqi");
const KEPT: &[u8] = include_bytes!("data/plain-kept-v1.tqi");
const NAMES: &[u8] = include_bytes!("data/plain-names-v1.tqi");

/// The seeds of a fuzz target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(target);
    let mut files: Vec<_> = folder.read_dir().expect("seeds").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(files.len() >= 3, "{} holds seeds", folder.display());
    files.iter().map(|file| std::fs::read(file).expect("a file")).collect()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn put_crc(bytes: &mut [u8], of: std::ops::Range<usize>, at: usize) -> Option<u32> {
    let crc = crc32fast::hash(bytes.get(of)?);
    bytes.get_mut(at..at + 4)?.copy_from_slice(&crc.to_le_bytes());
    Some(crc)
}

/// Makes the checksums of an index file right, as far as it still has the parts that docs/format.md names.
fn seal_index(bytes: &mut [u8]) -> Option<()> {
    let codec = 1_536..1_536_usize.checked_add(u64_at(bytes, 8)? as usize)?;
    put_crc(bytes, codec.clone(), 16)?;
    let mut chain = put_crc(bytes, 0..28, 28)?;
    let mut at = codec.end.checked_next_multiple_of(64)?;
    let end = [512, 1_024].into_iter().filter_map(|at| u64_at(bytes, at + 8)).max()?.min(bytes.len() as u64) as usize;
    while at < end {
        let sections = usize::from(u16::from_le_bytes(bytes.get(at + 6..at + 8)?.try_into().ok()?));
        let mut crc_at = at + 64 + 32 * sections;
        for entry in (0..sections).map(|i| at + 64 + 32 * i) {
            let (start, len) =
                (at.checked_add(u64_at(bytes, entry + 8)? as usize)?, u64_at(bytes, entry + 16)? as usize);
            let end = start.checked_add(len.checked_next_multiple_of(64)?)?;
            for block in (start..end).step_by(1 << 16) {
                put_crc(bytes, block..end.min(block.checked_add(1 << 16)?), crc_at)?;
                crc_at += 4;
            }
        }
        bytes.get_mut(at + 48..at + 52)?.copy_from_slice(&chain.to_le_bytes());
        chain = put_crc(bytes, at..crc_at, crc_at)?;
        at = at.checked_add(u64_at(bytes, at + 16).filter(|&len| len > 0)? as usize)?;
    }
    let newest = if u64_at(bytes, 512)? > u64_at(bytes, 1_024)? { 512 } else { 1_024 };
    bytes[newest + 24..newest + 28].copy_from_slice(&chain.to_le_bytes());
    // A file that was never appended to has one record.
    let records = [512, 1_024].into_iter().filter(|&at| bytes[at..at + 64] != [0; 64]).collect::<Vec<_>>();
    records.into_iter().try_for_each(|at| put_crc(bytes, at..at + 60, at + 60).map(|_| ()))
}

/// Makes the checksum of the header of code bytes right; those of its sections stay, so damage there is met as such.
fn seal_header(bytes: &mut [u8]) -> Option<()> {
    let fitted = usize::from(*bytes.get(30)? >> 7);
    let end = 40 + 8 * usize::from(*bytes.get(31)?) + 4 * (3 + fitted);
    put_crc(bytes, 0..end - 4, end - 4).map(|_| ())
}

/// Calls `check` on the bytes and on damages of them: wrong bytes, cut, doubled and zeroed runs, numbers at their limits.
fn run(seed: &[u8], random: &mut Numbers, seal: impl Fn(&mut [u8]) -> Option<()>, check: impl Fn(&[u8])) {
    check(seed);
    for trial in 0..if quick() { 60 } else { 1_000 } {
        let mut bytes = seed.to_vec();
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len());
            let len = (1 + random.below(9)).min(bytes.len() - at);
            match random.below(6) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at..at + len].fill(0),
                2 => bytes[at..at + len].fill(0xFF),
                3 => bytes[at] = bytes[at].wrapping_add(1),
                4 if trial % 8 == 0 => bytes.truncate(at.max(1)),
                _ => bytes[at] = random.word() as u8,
            }
        }
        // Some as they are, so that checksums are met, too.
        if trial % 4 != 0 {
            let _ = seal(&mut bytes);
        }
        check(&bytes);
    }
}

#[test]
fn any_index_file_is_an_error_or_an_index() {
    let golden = [PLAIN, FITTED, REMOVED, NAMES, KEPT].map(<[u8]>::to_vec);
    for seed in seeds("index_file").into_iter().chain(golden) {
        let mut sealed = seed.clone();
        seal_index(&mut sealed).expect("a whole file");
        assert!(Index::from_bytes(&seed).is_ok(), "a seed is a whole file");
        assert!(sealed == seed, "the checksums of a whole file are right");
        run(&seed, &mut Numbers(1), seal_index, harness::index_file);
    }
}

/// String ids of no writer, under checksums that are right.
#[test]
fn wrong_string_ids_are_refused() {
    // Those of the first chunk: "0", "1é", "2éé", "3ééé", "4" …
    let at = NAMES.windows(4).position(|bytes| bytes == "01é".as_bytes()).unwrap();
    let put = |at: usize, wrong: &[u8]| {
        let mut bytes = NAMES.to_vec();
        bytes[at..at + wrong.len()].copy_from_slice(wrong);
        seal_index(&mut bytes).unwrap();
        Index::from_bytes(&bytes).map(drop).expect_err("refused").to_string()
    };
    let error = put(at + 2, b"x");
    assert!(error.contains(&format!("string ids hold bytes that are not UTF-8 at byte {}", at + 3)), "{error}");
    let twice = NAMES.windows(2).position(|bytes| bytes == b"8\x39").unwrap();
    let error = put(twice, b"4");
    assert!(error.contains("string ids hold \"4\" twice"), "{error}");
    // The ends come before: 1, 4, 9 …
    let ends = NAMES.windows(16).position(|bytes| bytes[0] == 1 && bytes[8] == 4 && bytes[1..8] == [0; 7]).unwrap();
    for wrong in [0_u64, 3, u64::MAX] {
        let error = put(ends + 8, &wrong.to_le_bytes());
        assert!(error.contains("string ids"), "{error}");
    }
}

#[test]
fn any_codec_header_is_an_error_or_a_codec() {
    for seed in seeds("codec_header") {
        run(&seed, &mut Numbers(2), seal_header, harness::codec_header);
    }
}

#[test]
fn any_bytes_of_codes_are_an_error_or_codes() {
    let mut papers = 0;
    for seed in seeds("codes") {
        if PaperCodes::from_bytes(&seed).is_ok() {
            papers += 1;
            run(&seed, &mut Numbers(6), |bytes| put_crc(bytes, 0..68, 68).map(|_| ()), harness::codes);
        } else {
            run(&seed, &mut Numbers(4), seal_header, harness::codes);
        }
    }
    assert!(papers >= 3, "seeds of the papers' codes are codes");
}
