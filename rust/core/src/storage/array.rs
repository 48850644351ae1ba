//! An array that is owned or part of a mapped file.

use std::ops::{Deref, Range};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::mmap::{Map, Plain, in_large_pages};
use crate::error::{Error, Result};

/// Bytes that one checksum covers: little to read for one row, and 4 bytes of table for each.
pub(crate) const BLOCK_BYTES: usize = 1 << 16;

/// Elements in memory of their own, or in a mapped file.
///
/// Elements of a mapped array may be damaged until [`check`](Self::check) has seen their blocks: whoever reads them checks first.
#[derive(Debug, Clone)]
pub(crate) enum Array<T: Plain> {
    /// In memory.
    Owned(Vec<T>),
    /// In a mapped file.
    Mapped(Mapped<T>),
}

/// A section of a mapped file.
#[derive(Debug, Clone)]
pub(crate) struct Mapped<T> {
    map: Arc<Map>,
    section: Arc<Section>,
    len: usize,
    of: std::marker::PhantomData<T>,
}

/// Where a section lies, and what its blocks are compared with.
pub(crate) struct Section {
    /// Its name in messages.
    name: &'static str,
    /// Its first byte in the file.
    at: usize,
    /// Its bytes, with the zeros after them up to the next section, and without.
    bytes: usize,
    content: usize,
    /// CRC-32 of every block.
    crcs: Vec<u32>,
    /// What is wrong with the content of a block: the byte in it, and what is there.
    checks: Checks,
    /// One bit a block: found to be whole.
    seen: Vec<AtomicU64>,
    /// All blocks are.
    all_seen: AtomicBool,
}

/// Looks for values that no writer leaves behind: the byte of the first, and what it is.
pub(crate) type Checks = Box<dyn Fn(&[u8]) -> Option<(usize, String)> + Send + Sync + UnwindSafe + RefUnwindSafe>;

impl std::fmt::Debug for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}, {} bytes", self.name, self.at, self.bytes)
    }
}

impl Section {
    /// A section none of whose blocks has been looked at.
    pub(crate) fn new(
        name: &'static str,
        at: usize,
        bytes: usize,
        content: usize,
        crcs: Vec<u32>,
        checks: Checks,
    ) -> Self {
        let seen = (0..crcs.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { name, at, bytes, content, crcs, checks, seen, all_seen: AtomicBool::new(false) }
    }

    /// Compares all blocks, whose bytes are given.
    pub(crate) fn check_bytes(&self, bytes: &[u8]) -> Result<()> {
        bytes.chunks(BLOCK_BYTES).enumerate().try_for_each(|(block, bytes)| self.check_block(block, bytes))
    }

    /// Compares the blocks that hold `bytes` of the section with their checksums, those that have not been.
    fn check(&self, map: &Map, bytes: Range<usize>) -> Result<()> {
        if bytes.is_empty() || self.all_seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        for block in bytes.start / BLOCK_BYTES..bytes.end.div_ceil(BLOCK_BYTES) {
            let (word, bit) = (&self.seen[block / 64], 1 << (block % 64));
            if word.load(Ordering::Relaxed) & bit == 0 {
                let start = block * BLOCK_BYTES;
                let end = self.bytes.min(start + BLOCK_BYTES);
                self.check_block(block, &map.bytes()[self.at + start..self.at + end])?;
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
        if bytes == (0..self.bytes) {
            self.all_seen.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Compares one block with its checksum.
    fn check_block(&self, block: usize, bytes: &[u8]) -> Result<()> {
        let at = self.at + block * BLOCK_BYTES;
        if !holds(bytes, self.crcs[block]) {
            return Err(Error::corrupt_index(format!("{} fail a checksum, block starts", self.name), at));
        }
        let content = (self.content - block * BLOCK_BYTES).min(bytes.len());
        match (self.checks)(&bytes[..content]) {
            None => Ok(()),
            Some((byte, what)) => Err(Error::corrupt_index(format!("{} hold {what}", self.name), at + byte)),
        }
    }
}

/// Whether bytes have a checksum. A fuzzer cannot make one, so it is let through to what stands behind.
pub(crate) fn holds(bytes: &[u8], crc: u32) -> bool {
    cfg!(fuzzing) || crc32fast::hash(bytes) == crc
}

impl<T: Plain> Array<T> {
    /// `len` elements of a section of a mapped file.
    pub(crate) fn mapped(map: Arc<Map>, section: Arc<Section>, len: usize) -> Self {
        Self::Mapped(Mapped { map, section, len, of: std::marker::PhantomData })
    }

    /// The elements to change: those of a mapped file are copied first.
    pub(crate) fn to_mut(&mut self) -> &mut Vec<T> {
        if let Self::Mapped(mapped) = self {
            *self = Self::Owned(mapped.to_vec());
        }
        match self {
            Self::Owned(values) => values,
            Self::Mapped(_) => unreachable!("mapped elements were copied"),
        }
    }

    /// The elements to change, as [`to_mut`](Self::to_mut) gives them, with room for so many more, in large pages where it is much.
    pub(crate) fn with_room(&mut self, more: usize) -> &mut Vec<T> {
        let values = self.to_mut();
        let before = (values.as_ptr(), values.capacity());
        values.reserve(more);
        if before != (values.as_ptr(), values.capacity()) {
            in_large_pages(values);
        }
        values
    }

    /// Whether the elements are in a mapped file.
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self, Self::Mapped(_))
    }

    /// Compares what holds some elements with checksums, unless they are owned or that has been done.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with section and offset.
    #[inline]
    pub(crate) fn check(&self, elements: Range<usize>) -> Result<()> {
        match self {
            Self::Owned(_) => Ok(()),
            Self::Mapped(Mapped { map, section, .. }) => {
                section.check(map, elements.start * size_of::<T>()..elements.end * size_of::<T>())
            }
        }
    }

    /// [`check`](Self::check) of all elements, and of what follows them up to the next section.
    pub(crate) fn check_all(&self) -> Result<()> {
        match self {
            Self::Owned(_) => Ok(()),
            Self::Mapped(Mapped { map, section, .. }) => section.check(map, 0..section.bytes),
        }
    }

    /// Bytes of the elements.
    pub(crate) fn nbytes(&self) -> usize {
        size_of_val(&self[..])
    }
}

impl<T: Plain> Deref for Mapped<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.map.elements(self.section.at, self.len)
    }
}

impl<T: Plain> Deref for Array<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(values) => values,
            Self::Mapped(mapped) => mapped,
        }
    }
}

impl<T: Plain> Default for Array<T> {
    fn default() -> Self {
        Self::Owned(Vec::new())
    }
}

impl<T: Plain> From<Vec<T>> for Array<T> {
    fn from(values: Vec<T>) -> Self {
        Self::Owned(values)
    }
}

impl<T: Plain> FromIterator<T> for Array<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::Owned(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_changes_no_element() {
        // Over several large pages, from where they do not start.
        let (mut array, mut wanted) = (Array::<u32>::default(), Vec::new());
        for (more, value) in [(0, 1), (1, 2), (700_000, 3), (5, 4), (2_000_000, 5), (1_500_000, 6)] {
            let values = array.with_room(more);
            assert!(values.capacity() - values.len() >= more);
            values.extend((0..more as u32).map(|i| i * 7 + value));
            wanted.extend((0..more as u32).map(|i| i * 7 + value));
            assert!(array[..] == wanted[..], "{more} more");
        }
    }
}
