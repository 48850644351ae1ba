//! What a writer does to a file, behind a trait: tests stop it at any of these calls and lose what was not yet synchronised.

use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A file that is written.
pub(crate) trait Disk {
    /// Writes bytes from offset `at` on; the file grows as needed.
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to `len` bytes.
    fn cut(&mut self, len: u64) -> io::Result<()>;

    /// Returns when what was written is on the device.
    fn sync(&mut self) -> io::Result<()>;

    /// Puts the file in the place of the one that it was made for.
    fn rename(&mut self) -> io::Result<()>;

    /// Returns when the renaming is on the device.
    fn sync_folder(&mut self) -> io::Result<()>;
}

/// A file of the operating system.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) file: File,
    /// The path it has, or takes by renaming.
    path: PathBuf,
    /// The path until then.
    part: Option<PathBuf>,
}

impl OpenFile {
    /// An existing file at `path`, to read and to write.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        Ok(Self { file, path: path.to_owned(), part: None })
    }

    /// A new file beside `path`, which takes its place by [`rename`](Disk::rename) and is removed without.
    pub(crate) fn beside(path: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.{}.part", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let part = folder_of(path).join(name);
        let file = File::options().read(true).write(true).create_new(true).open(&part)?;
        Ok(Self { file, path: path.to_owned(), part: Some(part) })
    }
}

impl Disk for OpenFile {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(bytes)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn rename(&mut self) -> io::Result<()> {
        if let Some(part) = &self.part {
            fs::rename(part, &self.path)?;
            self.part = None;
        }
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        // Only Unix lets a folder be opened and synchronised.
        if cfg!(unix) { File::open(folder_of(&self.path))?.sync_all() } else { Ok(()) }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            let _ = fs::remove_file(part);
        }
    }
}

/// The folder that a path is in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Bytes in memory take the place of a file.
impl Disk for Vec<u8> {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let at = at as usize;
        self.resize(self.len().max(at + bytes.len()), 0);
        self[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.truncate(len as usize);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        Ok(())
    }
}
