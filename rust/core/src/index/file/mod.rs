//! Index files, version 1 (docs/format.md): writing, opening by map, appending, verifying.
//!
//! ```text
//! header | commit records 0, 1 | codec | chunk | chunk | …        chunk: head with a table of sections and checksums | sections
//! ```
//! A commit appends a chunk, synchronises, then writes the record that makes it count, and synchronises. Bytes that count are never
//! written again, so a map of them stays valid.

mod additions;
mod counted;
mod home;
mod layout;
mod read;
mod refresh;
mod write;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod testing;

use std::path::Path;

use super::Index;
use super::originals::Originals;
use super::partition::Partition;
use crate::error::Result;
pub(super) use additions::Chunk;
pub(super) use home::Home;
pub use layout::INDEX_VERSION;
pub(super) use layout::{Entry, Kind};

impl Index {
    /// Writes the index to a file of its own, which takes the place of what is at `path` as a whole: a crash leaves either one.
    /// From then on [`commit`](Self::commit) appends to it. Removed rows are in the file, marked as such, until [`compact`](Self::compact)
    /// takes their place back.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) if the file cannot be written, or another index writes to the one at `path`;
    /// [`Error::Corrupt`](crate::Error::Corrupt) if this index is mapped and its file is damaged. What is at `path` is then unchanged.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use turboquant_rs::{Index, Metric, Options, TurboQuant};
    /// let mut index = Index::new(Arc::new(TurboQuant::new(4, 8, Options::default())?), Metric::L2);
    /// index.add(&[1.0, 0.0, 0.0, 0.0], None)?;
    /// let path = std::env::temp_dir().join(format!("turboquant-doc-{}.tqi", std::process::id()));
    /// index.save(&path)?;
    /// index.add(&[0.0, 1.0, 0.0, 0.0], None)?;
    /// index.commit()?; // appends the second row
    /// let mapped = Index::open(&path, true)?;
    /// assert_eq!(mapped.search(&[0.1, 0.9, 0.0, 0.0], 2)?.ids, [1, 0]);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), turboquant_rs::Error>(())
    /// ```
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.home.save(self, path.as_ref())
    }

    /// Appends the rows that were added since the last [`save`](Self::save), commit or [`open`](Self::open) to the file, and which were
    /// removed, and returns when that is on the device. A crash leaves the rows before or after; a reader sees the rows before until it opens
    /// the file again. After [`compact`](Self::compact), which also removals come to by themselves, rows have other numbers than in the
    /// file: the file is then written anew as by `save`.
    ///
    /// The first commit makes this index the file's writer until it is dropped: an operating system's lock refuses every other.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) without a file, if it cannot be written, if another index is its writer, or if
    /// it is not what this index has read or written last. What was committed before still counts.
    pub fn commit(&self) -> Result<()> {
        self.home.commit(self)
    }

    /// Opens an index file. With `map` its arrays stay in the file, are searched in place and shared between processes; opening reads the
    /// header and the chunks' heads, and every block of 64 KiB is compared with its checksum before it is first used. Without, everything is read and
    /// compared at once. Chunks of less than 1 MiB are copied into memory either way.
    ///
    /// A mapped file must not be cut short or written by anything but this library. Rows that are added are kept in memory.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) if the file cannot be read, [`Error::Version`](crate::Error::Version) for a newer format,
    /// [`Error::Corrupt`](crate::Error::Corrupt) with section and offset if it is damaged. Searches of a mapped index return that last one, too.
    pub fn open(path: impl AsRef<Path>, map: bool) -> Result<Self> {
        read::open(path.as_ref(), map)
    }

    /// Opens several index files of one codec, metric and form of originals as one index, as [`open`](Self::open) does each: it answers
    /// as if their rows had been added one file after the other. Ids are copied into memory, arrays stay in mapped files. The index belongs
    /// to no file; [`save`](Self::save) merges them into one, without encoding again.
    ///
    /// # Errors
    /// As for [`open`](Self::open); [`Error::Argument`](crate::Error::Argument) for no path, and where files do not fit together or have an id in common.
    pub fn open_all<P: AsRef<Path>>(paths: &[P], map: bool) -> Result<Self> {
        read::open_all(&paths.iter().map(AsRef::as_ref).collect::<Vec<_>>(), map)
    }

    /// Brings an index that was opened from a file, and not changed since, to what others have committed there: new chunks are read and the
    /// others left as they are; a file that was saved anew is opened anew, and filters made before are then refused. Returns whether there
    /// was anything.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) for an index without a file or with changes that are not committed, as for [`open`](Self::open),
    /// and for a file that is an index of another kind now. The index is then unchanged.
    pub fn refresh(&mut self) -> Result<bool> {
        refresh::refresh(self)
    }

    /// Compares what is mapped with its checksums, all of it; blocks that were compared are not read again.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) with section and offset.
    pub fn verify(&self) -> Result<()> {
        self.ids.check_all()?;
        self.ids.check_distinct(false)?;
        self.originals.iter().try_for_each(Originals::check_all)?;
        self.partitions.iter().try_for_each(Partition::check_all)
    }

    /// The bytes that [`save`](Self::save) writes.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if this index is mapped and its file is damaged.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        write::whole(self, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads [`to_bytes`](Self::to_bytes)'s bytes, or those of a file, which are compared with their checksums.
    ///
    /// # Errors
    /// [`Error::Version`](crate::Error::Version) for a newer format, [`Error::Corrupt`](crate::Error::Corrupt) with section and offset.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        read::index(bytes, None).map(|(index, ..)| index)
    }
}
