//! What can go wrong with a figure or report.

use std::path::PathBuf;

/// A figure or report that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The drawing library refused.
    #[error("drawing {figure:?}: {reason}")]
    Drawing {
        /// Title of the figure.
        figure: String,
        /// The library's words.
        reason: String,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
