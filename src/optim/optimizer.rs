//! The optimizers: their settings, their state on the device, and one fused update a step.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    gpu::{Buffer, Gpu, GpuError, Recorder},
    kernels::{AdamStep, Arena, SgdStep, UpdateAdam, UpdateSgd},
    noise::StepNoise,
};

/// Which update rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with momentum.
    #[default]
    Sgd,
    /// Adam with L2 weight decay.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
}

impl fmt::Display for OptimizerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sgd => "sgd",
            Self::Adam => "adam",
            Self::AdamW => "adamw",
        })
    }
}

impl FromStr for OptimizerKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Sgd, Self::Adam, Self::AdamW]
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or_else(|| format!("unknown optimizer {text:?}, expected one of sgd, adam, adamw"))
    }
}

/// Settings of the update, with PyTorch's names and defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The rule.
    pub kind: OptimizerKind,
    /// SGD: momentum.
    pub momentum: f64,
    /// SGD: dampening of the gradient in the velocity.
    pub dampening: f64,
    /// SGD: Nesterov's look-ahead.
    pub nesterov: bool,
    /// L2 in SGD and Adam, decoupled in AdamW.
    pub weight_decay: f64,
    /// Adam: decay of the first moment.
    pub beta1: f64,
    /// Adam: decay of the second moment.
    pub beta2: f64,
    /// Adam: added to the denominator.
    pub eps: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            kind: OptimizerKind::Sgd,
            momentum: 0.0,
            dampening: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
        }
    }
}

#[derive(Debug)]
enum Update {
    Sgd(UpdateSgd),
    Adam(UpdateAdam),
}

/// An optimizer with its state on the device.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    update: Update,
    state: Vec<Buffer>,
    steps: i32,
}

impl Optimizer {
    /// Plans the update of an arena; `noise` is the distribution's code; with `scaled` gradients are multiplied by the factor
    /// of the arena's `scaling`, and a factor of 0 leaves weights and state as they are.
    ///
    /// # Errors
    /// As [`UpdateSgd::new`] and [`UpdateAdam::new`].
    pub fn new(gpu: &Gpu, config: OptimizerConfig, arena: &Arena, noise: u32, scaled: bool) -> Result<Self, GpuError> {
        let words = arena.layout.words();
        let (update, state) = if config.kind == OptimizerKind::Sgd {
            let velocity = gpu.buffer("velocity", words)?;
            (Update::Sgd(UpdateSgd::new(gpu, arena, &velocity, noise, scaled)?), vec![velocity])
        } else {
            let moments = [gpu.buffer("exp_avg", words)?, gpu.buffer("exp_avg_sq", words)?];
            (Update::Adam(UpdateAdam::new(gpu, arena, [&moments[0], &moments[1]], noise, scaled)?), moments.to_vec())
        };
        Ok(Self { config, update, state, steps: 0 })
    }

    /// Arenas of state of a kind of optimizer, each as long as the weights.
    #[must_use]
    pub fn state_arenas(kind: OptimizerKind) -> usize {
        if kind == OptimizerKind::Sgd { 1 } else { 2 }
    }

    /// The state's arenas: velocity, or first and second moment.
    #[must_use]
    pub fn state(&self) -> &[Buffer] {
        &self.state
    }

    /// The state's arenas with PyTorch's names for them.
    pub fn named_state(&self) -> impl Iterator<Item = (&'static str, &Buffer)> {
        let names: &[&str] = match self.update {
            Update::Sgd(_) => &["momentum_buffer"],
            Update::Adam(_) => &["exp_avg", "exp_avg_sq"],
        };
        names.iter().copied().zip(&self.state)
    }

    /// Goes on as after so many updates.
    pub fn set_steps_done(&mut self, steps: u64) {
        self.steps = i32::try_from(steps).unwrap_or(i32::MAX);
    }

    /// Records `weights <- step(weights, grads)` and `weights_eff <- weights + noise` of the next step.
    ///
    /// # Errors
    /// As the sweep over the arena.
    pub fn record(
        &mut self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        learning_rate: f64,
        next: &StepNoise,
    ) -> Result<(), GpuError> {
        self.steps = self.steps.saturating_add(1);
        let of = &self.config;
        match &self.update {
            Update::Sgd(update) => {
                let values = SgdStep {
                    noise: next.values,
                    learning_rate: learning_rate as f32,
                    momentum: of.momentum as f32,
                    one_minus_dampening: (1.0 - of.dampening) as f32,
                    weight_decay: of.weight_decay as f32,
                    nesterov: u32::from(of.nesterov),
                    first_step: u32::from(self.steps == 1),
                };
                update.record(gpu, recorder, &next.ranges, values)
            }
            Update::Adam(update) => {
                let decoupled = of.kind == OptimizerKind::AdamW;
                let values = AdamStep {
                    noise: next.values,
                    step_size: (learning_rate / (1.0 - of.beta1.powi(self.steps))) as f32,
                    one_minus_beta1: (1.0 - of.beta1) as f32,
                    beta2: of.beta2 as f32,
                    one_minus_beta2: (1.0 - of.beta2) as f32,
                    eps: of.eps as f32,
                    weight_decay: if decoupled { 0.0 } else { of.weight_decay as f32 },
                    decay_factor: if decoupled { (1.0 - learning_rate * of.weight_decay) as f32 } else { 1.0 },
                    bias_correction2_sqrt: (1.0 - of.beta2.powi(self.steps)).sqrt() as f32,
                };
                update.record(gpu, recorder, &next.ranges, values)
            }
        }
    }
}
