//! The extension module `turboquant_rs._core`: argument checks and conversions, no algorithm.
//!
//! Arrays come in C-contiguous and typed, which the Python side sees to; outputs are the caller's arrays. Every method that works
//! detaches from the interpreter first. NumPy memory is borrowed while Rust reads it: a thread that writes into an array during a
//! call races with the call, as with any NumPy function that releases the GIL.

mod codec;
mod error;
mod export;
mod filter;
mod ids;
mod index;
mod originals;
mod paper_index;
mod papers;
mod pool;
mod simd;

/// TurboQuant vector quantization, computed in Rust.
#[pyo3::pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use crate::codec::{Codec, codes_from_bytes, header_from_bytes, header_len};
    #[pymodule_export]
    use crate::error::CorruptError;
    #[pymodule_export]
    use crate::export::{allowed_rows, copy_rows, count_rows, row_state, stored_ids};
    #[pymodule_export]
    use crate::filter::Filter;
    #[pymodule_export]
    use crate::index::FlatIndex;
    #[pymodule_export]
    use crate::originals::convert_rows;
    #[pymodule_export]
    use crate::paper_index::PaperIndex;
    #[pymodule_export]
    use crate::papers::{PaperCodec, paper_codes_from_bytes};
    #[pymodule_export]
    use crate::simd::{available, level, set_level};
}
