#![doc = include_str!("../README.md")]

mod bitmap;
mod codebook;
mod codec;
mod codes;
mod dense_rotation;
mod error;
#[cfg(test)]
mod golden_tests;
mod haar;
mod index;
mod kernels;
mod metric;
mod normals;
mod paper_index;
pub mod papers;
mod parallel;
mod projection;
mod rng;
mod rotation;
mod scan;
mod storage;
mod topk;
mod units;

pub use codec::{
    CodecSpec, DualParts, EncodeOptions, FORMAT_VERSION, Fitted, FittedParts, MAX_DIM, Options, Outliers, RotationKind,
    Scale, Segment, TurboQuant,
};
pub use codes::{Codes, CodesView, Header};
pub use error::{Error, Result};
pub use index::{
    EncodedRows, Filter, INDEX_VERSION, Index, Keep, Neighbors, RowCopy, RowIds, RowState, SearchOptions, SearchStats,
    Within,
};
pub use kernels::Level;
pub use kernels::level::{Avx2, LEVEL_VARIABLE, Neon};
pub use metric::Metric;
pub use paper_index::{PaperIndex, encode_rows};
pub use parallel::Exec;
pub use scan::QueryIntegers;
