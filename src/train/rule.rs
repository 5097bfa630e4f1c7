//! What a configuration says of its rule.

use std::sync::Arc;

use crate::{
    nn::Model,
    noise::{FreshLabels, Mode, Scheme},
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
}

impl RunConfig {
    /// The rule of a model's run.
    ///
    /// # Errors
    /// [`TrainError::Config`] for parameters that make none.
    pub fn rule_for(&self, model: &Model) -> Result<Rule, TrainError> {
        let (layout, tensors) = (model.graph.layout(), model.noise_tensors());
        let scheme = Scheme::new(self.noise_config(), &layout, &tensors, self.seed);
        let program = self.program().map_err(|error| wrong("rule", error.to_string()))?;
        let statistics = self.statistics(model);
        let mut rule = Rule::new(program.with_statistics(statistics), Arc::new(scheme));
        // As in the published code, which goes by names.
        rule.adaptive = model.graph.params().iter().map(|param| param.name.contains("weight")).collect();
        Ok(rule)
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

    /// The mode of its noise: a rule that draws by itself does so on all weights.
    pub(super) fn noise_mode(&self) -> Mode {
        if self.rule.draws_at_sigma() { Mode::Model } else { self.noise }
    }
}

fn wrong(key: &str, reason: String) -> TrainError {
    TrainError::Config { key: key.to_owned(), reason }
}
