//! What an optimizer's kernels are told of a step.

use crate::kernels::{AdamStep, FreeStep, IvonStep, LionStep, NoiseStep, SgdStep};

use super::{OptimizerConfig, OptimizerKind, StepRate};

/// A step of an optimizer, as the values of its kernel.
pub(super) struct Values<'a> {
    pub(super) config: &'a OptimizerConfig,
    /// Updates made, this one among them.
    pub(super) steps: i32,
    pub(super) rate: StepRate,
    /// Of the next step.
    pub(super) noise: NoiseStep,
}

impl Values<'_> {
    /// SGD.
    pub(super) fn sgd(&self) -> SgdStep {
        let (config, StepRate { learning_rate, momentum }) = (self.config, self.rate);
        SgdStep {
            noise: self.noise,
            learning_rate: learning_rate as f32,
            momentum: momentum as f32,
            one_minus_dampening: (1.0 - config.dampening) as f32,
            weight_decay: config.weight_decay as f32,
            nesterov: u32::from(config.nesterov),
            first_step: u32::from(self.steps == 1),
        }
    }

    /// Adam, AdamW, and Muon on all but hidden matrices.
    pub(super) fn adam(&self) -> AdamStep {
        let (config, StepRate { learning_rate, momentum }) = (self.config, self.rate);
        let decoupled = config.kind != OptimizerKind::Adam;
        AdamStep {
            noise: self.noise,
            step_size: (learning_rate / (1.0 - momentum.powi(self.steps))) as f32,
            one_minus_beta1: (1.0 - momentum) as f32,
            beta2: config.beta2 as f32,
            one_minus_beta2: (1.0 - config.beta2) as f32,
            eps: config.eps as f32,
            weight_decay: if decoupled { 0.0 } else { config.weight_decay as f32 },
            decay_factor: if decoupled { (1.0 - learning_rate * config.weight_decay) as f32 } else { 1.0 },
            bias_correction2_sqrt: (1.0 - config.beta2.powi(self.steps)).sqrt() as f32,
            learning_rate: learning_rate as f32,
        }
    }

    /// Lion.
    pub(super) fn lion(&self) -> LionStep {
        let (config, StepRate { learning_rate, momentum }) = (self.config, self.rate);
        LionStep {
            noise: self.noise,
            learning_rate: learning_rate as f32,
            one_minus_beta1: (1.0 - momentum) as f32,
            one_minus_beta2: (1.0 - config.beta2) as f32,
            decay_factor: (1.0 - learning_rate * config.weight_decay) as f32,
        }
    }

    /// Schedule-free SGD.
    pub(super) fn schedule_free(&self) -> FreeStep {
        let StepRate { learning_rate, momentum } = self.rate;
        FreeStep {
            noise: self.noise,
            learning_rate: learning_rate as f32,
            momentum: momentum as f32,
            weight_decay: self.config.weight_decay as f32,
            share: (1.0 / f64::from(self.steps)) as f32,
        }
    }

    /// IVON, after a gradient at the draw `then`.
    pub(super) fn ivon(&self, then: NoiseStep) -> IvonStep {
        let (config, StepRate { learning_rate, momentum }) = (self.config, self.rate);
        let posterior = config.posterior.unwrap_or_default();
        let delta = config.weight_decay;
        IvonStep {
            noise: self.noise,
            then_seed_low: then.seed_low,
            then_seed_high: then.seed_high,
            then_step: then.step,
            one_minus_beta1: (1.0 - momentum) as f32,
            one_minus_beta2: (1.0 - config.beta2) as f32,
            bias_correction1: (1.0 - momentum.powi(self.steps)) as f32,
            step_size: (learning_rate * (posterior.hess_init + delta)) as f32,
            delta: delta as f32,
            ess: posterior.ess as f32,
        }
    }
}
