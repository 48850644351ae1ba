//! What can go wrong: one enum, every message naming the argument, what was expected and what came.

/// The crate's result type.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate. The object it came from is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is out of range or of the wrong length.
    #[error("{argument} must be {expected}, got {got}")]
    Argument {
        /// The argument's name.
        argument: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A value is NaN or infinite.
    #[error("{argument} must be finite, got {value} at row {row}, column {column}")]
    NonFinite {
        /// The argument's name.
        argument: &'static str,
        /// Row of the first such value.
        row: usize,
        /// Its column.
        column: usize,
        /// The value's text: NaN, inf or -inf.
        value: String,
    },
    /// A row's norm is beyond what its use allows.
    #[error("{argument} must have norms {limit}, got a larger one at row {row}")]
    Norm {
        /// The argument's name.
        argument: &'static str,
        /// The first such row.
        row: usize,
        /// The limit in words.
        limit: &'static str,
    },
    /// A value beyond what the form holds in which rows are kept.
    #[error("{argument} must fit {form}, in which the index keeps rows, got {value} at row {row}, column {column}")]
    Range {
        /// The argument's name.
        argument: &'static str,
        /// The form's name.
        form: &'static str,
        /// The value's text.
        value: String,
        /// Row of the first such value.
        row: usize,
        /// Its column.
        column: usize,
    },
    /// Codes of another codec.
    #[error("codes must come from this codec (fingerprint {expected:016x}), got codes of another ({got:016x})")]
    OtherCodec {
        /// Fingerprint of the codec in use.
        expected: u64,
        /// Fingerprint that the codes carry.
        got: u64,
    },
    /// An id that is already in the index, or is given twice.
    #[error("ids must be new and distinct, got {id} a second time")]
    DuplicateId {
        /// The id.
        id: i64,
    },
    /// A string id that is already in the index, or is given twice.
    #[error("ids must be new and distinct, got {name:?} a second time")]
    DuplicateName {
        /// The id.
        name: String,
    },
    /// An id that the index does not hold.
    #[error("ids must be in the index, got {id}")]
    UnknownId {
        /// The id.
        id: i64,
    },
    /// A string id that the index does not hold.
    #[error("ids must be in the index, got {name:?}")]
    UnknownName {
        /// The id.
        name: String,
    },
    /// Bytes that are no codes or no index file, or damaged ones.
    #[error("damaged {of}: {what} at byte {offset}")]
    Corrupt {
        /// What the bytes should be: "code bytes" or "index file".
        of: &'static str,
        /// What is wrong, with the section.
        what: String,
        /// Where.
        offset: usize,
    },
    /// A format version that this build cannot read.
    #[error("{of} {} format version {found}, this build reads version {newest}; update turboquant-rs", if of.ends_with('s') { "have" } else { "has" })]
    Version {
        /// What the bytes are: "code bytes" or "index file".
        of: &'static str,
        /// The version in the bytes.
        found: u16,
        /// The newest version known here.
        newest: u16,
    },
    /// A file that cannot be read or written, or that another index writes.
    #[error("{path} {what}")]
    File {
        /// Its path.
        path: String,
        /// What is wrong, with the system's reason.
        what: String,
        /// The kind of the system's error.
        kind: std::io::ErrorKind,
        /// The system's number of it.
        code: Option<i32>,
    },
    /// A SIMD level that is unknown or not available.
    #[error("SIMD level {name:?} is {}; available: {available}", if *known { "not available on this machine and build" } else { "unknown" })]
    Level {
        /// The name asked for.
        name: String,
        /// Whether the project knows such a level at all.
        known: bool,
        /// Names of the available levels.
        available: String,
    },
}

impl Error {
    pub(crate) fn argument(argument: &'static str, expected: impl Into<String>, got: impl ToString) -> Self {
        Self::Argument { argument, expected: expected.into(), got: got.to_string() }
    }

    pub(crate) fn corrupt(what: impl Into<String>, offset: usize) -> Self {
        Self::Corrupt { of: "code bytes", what: what.into(), offset }
    }

    pub(crate) fn corrupt_index(what: impl Into<String>, offset: usize) -> Self {
        Self::Corrupt { of: "index file", what: what.into(), offset }
    }

    /// What the system says of a file. An error made here and not by the system has its reason in `what`.
    pub(crate) fn file(path: impl std::fmt::Display, what: impl Into<String>, error: &std::io::Error) -> Self {
        let (code, kind) = (error.raw_os_error(), error.kind());
        let what = what.into();
        // The system's words without its number, which is kept apart.
        let reason = error.to_string();
        let reason = reason.split(" (os error").next().unwrap_or_default();
        let what = if code.is_some() { format!("{what}: {reason}") } else { what };
        Self::File { path: path.to_string(), what, kind, code }
    }

    /// The same error with the path of the file that it is about.
    pub(crate) fn of_path(self, of: &std::path::Path) -> Self {
        match self {
            Self::Corrupt { of: kind, what, offset } => {
                Self::Corrupt { of: kind, what: format!("{}: {what}", of.display()), offset }
            }
            Self::File { path, what, kind, code } if path.is_empty() => {
                Self::File { path: of.display().to_string(), what, kind, code }
            }
            error => error,
        }
    }

    /// The same error with its row counted from `first` instead of 0, for callers that pass a batch in pieces.
    #[must_use]
    pub fn with_first_row(mut self, first: usize) -> Self {
        if let Self::NonFinite { row, .. } | Self::Norm { row, .. } | Self::Range { row, .. } = &mut self {
            *row += first;
        }
        self
    }

    /// Runs `work` on whole rows and returns the error of the first faulty one.
    ///
    /// Work looks for one kind of fault after another, so rows before the one it names may have another kind: they are
    /// looked at again. Which row is named then does not depend on how a batch is split.
    pub(crate) fn of_first_row<T>(values: &[f32], dim: usize, mut work: impl FnMut(&[f32]) -> Result<T>) -> Result<T> {
        let mut result = work(values);
        while let Err(error) = &result
            && let Some(row @ 1..) = error.row()
            && let Err(earlier) = work(&values[..row * dim])
        {
            result = Err(earlier);
        }
        result
    }

    /// The row the error is about, to report the first of several; errors without one come before all.
    pub(crate) fn row(&self) -> Option<usize> {
        match self {
            Self::NonFinite { row, .. } | Self::Norm { row, .. } | Self::Range { row, .. } => Some(*row),
            _ => None,
        }
    }
}
