//! Checkpoints: all that a run needs to resume bit by bit where it was, on disk, whole or not at all.
//!
//! `RUN/checkpoints/step-N/` holds `weights.safetensors` (parameters and running statistics under PyTorch's names, as
//! `jostle eval` takes them), `weights-average.safetensors` where a moving average is kept, `state.safetensors` (the
//! optimizer's state, and the noisy weights of the next step where they are there), `moments.safetensors` where the rule
//! keeps moments of weights that it went through, `config.toml` (the configuration),
//! `checkpoint.json` (a [`Manifest`]) and `SHA256SUMS`, which `sha256sum -c` reads too.

mod error;
mod folder;
mod keeper;
mod lock;
mod manifest;
mod policy;
mod state;

use std::path::{Path, PathBuf};

pub use error::CheckpointError;
pub(crate) use folder::parse_sums;
pub(super) use folder::{CheckpointFolder, Stored};
pub(super) use keeper::Keeper;
pub(super) use lock::RunLock;
pub(super) use manifest::{Differences, Identity, NAME as MANIFEST, differences};
pub use manifest::{Manifest, Position};
pub use policy::{Interval, KeepOptions};
pub(super) use state::{WEIGHTS, restore};

/// The newest checkpoint of the run in a folder that is whole: its folder and what it is of. `notify` hears of those that
/// are not.
///
/// # Errors
/// [`CheckpointError::Damaged`] where there are some, and none is whole.
pub fn newest_checkpoint(
    run: &Path,
    notify: &mut dyn FnMut(&str),
) -> Result<Option<(PathBuf, Manifest)>, CheckpointError> {
    Ok(newest(&CheckpointFolder::in_run(run), notify)?.map(|(stored, manifest)| (stored.path, manifest)))
}

/// As [`newest_checkpoint`], with its files.
pub(super) fn newest(
    folder: &CheckpointFolder,
    notify: &mut dyn FnMut(&str),
) -> Result<Option<(Stored, Manifest)>, CheckpointError> {
    let mut damages = Vec::new();
    for (step, path) in folder.list()? {
        let read = folder::read(&path).and_then(|stored| Ok((Manifest::read(&stored)?, stored)));
        match read {
            Ok((manifest, stored)) => return Ok(Some((stored, manifest))),
            Err(damage) => {
                notify(&format!("the checkpoint of step {step} is damaged, looking for the one before: {damage}"));
                damages.push(damage);
            }
        }
    }
    if damages.is_empty() {
        return Ok(None);
    }
    Err(CheckpointError::Damaged { folder: folder.root().to_owned(), damages })
}
