//! The file that an index belongs to: what of the index is in it, and the right to write to it.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::counted::Counted;
use super::layout::{CODEC_AT, Header, Record};
use super::write;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::storage::{Disk, OpenFile};

/// Where an index is stored, behind a lock that is held while its file is written.
#[derive(Debug, Default)]
pub(in crate::index) struct Home(Mutex<Place>);

impl Clone for Home {
    /// That of a copy, which belongs to no file.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Home {
    /// That of an index that was read from a file.
    pub(super) fn opened(path: &Path, file: &File, map: bool, counted: Counted, repair: bool) -> io::Result<Self> {
        let stored = Stored { path: std::path::absolute(path)?, identity: identity(file)?, map, counted, repair };
        Ok(Self(Mutex::new(Place { stored: Some(stored), ..Place::default() })))
    }

    /// Writes an index as a whole, and makes that its home.
    pub(super) fn save(&self, index: &Index, path: &Path) -> Result<()> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = place.save(index, path)?;
        *place = saved;
        Ok(())
    }

    /// Notes that rows have taken new numbers, which chunks that follow on those of the file cannot say.
    pub(in crate::index) fn renumbered(&mut self) {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).renumbered = true;
    }

    /// Where an index is stored that has nothing beyond its file; none if it is the file's only writer, so that there is nothing new.
    pub(super) fn unchanged(&self, index: &Index) -> Result<Option<Stored>> {
        let place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stored) = &place.stored else {
            let error = io::Error::from(io::ErrorKind::NotFound);
            return Err(Error::file("refresh", "needs one file that the index was opened from", &error));
        };
        if place.renumbered || !stored.counted.is_all_of(index) {
            let error = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(Error::file("refresh", "needs an index without changes of its own: commit them first", &error));
        }
        let writes = place.writer.is_some() && place.process == std::process::id();
        Ok((!writes).then(|| stored.clone()))
    }

    /// Notes what an index has taken from its file.
    pub(super) fn refreshed(&mut self, counted: Counted, repair: bool) {
        let place = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(stored) = &mut place.stored {
            (stored.counted, stored.repair) = (counted, repair);
        }
    }

    /// Appends what an index holds beyond its file.
    pub(super) fn commit(&self, index: &Index) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).commit(index)
    }
}

#[derive(Debug, Default)]
struct Place {
    stored: Option<Stored>,
    /// The file, locked, once this index has written to it.
    writer: Option<OpenFile>,
    /// The process that locked it: a forked child has the file, too, but must not write to it.
    process: u32,
    /// Rows have other numbers than in the file, which has to be written anew.
    renumbered: bool,
}

/// A file and what it holds.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) path: PathBuf,
    /// Which file had that path.
    pub(super) identity: Identity,
    /// Whether it was mapped.
    pub(super) map: bool,
    pub(super) counted: Counted,
    /// The commit record is damaged, and has to be written again before another.
    repair: bool,
}

/// What tells files apart that have one path, one after the other.
pub(super) type Identity = (u64, u64);

#[cfg(unix)]
pub(super) fn identity(file: &File) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata().map(|about| (about.dev(), about.ino()))
}

#[cfg(not(unix))]
pub(super) fn identity(_: &File) -> io::Result<Identity> {
    Ok((0, 0))
}

impl Place {
    /// Writes an index as a whole; returns where it is then.
    fn save(&self, index: &Index, path: &Path) -> Result<Self> {
        let failed = |error: io::Error| Error::file(path.display(), "cannot be written", &error);
        if path.is_dir() {
            let error = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(Error::file(path.display(), "is a folder; name a file in it", &error));
        }
        // Held until the new file is in the place of the old one, whose writer would go on with a file that nobody finds.
        let old = File::open(path).ok();
        let own = match (&old, &self.writer) {
            (Some(old), Some(writer)) => identity(old).map_err(failed)? == identity(&writer.file).map_err(failed)?,
            _ => false,
        };
        if let Some(old) = old.as_ref().filter(|_| !own) {
            lock(old, path)?;
        }
        let mut disk = OpenFile::beside(path).map_err(failed)?;
        if own {
            lock(&disk.file, path)?;
        }
        let counted = save(index, &mut disk).map_err(|error| error.of_path(path))?;
        let stored = Stored {
            path: std::path::absolute(path).map_err(failed)?,
            identity: identity(&disk.file).map_err(failed)?,
            map: false,
            counted,
            repair: false,
        };
        Ok(Self { stored: Some(stored), process: self.process, writer: own.then_some(disk), renumbered: false })
    }

    /// Appends what an index holds beyond its file.
    fn commit(&mut self, index: &Index) -> Result<()> {
        let Some(stored) = &mut self.stored else {
            let error = io::Error::from(io::ErrorKind::NotFound);
            return Err(Error::file("commit", "needs a file: save the index first", &error));
        };
        let path = stored.path.clone();
        let failed = |error: io::Error| Error::file(path.display(), "cannot be written", &error);
        if self.writer.is_none() {
            let file = OpenFile::open(&path).map_err(failed)?;
            lock(&file.file, &path)?;
            stored.check(&file)?;
            self.process = std::process::id();
            self.writer = Some(file);
        }
        let writer = self.writer.as_mut().expect("opened above");
        if self.process != std::process::id() {
            let error = io::Error::from(io::ErrorKind::WouldBlock);
            return Err(Error::file(path.display(), "is written by the process that this one was forked from", &error));
        }
        let there = File::open(&path).and_then(|file| identity(&file)).map_err(failed)?;
        if there != stored.identity {
            return Err(changed(&path));
        }
        if self.renumbered {
            *self = self.save(index, &path)?;
            return Ok(());
        }
        if stored.repair {
            repair(writer, stored.counted.record).map_err(|error| error.of_path(&path))?;
            stored.repair = false;
        }
        if let Some(counted) = append(index, writer, &stored.counted).map_err(|error| error.of_path(&path))? {
            stored.counted = counted;
        }
        Ok(())
    }
}

impl Stored {
    /// Refuses a file that holds something else than the index.
    fn check(&self, file: &OpenFile) -> Result<()> {
        let mut start = vec![0; CODEC_AT];
        let mut read = || -> io::Result<Identity> {
            use std::io::Read as _;
            (&file.file).read_exact(&mut start)?;
            identity(&file.file)
        };
        let identity = read().map_err(|error| Error::file(self.path.display(), "cannot be read", &error))?;
        let header = Header::parse(&start).map_err(|error| error.of_path(&self.path))?;
        let newest = Record::both(&start, &header).into_iter().flatten().max_by_key(|record| record.sequence);
        // Where this index has found a damaged record, the other is the one before.
        let record = self.counted.record;
        let expected = if self.repair { record.sequence - 1 } else { record.sequence };
        let same = newest.is_some_and(|newest| newest.sequence == expected && (self.repair || newest == record));
        if identity == self.identity && same { Ok(()) } else { Err(changed(&self.path)) }
    }
}

/// Takes the right to write to a file, for as long as it is open.
fn lock(file: &File, path: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let error = io::Error::from(io::ErrorKind::WouldBlock);
            Err(Error::file(path.display(), "is being written by another index; one writer at a time", &error))
        }
        Err(TryLockError::Error(error)) => Err(Error::file(path.display(), "cannot be locked", &error)),
    }
}

fn changed(path: &Path) -> Error {
    let error = io::Error::from(io::ErrorKind::InvalidInput);
    Error::file(path.display(), "was changed since this index read or wrote it; open it again", &error)
}

/// Writes a whole file and puts it into place.
pub(super) fn save(index: &Index, disk: &mut dyn Disk) -> Result<Counted> {
    let counted = write::whole(index, disk)?;
    disk.sync().map_err(write::written)?;
    disk.rename().map_err(write::written)?;
    disk.sync_folder().map_err(write::written)?;
    Ok(counted)
}

/// Appends a chunk with what an index has beyond `last`, if it has anything, and makes it count; returns what counts then.
pub(super) fn append(index: &Index, disk: &mut dyn Disk, last: &Counted) -> Result<Option<Counted>> {
    if last.is_all_of(index) {
        return Ok(None);
    }
    // What a writer that was stopped may have left behind what counts.
    disk.cut(last.record.end).map_err(write::written)?;
    let counted = write::chunk(index, disk, last)?;
    disk.sync().map_err(write::written)?;
    disk.write_at(counted.record.at() as u64, &counted.record.to_bytes()).map_err(write::written)?;
    disk.sync().map_err(write::written)?;
    Ok(Some(counted))
}

/// Writes the record again by which a file counts, since the other one is about to be written over.
pub(super) fn repair(disk: &mut dyn Disk, record: Record) -> Result<()> {
    disk.write_at(record.at() as u64, &record.to_bytes()).map_err(write::written)?;
    disk.sync().map_err(write::written)
}
