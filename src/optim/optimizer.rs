//! The optimizers: their settings, their state on the device, and one fused update a step.

use serde::{Deserialize, Serialize};

use crate::{
    gpu::{Buffer, Element, Gpu, GpuError, Launch, Recorder, WORD_BYTES, Work},
    kernels::{
        AdamStep, AdapterClass, Arena, NoiseRange, NoiseStep, SgdStep, Target, UpdateAdam, UpdateSgd, UpdateVariant,
    },
    names::named,
    noise::{Distribution, Point},
};

use super::StepRate;

named!("optimizer",
    /// Which update rule.
    #[derive(Default)]
    OptimizerKind {
        /// Stochastic gradient descent with momentum.
        #[default]
        Sgd = "sgd",
        /// Adam with L2 weight decay.
        Adam = "adam",
        /// Adam with decoupled weight decay.
        AdamW = "adamw",
    }
);

named!("decay",
    /// Which tensors weight decay is on.
    #[derive(Default)]
    Decay {
        /// All of them, as in PyTorch.
        #[default]
        All = "all",
        /// Those of two dimensions or more: weights, embeddings and positions, but no biases and no norms, as language models are
        /// trained (nanoGPT's `configure_optimizers`).
        Matrices = "matrices",
    }
);

impl Decay {
    /// Whether it is on all tensors, as it was before there was a choice.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::All
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
    /// Which tensors weight decay is on.
    pub decay: Decay,
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
            decay: Decay::All,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
        }
    }
}

impl OptimizerConfig {
    /// This learning rate with the momentum, or beta1, of these settings: for what has no schedule.
    #[must_use]
    pub fn rate(&self, learning_rate: f64) -> StepRate {
        StepRate { learning_rate, momentum: if self.kind == OptimizerKind::Sgd { self.momentum } else { self.beta1 } }
    }

    /// What an update of `words` weights launches, all of which get noise; the weights that the network sees are stored as
    /// `element`.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn launches(&self, target: &Target, words: usize, element: Element) -> Result<Vec<Launch>, GpuError> {
        let variant = self.variant(Distribution::Gaussian.code(), element == Element::Half);
        let launches = match self.kind {
            OptimizerKind::Sgd => UpdateSgd::launches(target, words, variant)?,
            OptimizerKind::Adam | OptimizerKind::AdamW => UpdateAdam::launches(target, words, variant)?,
        };
        // The parts are alike but for the last.
        let all: u64 = launches.iter().map(Launch::workgroups).sum();
        let Work { flops, bytes } = self.work(words, element);
        let share = |whole: u64, launch: &Launch| (whole as f64 * launch.workgroups() as f64 / all as f64) as u64;
        let shared = |launch: Launch| {
            let work = Work { flops: share(flops, &launch), bytes: share(bytes, &launch) };
            launch.doing(work)
        };
        Ok(launches.into_iter().map(shared).collect())
    }

    fn variant(&self, noise: u32, scaled: bool) -> UpdateVariant {
        UpdateVariant { noise, scaled, decay_matrices: self.decay == Decay::Matrices }
    }

    /// The work of an update of `words` weights: it reads gradients, state and weights and writes state, weights and the
    /// weights that the network sees, stored as `element`. Noise is not counted: its work is integers.
    #[must_use]
    pub fn work(&self, words: usize, element: Element) -> Work {
        // Operations of a weight, and f32 arenas read and written.
        let (operations, arenas) = match self.kind {
            // Without momentum there is no state to read.
            OptimizerKind::Sgd if self.momentum == 0.0 => (4, 3),
            OptimizerKind::Sgd => (7, 5),
            OptimizerKind::Adam | OptimizerKind::AdamW => (16, 7),
        };
        let noisy = element.words(words) as u64;
        Work { flops: words as u64 * operations, bytes: (words as u64 * arenas + noisy) * WORD_BYTES }
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
    /// The whole arena, without noise.
    clean: [NoiseRange; 1],
}

impl Optimizer {
    /// Plans the update of an arena; `noise` is the distribution's code; with `scaled` gradients are multiplied by the factor
    /// of the arena's `scaling`, and a factor of 0 leaves weights and state as they are.
    ///
    /// # Errors
    /// As [`UpdateSgd::new`] and [`UpdateAdam::new`].
    pub fn new(
        gpu: &Gpu,
        class: AdapterClass,
        config: OptimizerConfig,
        arena: &Arena,
        noise: u32,
        scaled: bool,
    ) -> Result<Self, GpuError> {
        let (words, variant) = (arena.layout.words(), config.variant(noise, scaled));
        let (update, state) = if config.kind == OptimizerKind::Sgd {
            let velocity = gpu.buffer("velocity", words)?;
            (Update::Sgd(UpdateSgd::new(gpu, class, arena, &velocity, variant)?), vec![velocity])
        } else {
            let moments = [gpu.buffer("exp_avg", words)?, gpu.buffer("exp_avg_sq", words)?];
            (Update::Adam(UpdateAdam::new(gpu, class, arena, [&moments[0], &moments[1]], variant)?), moments.to_vec())
        };
        let clean = [NoiseRange { blocks: 0..arena.layout.blocks(), noisy: false }];
        Ok(Self { config, update, state, steps: 0, clean })
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

    /// This learning rate with the momentum, or beta1, of the settings: for what has no schedule.
    #[must_use]
    pub fn rate(&self, learning_rate: f64) -> StepRate {
        self.config.rate(learning_rate)
    }

    /// Resumes as after so many updates.
    pub fn set_steps_done(&mut self, steps: u64) {
        self.steps = i32::try_from(steps).unwrap_or(i32::MAX);
    }

    /// Records `weights <- step(weights, grads)` at `rate`, which in the same sweep leaves `weights_eff` at a point near the new
    /// weights; blocks that are noisy in part are left clean, for [`Perturb::record_edges`](crate::kernels::Perturb::record_edges).
    ///
    /// Where the rate's momentum is beta1, the bias is corrected by that of this step alone, as in PyTorch.
    ///
    /// # Errors
    /// As the sweep over the arena.
    pub fn record(
        &mut self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        rate: StepRate,
        leaves: &Point,
    ) -> Result<(), GpuError> {
        let StepRate { learning_rate, momentum } = rate;
        self.steps = self.steps.saturating_add(1);
        let config = &self.config;
        let (ranges, noise) = match leaves {
            // What lies ahead is known once the momentum is, and is put there after this.
            Point::Clean | Point::Ahead(_) => (&self.clean[..], NoiseStep::default()),
            Point::Noisy(noise) => (&noise.ranges[..], noise.values),
        };
        match &self.update {
            Update::Sgd(update) => {
                let values = SgdStep {
                    noise,
                    learning_rate: learning_rate as f32,
                    momentum: momentum as f32,
                    one_minus_dampening: (1.0 - config.dampening) as f32,
                    weight_decay: config.weight_decay as f32,
                    nesterov: u32::from(config.nesterov),
                    first_step: u32::from(self.steps == 1),
                };
                update.record(gpu, recorder, ranges, values)
            }
            Update::Adam(update) => {
                let decoupled = config.kind == OptimizerKind::AdamW;
                let values = AdamStep {
                    noise,
                    step_size: (learning_rate / (1.0 - momentum.powi(self.steps))) as f32,
                    one_minus_beta1: (1.0 - momentum) as f32,
                    beta2: config.beta2 as f32,
                    one_minus_beta2: (1.0 - config.beta2) as f32,
                    eps: config.eps as f32,
                    weight_decay: if decoupled { 0.0 } else { config.weight_decay as f32 },
                    decay_factor: if decoupled { (1.0 - learning_rate * config.weight_decay) as f32 } else { 1.0 },
                    bias_correction2_sqrt: (1.0 - config.beta2.powi(self.steps)).sqrt() as f32,
                    learning_rate: learning_rate as f32,
                };
                update.record(gpu, recorder, ranges, values)
            }
        }
    }
}
