//! What "near" means.

use crate::error::{Error, Result};

/// The metric of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Inner product ("ip"): larger is nearer.
    InnerProduct,
    /// Cosine of the angle ("cosine"): larger is nearer.
    Cosine,
    /// Squared L2 distance ("l2"): smaller is nearer.
    L2,
}

impl Metric {
    /// The metric called `name`: "ip", "cosine" or "l2".
    ///
    /// # Errors
    /// [`Error::Argument`] for any other name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "ip" => Ok(Self::InnerProduct),
            "cosine" => Ok(Self::Cosine),
            "l2" => Ok(Self::L2),
            _ => Err(Error::argument("metric", r#""ip", "cosine" or "l2""#, format!("{name:?}"))),
        }
    }

    /// The metric's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InnerProduct => "ip",
            Self::Cosine => "cosine",
            Self::L2 => "l2",
        }
    }

    /// The score of an empty place in a result: worse than every real one.
    #[must_use]
    pub fn worst(self) -> f32 {
        match self {
            Self::InnerProduct | Self::Cosine => f32::NEG_INFINITY,
            Self::L2 => f32::INFINITY,
        }
    }
}
