//! How arrays are kept: in memory of their own, or as part of a mapped file whose blocks are compared with checksums before they are used.

mod array;
mod disk;
mod mmap;

pub(crate) use array::{Array, BLOCK_BYTES, Checks, Section, holds};
pub(crate) use disk::{Disk, OpenFile};
pub(crate) use mmap::{Map, Plain, bytes_of, numbers_of};
