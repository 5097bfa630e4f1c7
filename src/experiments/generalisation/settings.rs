//! What is run: modes, shares of replaced labels, widths.

use serde::{Deserialize, Serialize};

use crate::{experiments::width_net::Net, noise::Mode, train::RunConfig};

/// The modes, the first being what the others are compared with.
pub(super) const MODES: [Mode; 3] = [Mode::None, Mode::All, Mode::Layer];
/// Those that have a sigma.
pub(super) const NOISY: [Mode; 2] = [Mode::All, Mode::Layer];

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(in crate::experiments) struct Settings {
    /// What every run shares: keys of `jostle train`; `subset` is how many images a run trains on.
    pub(super) train: RunConfig,
    pub(super) levels: LevelSettings,
    pub(super) widths: WidthSettings,
}

/// Runs over the share of labels that are replaced.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LevelSettings {
    /// Shares of the labels.
    pub(super) label_noise: Vec<f64>,
    /// Its first width is used.
    pub(super) net: Net,
    /// What sigma is chosen among, of each noisy mode.
    pub(super) sigmas: Vec<f64>,
    /// Images kept apart to choose by.
    pub(super) validation: usize,
    /// Runs that a choice is made by.
    pub(super) tuning_seeds: u64,
    /// Runs of each mode that are tested.
    pub(super) seeds: u64,
}

/// Runs over the width.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WidthSettings {
    /// Share of the labels that is replaced.
    pub(super) label_noise: f64,
    /// Runs of each width and mode.
    pub(super) seeds: u64,
    pub(super) depths: Vec<Depth>,
}

/// Networks of one depth over widths, at one sigma.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Depth {
    pub(super) sigma: f64,
    pub(super) net: Net,
}
