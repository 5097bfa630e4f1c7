//! What is wrong with the description of a GPU.

use std::path::PathBuf;

/// A description that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError {
    /// Neither a GPU that is known nor a file.
    #[error("gpu: expected one of {known} or a file that ends in .toml, found {found}")]
    Unknown {
        /// What was asked for.
        found: String,
        /// The names that are known.
        known: String,
    },
    /// The file cannot be read, or is no TOML.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key that is missing, wrong or not known.
    #[error("{}: {key}: expected {expected}, found {found}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What it takes.
        expected: String,
        /// What is there.
        found: String,
    },
}
