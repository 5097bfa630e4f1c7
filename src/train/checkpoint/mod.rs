//! Checkpoints: all that a run needs to go on bit by bit where it was, on disk, whole or not at all.
//!
//! `RUN/checkpoints/step-N/` holds `weights.safetensors` (parameters and running statistics under PyTorch's names, as
//! `jostle eval` takes them), `weights-average.safetensors` where a moving average is kept, `state.safetensors` (the
//! optimizer's state, and within an epoch the noisy weights of the next step), `checkpoint.json` (a [`Manifest`]) and
//! `SHA256SUMS`, which `sha256sum -c` reads too.

mod error;
mod folder;
mod keeper;
mod lock;
mod manifest;
mod policy;
mod state;

pub use error::CheckpointError;
pub(super) use folder::{CheckpointFolder, Stored};
pub(super) use keeper::Keeper;
pub(super) use lock::RunLock;
pub(super) use manifest::{Identity, NAME as MANIFEST, differences};
pub use manifest::{Manifest, Position};
pub use policy::{Interval, KeepOptions};
pub(super) use state::restore;

/// Reads a checkpoint: its files, each as its checksum says, and what it is of.
///
/// # Errors
/// What is damaged, in words, with the file's path.
pub fn read(path: &std::path::Path) -> Result<(Stored, Manifest), String> {
    let stored = folder::read(path)?;
    let manifest = Manifest::read(&stored)?;
    Ok((stored, manifest))
}
