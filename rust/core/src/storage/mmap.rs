//! The one file beside the kernels that holds unsafe code: it maps files, asks for large pages, and reads bytes as numbers and numbers as
//! bytes.

#![allow(unsafe_code, reason = "mapping a file, advice on pages, and views of plain numbers as bytes and back")]

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions};

/// Numbers, and arrays of them, that any bytes are values of and that hold no padding.
///
/// # Safety
/// Every bit pattern of `size_of::<Self>()` bytes must be a value, and no byte of a value may be uninitialised.
pub(crate) unsafe trait Plain: Copy + Send + Sync + 'static {
    /// From this machine's order of bytes to that of files, which is little-endian, and back: the same on most machines.
    fn swapped_if_big(self) -> Self;
}

macro_rules! plain {
    ($($number:ty),*) => {$(
        // SAFETY: integers have no padding, and every bit pattern is one.
        unsafe impl Plain for $number {
            fn swapped_if_big(self) -> Self {
                Self::from_le(self)
            }
        }
    )*};
}
plain!(u8, u32, u64, i64);

// SAFETY: as for u32: every pattern is a float, NaN included.
unsafe impl Plain for f32 {
    fn swapped_if_big(self) -> Self {
        Self::from_bits(u32::from_le(self.to_bits()))
    }
}

// SAFETY: an array of bytes has no padding, and every pattern is one.
unsafe impl<const N: usize> Plain for [u8; N] {
    fn swapped_if_big(self) -> Self {
        self
    }
}

/// A file mapped for reading, from its first byte on.
#[derive(Debug)]
pub(crate) struct Map(Mmap);

impl Map {
    /// Maps the first `len` bytes of a file, at least one.
    pub(crate) fn of(file: &File, len: usize) -> io::Result<Self> {
        // SAFETY: the bytes are only ever read as plain numbers, of which every pattern is a value. Nobody writes to them: an index
        // appends behind the bytes that are mapped and replaces files by renaming. A file that others cut short while it is mapped
        // ends the process by a signal, which docs/format.md says.
        unsafe { MmapOptions::new().len(len).map(file) }.map(Self)
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// `len` elements from byte `at` on. Panics if they are not inside of the map or not aligned.
    pub(crate) fn elements<T: Plain>(&self, at: usize, len: usize) -> &[T] {
        let bytes = &self.0[at..at + len * size_of::<T>()];
        assert!(bytes.as_ptr().cast::<T>().is_aligned(), "elements are aligned");
        // SAFETY: the bytes are inside of the map by the slice above, aligned by the assertion, and values by `Plain`.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), len) }
    }
}

/// Asks Linux for pages of 2 MiB under an array's memory, that with elements and that for more, where it is as much as two of them. A scan
/// of small pages waits for their translation: with large ones a first stage is read in less time. Where the system has none or is told
/// never to make any, nothing changes.
pub(crate) fn in_large_pages<T>(values: &mut Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        use std::sync::OnceLock;

        const LARGE: usize = 2 << 20;
        /// `MADV_COLLAPSE` of Linux 6.1, for which not every libc has a name.
        const COLLAPSE: libc::c_int = 25;
        static NEVER: OnceLock<bool> = OnceLock::new();
        // The second advice would be taken all the same.
        let set = || std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
        if *NEVER.get_or_init(|| set().is_ok_and(|set| set.contains("[never]"))) {
            return;
        }
        let memory: *mut u8 = values.as_mut_ptr().cast();
        let advise = |elements: usize, advice| {
            let bytes = elements * size_of::<T>();
            if bytes >= 2 * LARGE {
                // Whole small pages, so that the allocator's mapping stays one, which it can move.
                // SAFETY: this advice changes neither what pages hold nor who may access them, also not the neighbours' bytes in the
                // first and last one.
                unsafe {
                    let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(LARGE);
                    let before = memory.addr() % page;
                    libc::madvise(memory.wrapping_sub(before).cast(), (before + bytes).next_multiple_of(page), advice);
                }
            }
        };
        advise(values.capacity(), libc::MADV_HUGEPAGE);
        // What is there lies in small pages, or in large ones that moving has split.
        advise(values.len(), COLLAPSE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = values;
}

/// The bytes of numbers in this machine's order.
pub(crate) fn bytes_of<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: `Plain` types have no padding, so all their bytes are initialised; a byte needs no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The numbers in the bytes of a file, a copy.
pub(crate) fn numbers_of<T: Plain>(bytes: &[u8]) -> Vec<T> {
    let len = bytes.len() / size_of::<T>();
    let mut values: Vec<T> = Vec::with_capacity(len);
    in_large_pages(&mut values);
    // SAFETY: room for `len` values was just made, `bytes` holds as many, and its bytes are values by `Plain`.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), values.as_mut_ptr().cast(), len * size_of::<T>());
        values.set_len(len);
    }
    values.iter_mut().for_each(|value| *value = value.swapped_if_big());
    values
}
