//! Arms of an experiment by their noise: a mode, and what a group is where that is not what all arms have in common.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    noise::{Grouping, Mode},
    train::{Arm, Prepared, RunConfig},
};

/// `layer`, or `layer:projection` for groups of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct NoiseArm {
    pub(super) mode: Mode,
    /// Those of the configuration where not given.
    pub(super) groups: Option<Grouping>,
}

impl NoiseArm {
    /// Without noise.
    pub(super) const NONE: Self = Self { mode: Mode::None, groups: None };

    /// Whether it differs from another in what a group is, and in nothing else.
    pub(super) fn regroups(self, other: Self) -> bool {
        self.mode == other.mode && self.groups != other.groups
    }

    /// The arm of a configuration, whose data and model are prepared.
    ///
    /// With sigma on one of M groups a step, or sigma / sqrt(M) on each, the expected penalty is sigma^2 / (2 M) tr H. Groups of
    /// its own, M' of them, have sigma sqrt(M' / M): the same penalty, where they hold the same weights.
    pub(super) fn arm(self, config: &RunConfig, prepared: &Prepared) -> Arm {
        let groups = self.groups.unwrap_or(config.groups);
        let count = |grouping: Grouping| {
            let model = &prepared.model;
            grouping.groups(&model.graph.layout(), &model.noise_tensors()).len().max(1) as f64
        };
        let regrouped = matches!(self.mode, Mode::All | Mode::Layer) && groups != config.groups;
        let factor = if regrouped { (count(groups) / count(config.groups)).sqrt() } else { 1.0 };
        let config = RunConfig { noise: self.mode, groups, sigma: factor * config.sigma, ..config.clone() };
        Arm { label: self.to_string(), config }
    }
}

impl fmt::Display for NoiseArm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.groups {
            Some(groups) => write!(f, "{}:{groups}", self.mode),
            None => self.mode.fmt(f),
        }
    }
}

impl FromStr for NoiseArm {
    type Err = <Mode as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mode, groups) = match text.split_once(':') {
            Some((mode, groups)) => (mode, Some(groups.parse()?)),
            None => (text, None),
        };
        Ok(Self { mode: mode.parse()?, groups })
    }
}

impl TryFrom<String> for NoiseArm {
    type Error = <Self as FromStr>::Err;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<NoiseArm> for String {
    fn from(arm: NoiseArm) -> Self {
        arm.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn an_arm_is_what_its_text_says() {
        for text in ["none", "layer", "layer:projection", "all:block"] {
            assert_eq!(text.parse::<NoiseArm>().unwrap().to_string(), text);
        }
        let arm = |text: &str| text.parse::<NoiseArm>().unwrap();
        assert_eq!(arm("none"), NoiseArm::NONE);
        assert!(arm("layer:projection").regroups(arm("layer")) && !arm("layer:projection").regroups(arm("all")));
        for (text, part) in [("layers", "noise mode"), ("layer:head", "grouping"), ("layer:", "grouping")] {
            assert!(text.parse::<NoiseArm>().unwrap_err().to_string().contains(part), "{text}");
        }
    }

    /// One block of gpt has 12 tensors, of which the packed weight and bias are three each by projection; four are outside.
    #[test]
    fn other_groups_have_the_same_expected_penalty() {
        let config =
            RunConfig { data: "plays".to_owned(), model: "gpt:1x2x8@8".to_owned(), sigma: 0.1, ..RunConfig::default() };
        let prepared = Prepared::load(&config).unwrap();
        let sigma = |text: &str| text.parse::<NoiseArm>().unwrap().arm(&config, &prepared).config.sigma;
        assert_eq!(["none", "all", "layer", "layer:tensor", "model:projection"].map(sigma), [0.1; 5]);
        for text in ["layer:projection", "all:projection"] {
            assert!((sigma(text) - 0.1 * (20.0_f64 / 16.0).sqrt()).abs() < 1e-12, "{text}: {}", sigma(text));
        }
    }
}
