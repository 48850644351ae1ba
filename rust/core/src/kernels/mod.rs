//! Kernels: everything that is written per instruction set, and all `unsafe` of the crate.
//!
//! One folder a family. `mod.rs` holds the contract, the checks of lengths, and the dispatch on a [`Level`], once per block of rows;
//! `scalar.rs` is the plain form; each further file is one instruction set. Every level gives the same bits: float
//! kernels perform the same IEEE operations on the same operands (a + b may be b + a), integer kernels are exact.
//! No product that rounds is ever fused with a sum: rustc does not contract, and kernels that use an FMA intrinsic multiply by ±1.

#![allow(unsafe_code, reason = "intrinsics load and store through pointers; this folder is the only one that may")]

mod lanes;
pub(crate) mod level;

pub(crate) mod assign;
pub(crate) mod dense;
pub(crate) mod hadamard;
pub(crate) mod lines;
pub(crate) mod lookup;
pub(crate) mod pick;
pub(crate) mod planes;
pub(crate) mod prefetch;
pub(crate) mod product;
pub(crate) mod ranks;
pub(crate) mod rows;
pub(crate) mod scores;
pub(crate) mod shuffle;
pub(crate) mod single;
pub(crate) mod units;

pub(crate) use lanes::dot as dot_f32;
pub use level::Level;

#[cfg(test)]
pub(crate) mod testing;
