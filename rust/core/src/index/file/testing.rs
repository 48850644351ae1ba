//! A file in memory that remembers every call, so that tests can stop a writer at any of them.

use std::io;

use crate::kernels::testing::floats;
use crate::storage::Disk;
use crate::{Index, Metric, Options, TurboQuant};

/// A call of a writer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Call {
    Write(u64, Vec<u8>),
    Cut(u64),
    Sync,
    Rename,
    SyncFolder,
}

/// Notes what a writer does; nothing is written.
#[derive(Debug, Default)]
pub(super) struct Notes(pub(super) Vec<Call>);

impl Disk for Notes {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.push(Call::Write(at, bytes.to_vec()));
        Ok(())
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.0.push(Call::Cut(len));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.push(Call::Sync);
        Ok(())
    }

    fn rename(&mut self) -> io::Result<()> {
        self.0.push(Call::Rename);
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.0.push(Call::SyncFolder);
        Ok(())
    }
}

/// An index of `rows` rows of a small codec.
pub(super) fn small(rows: usize) -> Index {
    let codec = TurboQuant::new(24, 3, Options { seed: 5, ..Options::default() }).unwrap();
    let mut index = Index::new(codec.into(), Metric::L2);
    index.add(&floats(24 * rows, 8), None).unwrap();
    index
}

/// Adds rows.
pub(super) fn add(index: &mut Index, rows: usize) {
    let x = floats(24 * rows, index.len() as u64);
    index.add(&x, None).unwrap();
}

/// A whole file, and its record.
pub(super) fn file_of(index: &Index) -> (Vec<u8>, super::counted::Counted) {
    let mut bytes = Vec::new();
    let counted = super::write::whole(index, &mut bytes).unwrap();
    (bytes, counted)
}
