//! What a run does where its loss is no finite number.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What follows a loss that is NaN or infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnNan {
    /// The run ends; the last checkpoint is of before.
    #[default]
    Stop,
    /// Updates whose gradients are not finite are left out, and the run goes on; it ends after an epoch without any other.
    Skip,
    /// The run goes back to the last checkpoint and on with half the noise; only where a run keeps checkpoints.
    HalveSigma,
}

const NAMES: [(&str, OnNan); 3] = [("stop", OnNan::Stop), ("skip", OnNan::Skip), ("halve-sigma", OnNan::HalveSigma)];

impl fmt::Display for OnNan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, of)| of == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

impl FromStr for OnNan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, of)| *of).ok_or_else(|| format!("unknown {text:?}, expected one of stop, skip, halve-sigma"))
    }
}
