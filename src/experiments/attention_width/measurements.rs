//! What is measured over the width: noise by three groupings, in three units.

use serde::{Deserialize, Serialize};

use crate::noise::{Grouping, Mode, NoiseConfig, Scale};

/// Which weights are noisy together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Grouped {
    /// All of them, sigma / sqrt(M).
    #[serde(rename = "all")]
    All,
    /// One tensor a draw: queries, keys and values, packed in one, together.
    #[serde(rename = "layer-by-tensor")]
    Tensor,
    /// One tensor or projection a draw: queries, keys and values apart.
    #[serde(rename = "layer-by-projection")]
    Projection,
}

impl Grouped {
    pub(super) const ALL: [Self; 3] = [Self::All, Self::Tensor, Self::Projection];

    /// For claims' names.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Tensor => "layer-by-tensor",
            Self::Projection => "layer-by-projection",
        }
    }
}

/// What the noise's standard deviation is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Unit {
    /// The same at every width.
    #[serde(rename = "fixed")]
    Absolute,
    /// The same at every width, in norms of filters.
    #[serde(rename = "filter-norms")]
    Filter,
    /// Falling like 1 / sqrt(C), in norms of filters: the noise on a filter has a share of its norm.
    #[serde(rename = "share")]
    Share,
}

impl Unit {
    pub(super) const ALL: [Self; 3] = [Self::Absolute, Self::Filter, Self::Share];

    /// For claims' names.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Absolute => "fixed",
            Self::Filter => "filter-norms",
            Self::Share => "share",
        }
    }
}

impl Grouped {
    /// In words.
    pub(super) fn words(self) -> String {
        self.name().replace('-', " ")
    }

    /// M, the number of groups.
    pub(super) fn groups(self) -> f64 {
        match self {
            Self::All | Self::Tensor => 3.0,
            Self::Projection => 5.0,
        }
    }
}

impl Unit {
    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Absolute => "fixed sigma",
            Self::Filter => "fixed sigma in filter norms",
            Self::Share => "sigma / sqrt(C) in filter norms",
        }
    }
}

/// Noise that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Arm {
    pub(super) unit: Unit,
    pub(super) grouped: Grouped,
}

const fn arm(unit: Unit, grouped: Grouped) -> Arm {
    Arm { unit, grouped }
}

/// What is measured. In units of filter norms alone the most favourable grouping is enough: the noise is the absolute one once more.
pub(super) const ARMS: [Arm; 7] = [
    arm(Unit::Absolute, Grouped::All),
    arm(Unit::Absolute, Grouped::Tensor),
    arm(Unit::Absolute, Grouped::Projection),
    arm(Unit::Filter, Grouped::Projection),
    arm(Unit::Share, Grouped::All),
    arm(Unit::Share, Grouped::Tensor),
    arm(Unit::Share, Grouped::Projection),
];

impl Arm {
    /// The noise at a width.
    pub(super) fn noise(self, width: usize, sigma: f64, share: f64) -> NoiseConfig {
        let (scale, sigma) = match self.unit {
            Unit::Absolute => (Scale::Absolute, sigma),
            Unit::Filter => (Scale::Filter, sigma),
            Unit::Share => (Scale::Filter, share / (width as f64).sqrt()),
        };
        let (mode, groups) = match self.grouped {
            Grouped::All => (Mode::All, Grouping::Tensor),
            Grouped::Tensor => (Mode::Layer, Grouping::Tensor),
            Grouped::Projection => (Mode::Layer, Grouping::Projection),
        };
        NoiseConfig { mode, sigma, scale, groups, ..NoiseConfig::default() }
    }
}

/// A variance in its two parts, from one block of draws: each an unbiased estimate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Parts {
    /// Of the part that is odd in the noise.
    pub(super) odd: f64,
    /// Of the part that is even in it.
    pub(super) even: f64,
}

impl Parts {
    /// The whole: both parts are uncorrelated.
    pub(super) fn total(self) -> f64 {
        self.odd + self.even
    }
}

impl From<[f64; 2]> for Parts {
    fn from([odd, even]: [f64; 2]) -> Self {
        Self { odd, even }
    }
}

/// Variances from one block of draws.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct BlockVariance {
    /// Of a logit, mean over heads and pairs of tokens.
    pub(super) logits: Parts,
    /// Of an output, mean over outputs and tokens.
    pub(super) output: Parts,
    /// Of the mean loss.
    pub(super) loss: Parts,
}

/// What was measured at a width under one noise.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Point {
    pub(super) width: usize,
    pub(super) arm: Arm,
    pub(super) blocks: Vec<BlockVariance>,
}

/// What was measured: all that the claims need.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Measurements {
    pub(super) points: Vec<Point>,
}

/// A variance that is watched.
pub(super) type Quantity = fn(&BlockVariance) -> f64;

impl Point {
    /// A variance of each block.
    pub(super) fn values(&self, quantity: Quantity) -> Vec<f64> {
        self.blocks.iter().map(quantity).collect()
    }
}

impl Measurements {
    /// What was measured under one noise, per width.
    pub(super) fn under(&self, arm: Arm) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |point| point.arm == arm)
    }

    /// The same at the widest alone.
    pub(super) fn widest(&self, arm: Arm) -> Option<&Point> {
        self.under(arm).max_by_key(|point| point.width)
    }
}
