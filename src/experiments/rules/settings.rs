//! What is run: arms, and what they share.

use serde::{Deserialize, Serialize};

use crate::{
    experiments::ExperimentError,
    train::{Arm, Given, RuleArm, RunConfig},
};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(in crate::experiments) struct Settings {
    /// The first is plain training, which the others are compared with.
    arms: Vec<ArmSettings>,
    /// Runs of each arm, from seed `train.seed` on.
    pub(super) seeds: u64,
    /// Training samples over which the curvature is measured, with the proportions of their classes.
    pub(super) curvature_samples: usize,
    /// Probes of the trace.
    pub(super) trace_probes: u32,
    /// Products with the Hessian for its largest eigenvalue.
    pub(super) lanczos_steps: usize,
    /// What every run shares: keys of `jostle train`. A rule's published defaults hold for what neither this nor its arm gives.
    train: toml::Table,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ArmSettings {
    rule: RuleArm,
    /// Keys of `jostle train` of this arm's own.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    train: toml::Table,
}

impl Settings {
    pub(super) fn check(&self, experiment: &str) -> Result<(), ExperimentError> {
        let twice = |at: usize| self.arms[..at].iter().any(|arm| arm.rule == self.arms[at].rule);
        let checks = [
            (
                self.arms.first().is_none_or(|arm| arm.rule != RuleArm::NONE),
                "arms has to begin with noise:none, which the others are compared with",
            ),
            (self.arms.len() < 2, "arms has to name another"),
            ((0..self.arms.len()).any(twice), "arms has to name each rule once"),
            (self.seeds == 0, "seeds has to be at least 1"),
            (
                self.curvature_samples == 0 || self.trace_probes == 0 || self.lanczos_steps == 0,
                "the curvature needs samples, probes and Lanczos steps",
            ),
        ];
        ExperimentError::unless_right(experiment, &checks)?;
        self.arms().map(|_| ())
    }

    /// Every arm with its configuration.
    pub(super) fn arms(&self) -> Result<Vec<Arm>, ExperimentError> {
        let arm = |arm: &ArmSettings| {
            let mut table = self.train.clone();
            table.extend(arm.train.clone());
            let label = arm.rule.to_string();
            let config = Given::of_table(&label, table)?.by_rule(arm.rule.rule, arm.rule.noise)?;
            Ok(Arm { label, config })
        };
        self.arms.iter().map(arm).collect()
    }

    /// What an arm has of its own, in a line.
    pub(super) fn own(&self, arm: usize) -> String {
        let own = self.arms[arm].train.iter().map(|(key, value)| format!("{key} {value}"));
        own.collect::<Vec<_>>().join(", ")
    }

    /// The seeds of every arm's runs.
    pub(super) fn seeds(&self, config: &RunConfig) -> Vec<u64> {
        (config.seed..config.seed.saturating_add(self.seeds)).collect()
    }
}
