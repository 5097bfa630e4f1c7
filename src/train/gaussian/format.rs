//! How a posterior lies in its file.

use std::{collections::HashMap, path::Path};

use crate::nn::WeightsError;

/// The file's name in a run's folder.
pub const POSTERIOR: &str = "posterior.safetensors";

/// What follows a parameter's name in the names of its tensors.
pub(super) const MEAN: &str = "/mean";
pub(super) const SECOND_MOMENT: &str = "/second_moment";
pub(super) const DEVIATIONS: &str = "/deviations";
pub(super) const DEVIATION: &str = "/deviation";

/// Keys of the metadata.
pub(super) const RULE: &str = "rule";
pub(super) const SNAPSHOTS: &str = "snapshots";
pub(super) const RANK: &str = "rank";

/// Deviations that are there after so many weights were taken.
pub(super) fn held(snapshots: u64, rank: u64) -> usize {
    snapshots.min(rank) as usize
}

/// The shape of so many tensors.
pub(super) fn stacked(count: usize, shape: &[usize]) -> Vec<usize> {
    [&[count], shape].concat()
}

/// What is wrong with the file at a path.
pub(super) fn malformed(path: &Path, reason: String) -> WeightsError {
    WeightsError::Format { path: path.to_owned(), reason }
}

/// A whole number of the metadata.
pub(super) fn metadata_number(metadata: &HashMap<String, String>, key: &str, path: &Path) -> Result<u64, WeightsError> {
    let found = metadata.get(key);
    let number = found.and_then(|text| text.parse().ok());
    number.ok_or_else(|| malformed(path, format!("expected metadata with a number {key}, found {found:?}")))
}
