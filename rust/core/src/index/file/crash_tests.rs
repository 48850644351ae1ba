//! A writer that stops at any call, with any part of what it had not synchronised on the device: the file is what it was, or what it
//! became.

use super::counted::Counted;
use super::home::{append, repair, save};
use super::read;
use super::testing::{Call, Notes, add, file_of, small};
use super::write;
use crate::Index;
use crate::kernels::testing::floats;
use crate::rng::derive;

/// What may be on the device after some calls: everything that was synchronised, and of the writes after that each one, or a first part of
/// it, or nothing. `choose(n)` picks a number below n.
fn device(before: &[u8], calls: &[Call], mut choose: impl FnMut(usize) -> usize) -> Vec<u8> {
    let synced = calls.iter().rposition(|call| *call == Call::Sync).unwrap_or(0);
    let mut bytes = before.to_vec();
    for (i, call) in calls.iter().enumerate() {
        let safe = i < synced;
        match call {
            Call::Write(at, data) => {
                let kept = if safe { data.len() } else { choose(data.len() + 1) };
                let at = *at as usize;
                // A file may grow and its bytes still be missing; they are zeros then.
                if safe || choose(2) == 1 {
                    bytes.resize(bytes.len().max(at + data.len()), 0);
                }
                let end = bytes.len().min(at + kept);
                if at < end {
                    bytes[at..end].copy_from_slice(&data[..end - at]);
                }
            }
            Call::Cut(len) if safe || choose(2) == 1 => bytes.truncate(*len as usize),
            _ => {}
        }
    }
    bytes
}

/// Choices from a seed; of the first seeds the extremes: nothing arrives, everything does.
fn choices(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |n| match seed {
        0 => 0,
        1 => n - 1,
        _ => {
            state = state.wrapping_add(1 << 32);
            (derive(state, &[]) % n as u64) as usize
        }
    }
}

const CHOICES: u64 = 24;

/// Checks every moment of an append to `before`, a file that counts `last`: what is read is `old` or `new`, and once the
/// append has returned, `new`. Returns the files that were tried.
fn check_append(before: &[u8], last: &Counted, old: &Index, new: &Index) -> Vec<Vec<u8>> {
    let mut notes = Notes::default();
    append(new, &mut notes, last).unwrap();
    let calls = notes.0;
    assert!(calls.iter().filter(|call| **call == Call::Sync).count() == 2, "one for the chunk, one for the record");
    let mut tried = Vec::new();
    let (mut olds, mut news) = (0, 0);
    let [old, new] = [old, new].map(|index| index.to_bytes().unwrap());
    for stop in 0..=calls.len() {
        for seed in 0..CHOICES {
            let bytes = device(before, &calls[..stop], choices(seed + stop as u64 * u64::from(seed > 1) * 1000));
            let index = Index::from_bytes(&bytes).unwrap_or_else(|error| panic!("stopped at {stop}, {seed}: {error}"));
            let found = index.to_bytes().unwrap();
            let is_new = found == new;
            assert!(is_new || found == old, "stopped at {stop}, {seed}: {} rows", index.len());
            assert!(is_new || stop < calls.len(), "what was committed is there");
            olds += usize::from(!is_new);
            news += usize::from(is_new);
            tried.push(bytes);
        }
    }
    assert!(olds > 0 && news > 0);
    tried
}

#[test]
fn a_stopped_commit_leaves_the_rows_before_or_after() {
    for (rows, more) in [(0, 1), (5, 1), (64, 70), (70, 64)] {
        let old = small(rows);
        let (before, last) = file_of(&old);
        let mut new = old.clone();
        add(&mut new, more);
        check_append(&before, &last, &old, &new);
    }
}

#[test]
fn a_stopped_commit_of_removals_leaves_the_rows_before_or_after() {
    for (rows, more, gone) in [(50, 0, &[1_i64][..]), (70, 3, &[0, 3, 69, 71]), (64, 0, &[5, 63])] {
        let mut old = small(rows);
        old.remove(&[2]).unwrap();
        let (before, last) = file_of(&old);
        let mut new = old.clone();
        add(&mut new, more);
        new.remove(gone).unwrap();
        assert_eq!(new.removed(), 1 + gone.len());
        check_append(&before, &last, &old, &new);
    }
}

#[test]
fn commits_of_removals_are_one_index() {
    let mut index = small(80);
    let (mut bytes, mut last) = file_of(&index);
    for id in 0..6 {
        index.remove(&[id]).unwrap();
        if id % 2 == 0 {
            index.upsert(&floats(24, id as u64), &[79 - id]).unwrap();
        }
        let size = bytes.len();
        last = append(&index, &mut bytes, &last).unwrap().expect("something new");
        assert!(bytes.len() < size + 1_100, "a commit writes what is new");
        let read = Index::from_bytes(&bytes).unwrap();
        assert_eq!(
            (read.len(), read.removed(), read.ids().unwrap()),
            (index.len(), index.removed(), index.ids().unwrap())
        );
        assert_eq!(read.to_bytes().unwrap(), index.to_bytes().unwrap());
    }
    assert_eq!((index.len(), last.record.rows), (74, 83));
}

#[test]
fn commits_after_a_stopped_one_may_stop_too() {
    let old = small(10);
    let (before, last) = file_of(&old);
    let mut new = old.clone();
    add(&mut new, 3);
    new.remove(&[1, 11]).unwrap();
    for left in check_append(&before, &last, &old, &new).into_iter().step_by(7) {
        // The next writer reads what is left, and goes on from there; a record that it found damaged it writes again first.
        let (index, counted, damaged) = read::index(&left, None).unwrap();
        let record = counted.record;
        let mut bytes = left;
        if damaged {
            let mut notes = Notes::default();
            repair(&mut notes, record).unwrap();
            for stop in 0..=notes.0.len() {
                for seed in 0..CHOICES {
                    let bytes = device(&bytes, &notes.0[..stop], choices(seed));
                    assert_eq!(Index::from_bytes(&bytes).unwrap().len(), index.len());
                }
            }
            repair(&mut bytes, record).unwrap();
        }
        let mut next = index.clone();
        add(&mut next, 2);
        check_append(&bytes, &counted, &index, &next);
    }
}

#[test]
fn a_saved_file_is_whole_before_it_takes_its_place() {
    let index = small(100);
    let mut notes = Notes::default();
    save(&index, &mut notes).unwrap();
    let [writes @ .., Call::Sync, Call::Rename, Call::SyncFolder] = &notes.0[..] else { panic!("{:?}", notes.0) };
    assert!(writes.iter().all(|call| matches!(call, Call::Write(..))));
    // After the rename, the synchronised file is what counts.
    let bytes = device(&[], &notes.0[..writes.len() + 1], |_| unreachable!("everything is synchronised"));
    assert_eq!(bytes, index.to_bytes().unwrap());
}

#[test]
fn many_commits_are_one_index() {
    let mut index = small(3);
    let (mut bytes, mut last) = file_of(&index);
    for more in [1, 2, 64, 1, 63, 200] {
        add(&mut index, more);
        last = append(&index, &mut bytes, &last).unwrap().expect("something new");
        let mut notes = Notes::default();
        assert!(
            append(&index, &mut notes, &last).unwrap().is_none() && notes.0.is_empty(),
            "nothing new, nothing written"
        );
        let read = Index::from_bytes(&bytes).unwrap();
        assert_eq!(read.to_bytes().unwrap(), index.to_bytes().unwrap());
    }
    assert_eq!(last.record.sequence, 7);
    assert_eq!(write::codec_bytes(&index), write::codec_bytes(&Index::from_bytes(&bytes).unwrap()));
}
