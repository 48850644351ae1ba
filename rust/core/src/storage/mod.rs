//! How arrays are kept: in memory of their own, or as part of a mapped file whose blocks are compared with checksums before they are used.

#![allow(dead_code, unused_imports, reason = "the reader and the writer of files use the rest")]

mod array;
mod mmap;

pub(crate) use array::{Array, BLOCK_BYTES, Checks, Section};
pub(crate) use mmap::{Map, Plain, bytes_of, numbers_of};
