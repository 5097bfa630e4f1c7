//! What can be wrong with checkpoints.

use std::path::PathBuf;

/// Checkpoints that cannot be written, read or gone on from.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// There is none.
    #[error("{}: no checkpoint to resume from", folder.display())]
    None {
        /// The folder that would hold it.
        folder: PathBuf,
    },
    /// None is whole.
    #[error("{}: no checkpoint is whole: {}", folder.display(), damages.join("; "))]
    Damaged {
        /// The folder that holds them.
        folder: PathBuf,
        /// What is wrong with each, newest first.
        damages: Vec<String>,
    },
    /// One of another run.
    #[error("{} does not resume from here: {}; --force resumes all the same", path.display(), differences.join("; "))]
    Foreign {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        differences: Vec<String>,
    },
    /// A file of a checkpoint that is whole and yet not what it should be.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Expected and found.
        reason: String,
    },
    /// Weights or state that are not finite, which no run should resume from.
    #[error("the checkpoint of step {step} is not written: {tensor} holds numbers that are not finite")]
    NotFinite {
        /// Steps done.
        step: u64,
        /// The tensor.
        tensor: String,
    },
    /// Another process writes into the run's folder.
    #[error("{} is in use by {owner}: one process a folder", folder.display())]
    Locked {
        /// The run's folder.
        folder: PathBuf,
        /// Which process.
        owner: String,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
