//! The optimizers: their state on the device, and one fused update a step.

use crate::{
    gpu::{Buffer, Gpu, GpuError, Recorder},
    kernels::{
        AdamStep, AdapterClass, Arena, IvonStep, LionStep, NoiseRange, NoiseStep, NoiseUnit, SgdStep, UpdateAdam,
        UpdateIvon, UpdateLion, UpdateSgd,
    },
    noise::Point,
};

use super::{OptimizerConfig, OptimizerKind, PosteriorConfig, StepRate, UpdateUse};

#[derive(Debug)]
enum Update {
    Sgd(UpdateSgd),
    Adam(UpdateAdam),
    Lion(UpdateLion),
    Ivon(UpdateIvon),
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
    /// Those of the device, and where a kernel does not compile.
    pub fn new(
        gpu: &Gpu,
        class: AdapterClass,
        config: OptimizerConfig,
        arena: &Arena,
        noise: u32,
        scaled: bool,
    ) -> Result<Self, GpuError> {
        Self::for_use(gpu, class, config, arena, UpdateUse { noise, scaled, separate: false })
    }

    /// As [`Optimizer::new`], for any use.
    ///
    /// # Errors
    /// As [`Optimizer::new`].
    pub fn for_use(
        gpu: &Gpu,
        class: AdapterClass,
        config: OptimizerConfig,
        arena: &Arena,
        purpose: UpdateUse,
    ) -> Result<Self, GpuError> {
        let (words, variant) = (arena.layout.words(), config.variant(purpose));
        let moment = |name: &str| gpu.buffer(name, words);
        let (update, state) = if let Some(posterior) = config.posterior {
            let hess = gpu.upload("hess", &vec![posterior.hess_init as f32; words])?;
            let summed = (posterior.draws > 1).then(|| moment("products")).transpose()?;
            let state = [moment("exp_avg")?, hess];
            let with = (purpose.noise, purpose.scaled);
            let update = UpdateIvon::new(gpu, class, arena, state.each_ref(), summed.as_ref(), with)?;
            (Update::Ivon(update), state.into_iter().chain(summed).collect())
        } else {
            match config.kind {
                OptimizerKind::Sgd => {
                    let velocity = moment("velocity")?;
                    (Update::Sgd(UpdateSgd::new(gpu, class, arena, &velocity, variant)?), vec![velocity])
                }
                OptimizerKind::Lion => {
                    let exp_avg = moment("exp_avg")?;
                    (Update::Lion(UpdateLion::new(gpu, class, arena, &exp_avg, variant)?), vec![exp_avg])
                }
                OptimizerKind::Adam | OptimizerKind::AdamW => {
                    let moments = [moment("exp_avg")?, moment("exp_avg_sq")?];
                    (Update::Adam(UpdateAdam::new(gpu, class, arena, moments.each_ref(), variant)?), moments.to_vec())
                }
            }
        };
        let clean = [NoiseRange { blocks: 0..arena.layout.blocks(), noisy: false }];
        Ok(Self { config, update, state, steps: 0, clean })
    }

    /// Arenas of state of a kind of optimizer, each as long as the weights.
    #[must_use]
    pub fn state_arenas(kind: OptimizerKind) -> usize {
        kind.state_arenas()
    }

    /// What sums up noise times gradients over the draws of a step, where a posterior has several.
    pub(crate) fn products(&self) -> Option<&Buffer> {
        self.state.get(2)
    }

    /// The unit of a posterior's draws, where there is one.
    pub(crate) fn unit(&self) -> Option<NoiseUnit> {
        let (posterior, hess) = (self.config.posterior?, self.state.get(1)?.clone());
        Some(NoiseUnit::Posterior { hess, ess: posterior.ess, delta: self.config.weight_decay })
    }

    /// The state's arenas: velocity, or first and second moment.
    #[must_use]
    pub fn state(&self) -> &[Buffer] {
        &self.state
    }

    /// The state's arenas that last from step to step, with PyTorch's names for them, or those of IVON's code.
    pub fn named_state(&self) -> impl Iterator<Item = (&'static str, &Buffer)> {
        let names: &[&str] = match self.update {
            Update::Sgd(_) => &["momentum_buffer"],
            Update::Adam(_) => &["exp_avg", "exp_avg_sq"],
            Update::Lion(_) => &["exp_avg"],
            Update::Ivon(_) => &["exp_avg", "hess"],
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
        self.record_after(gpu, recorder, rate, leaves, NoiseStep::default())
    }

    /// As [`Optimizer::record`], after a gradient at the draw `then`, by which a posterior is updated.
    ///
    /// # Errors
    /// As [`Optimizer::record`].
    pub fn record_after(
        &mut self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        rate: StepRate,
        leaves: &Point,
        then: NoiseStep,
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
            Update::Ivon(update) => {
                let PosteriorConfig { ess, hess_init, .. } = config.posterior.unwrap_or_default();
                let delta = config.weight_decay;
                let values = IvonStep {
                    noise,
                    then_seed_low: then.seed_low,
                    then_seed_high: then.seed_high,
                    then_step: then.step,
                    one_minus_beta1: (1.0 - momentum) as f32,
                    one_minus_beta2: (1.0 - config.beta2) as f32,
                    bias_correction1: (1.0 - momentum.powi(self.steps)) as f32,
                    step_size: (learning_rate * (hess_init + delta)) as f32,
                    delta: delta as f32,
                    ess: ess as f32,
                };
                update.record(gpu, recorder, ranges, values)
            }
            Update::Lion(update) => {
                let values = LionStep {
                    noise,
                    learning_rate: learning_rate as f32,
                    one_minus_beta1: (1.0 - momentum) as f32,
                    one_minus_beta2: (1.0 - config.beta2) as f32,
                    decay_factor: (1.0 - learning_rate * config.weight_decay) as f32,
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
