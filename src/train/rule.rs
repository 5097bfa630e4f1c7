//! What a configuration says of its rule.

use std::sync::Arc;

use crate::{
    nn::Model,
    noise::{FreshLabels, Mode, Scheme},
    optim::{OptimizerConfig, OptimizerKind, PosteriorConfig},
    rules::{Program, Rule, RuleError, RuleKind, StatisticsPass},
};

use super::{RunConfig, TrainError};

/// Parts of a step's samples, where not given.
pub(super) const PARTS: u32 = 8;

/// The other parameters' published defaults.
mod published {
    pub(super) const RHO: f64 = 0.05;
    pub(super) const ASAM_RHO: f64 = 0.5;
    pub(super) const MSAM_RHO: f64 = 3.0;
    pub(super) const ETA: f64 = 0.01;
    pub(super) const RWP_LAMBDA: f64 = 0.5;
    pub(super) const MEZO_EPS: f64 = 1e-3;
}

impl RunConfig {
    /// The rule of a model's run.
    ///
    /// # Errors
    /// [`TrainError::Config`] for parameters that make none.
    pub fn rule_for(&self, model: &Model) -> Result<Rule, TrainError> {
        let (layout, tensors) = (model.graph.layout(), model.noise_tensors());
        let scheme = Scheme::new(self.noise_config(), &layout, &tensors, self.seed);
        self.check_model(model)?;
        let program = self.program().map_err(|error| wrong("rule", error.to_string()))?;
        let statistics = self.statistics(model);
        let mut rule = Rule::new(program.with_statistics(statistics), Arc::new(scheme));
        // As in the published code, which goes by names.
        rule.adaptive = model.graph.params().iter().map(|param| param.name.contains("weight")).collect();
        let [eta, beta] = rule.history;
        rule.history = [self.arwp_eta.unwrap_or(eta), self.arwp_beta.unwrap_or(beta)];
        Ok(rule)
    }

    /// Whether the optimizer has something to do in a model.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming the key.
    pub(super) fn check_model(&self, model: &Model) -> Result<(), TrainError> {
        if self.optimizer != OptimizerKind::Muon || model.graph.hidden_matrices().contains(&true) {
            return Ok(());
        }
        let reason = format!("muon moves the matrices between a network's first and last, and {} has none", self.model);
        Err(wrong("optimizer", reason))
    }

    /// Which passes move running statistics of batch norms. A model without any needs no pass for them.
    fn statistics(&self, model: &Model) -> StatisticsPass {
        let asked = self.rule_stats.unwrap_or(self.rule.statistics());
        let nothing = model.graph.stats().is_empty() && asked == StatisticsPass::Clean;
        if nothing { StatisticsPass::First } else { asked }
    }

    /// The labels that its rule draws anew each epoch, where it does.
    #[must_use]
    pub fn fresh_labels(&self) -> Option<FreshLabels> {
        let share = self.fresh_label_noise.filter(|_| self.rule == RuleKind::FreshLabels)?;
        Some(FreshLabels::new(share, self.seed))
    }

    /// The step as a program.
    fn program(&self) -> Result<Program, RuleError> {
        let rho = |published: f64| self.rho.unwrap_or(published);
        match self.rule {
            RuleKind::Noise | RuleKind::FreshLabels | RuleKind::Swag => Ok(Program::noise()),
            RuleKind::Sam => Program::sharpness_aware(rho(published::RHO)),
            RuleKind::Asam => Program::adaptive(rho(published::ASAM_RHO), self.eta.unwrap_or(published::ETA)),
            RuleKind::MSam => Program::sharpness_aware_by_parts(rho(published::RHO), self.sam_parts.unwrap_or(PARTS)),
            RuleKind::Msam => Program::ahead(rho(published::MSAM_RHO)),
            RuleKind::Nso => Program::noise_stability(self.pairs.unwrap_or(1), self.nso_lambda.unwrap_or_default()),
            RuleKind::Lpf => Ok(Program::low_pass(self.sub_batches.unwrap_or(PARTS))),
            RuleKind::Arwp => Ok(Program::adaptive_noise()),
            RuleKind::MRwp => Program::mixed_noise(self.rwp_lambda.unwrap_or(published::RWP_LAMBDA)),
            RuleKind::Ivon => Ok(Program::variational(self.mc_samples.unwrap_or(1))),
            RuleKind::Mezo => Ok(Program::zeroth_order()),
        }
    }

    /// The strength of draws that are of the rule's making and follow no schedule: units of a posterior's deviations, or half of the
    /// distance between two probes.
    pub(super) fn unscheduled_sigma(&self) -> Option<f64> {
        match self.rule {
            RuleKind::Ivon => Some(1.0),
            RuleKind::Mezo => Some(self.probe_distance() / 2.0),
            _ => None,
        }
    }

    /// Distance between the two probes of a step, in units of a unit draw.
    pub(super) fn probe_distance(&self) -> f64 {
        2.0 * self.mezo_eps.unwrap_or(published::MEZO_EPS)
    }

    /// The optimizer of a run on so many samples, as its rule has it.
    pub(super) fn optimizer_for(&self, samples: usize) -> OptimizerConfig {
        let published = PosteriorConfig::default();
        let posterior = PosteriorConfig {
            ess: self.ess.unwrap_or(samples as f64),
            hess_init: self.hess_init.unwrap_or(published.hess_init),
            draws: self.mc_samples.unwrap_or(published.draws),
        };
        OptimizerConfig {
            posterior: (self.rule == RuleKind::Ivon).then_some(posterior),
            // Its published code decays the weights that it has looked ahead to.
            decay_seen: self.rule == RuleKind::Msam,
            ..self.optimizer_config()
        }
    }

    /// Draws of noise a step.
    pub(super) fn draws(&self) -> u32 {
        match self.rule {
            RuleKind::Sam | RuleKind::Asam | RuleKind::MSam | RuleKind::Msam => 0,
            RuleKind::Nso => self.pairs.unwrap_or(1),
            RuleKind::Lpf => self.sub_batches.unwrap_or(PARTS),
            RuleKind::Ivon => self.mc_samples.unwrap_or(1),
            _ => 1,
        }
    }

    /// The mode of its noise: a rule that draws by itself does so on all weights.
    pub(super) fn noise_mode(&self) -> Mode {
        if self.rule.draws_at_sigma() { Mode::Model } else { self.noise }
    }
}

fn wrong(key: &str, reason: String) -> TrainError {
    TrainError::Config { key: key.to_owned(), reason }
}
