//! The optimizers: their state on the device, and one fused update a step.

use crate::{
    gpu::{Buffer, Gpu, GpuError, Recorder, View},
    kernels::{
        AdapterClass, Arena, NoiseRange, NoiseStep, NoiseUnit, UpdateAdam, UpdateFree, UpdateIvon, UpdateLion,
        UpdateMuon, UpdateSgd,
    },
    noise::Point,
};

use super::{OptimizerConfig, OptimizerKind, StepRate, UpdateUse, values::Values};

#[derive(Debug)]
enum Update {
    Sgd(UpdateSgd),
    Adam(UpdateAdam),
    Lion(UpdateLion),
    Free(UpdateFree),
    Muon(Box<UpdateMuon>),
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
    /// What of the state begins as the weights.
    begins: Vec<[View; 2]>,
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
                    (Update::Sgd(UpdateSgd::new(gpu, class, arena, &[&velocity], variant)?), vec![velocity])
                }
                OptimizerKind::Lion => {
                    let exp_avg = moment("exp_avg")?;
                    (Update::Lion(UpdateLion::new(gpu, class, arena, &[&exp_avg], variant)?), vec![exp_avg])
                }
                OptimizerKind::ScheduleFree => {
                    let state = [moment("z")?, moment("y")?];
                    (Update::Free(UpdateFree::new(gpu, class, arena, &state.each_ref(), variant)?), state.to_vec())
                }
                OptimizerKind::Muon => {
                    let moments = [moment("exp_avg")?, moment("exp_avg_sq")?];
                    let matrix = config.matrix_update();
                    let update = UpdateMuon::new(gpu, class, arena, moments.each_ref(), variant, matrix)?;
                    (Update::Muon(Box::new(update)), moments.to_vec())
                }
                OptimizerKind::Adam | OptimizerKind::AdamW => {
                    let moments = [moment("exp_avg")?, moment("exp_avg_sq")?];
                    (Update::Adam(UpdateAdam::new(gpu, class, arena, &moments.each_ref(), variant)?), moments.to_vec())
                }
            }
        };
        let clean = [NoiseRange { blocks: 0..arena.layout.blocks(), noisy: false }];
        let follows = if matches!(update, Update::Free(_)) { &state[..] } else { &[] };
        let begins = follows.iter().map(|iterate| [arena.weights.view(), iterate.view()]).collect();
        let optimizer = Self { config, update, state, steps: 0, clean, begins };
        let mut recorder = gpu.record();
        optimizer.begin(&mut recorder);
        recorder.submit()?;
        Ok(optimizer)
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

    /// The weights that gradients are taken around, where they are others than the clean ones.
    pub(crate) fn lead(&self) -> Option<&Buffer> {
        if matches!(self.update, Update::Free(_)) { self.state.get(1) } else { None }
    }

    /// Records the state before the first update, where it depends on the weights; so it is at first, for weights that were there.
    pub(crate) fn begin(&self, recorder: &mut Recorder<'_>) {
        self.begins.iter().for_each(|[from, to]| recorder.copy(from, to));
    }

    /// The unit of a posterior's draws, where there is one.
    pub(crate) fn unit(&self) -> Option<NoiseUnit> {
        let (posterior, hess) = (self.config.posterior?, self.state.get(1)?.clone());
        Some(NoiseUnit::Posterior { hess, ess: posterior.ess, delta: self.config.weight_decay })
    }

    /// The state's arenas: velocity, first and second moment, or iterates.
    #[must_use]
    pub fn state(&self) -> &[Buffer] {
        &self.state
    }

    /// The state's arenas that last from step to step, with PyTorch's names for them, or those of the published code.
    pub fn named_state(&self) -> impl Iterator<Item = (&'static str, &Buffer)> {
        let names: &[&str] = match self.update {
            Update::Sgd(_) => &["momentum_buffer"],
            Update::Adam(_) | Update::Muon(_) => &["exp_avg", "exp_avg_sq"],
            Update::Lion(_) => &["exp_avg"],
            Update::Free(_) => &["z", "y"],
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
        self.steps = self.steps.saturating_add(1);
        let (ranges, noise) = match leaves {
            // What lies ahead is known once the momentum is, and is put there after this.
            Point::Clean | Point::Ahead(_) => (&self.clean[..], NoiseStep::default()),
            Point::Noisy(noise) => (&noise.ranges[..], noise.values),
        };
        let values = Values { config: &self.config, steps: self.steps, rate, noise };
        match &self.update {
            Update::Sgd(update) => update.record(gpu, recorder, ranges, values.sgd()),
            Update::Adam(update) => update.record(gpu, recorder, ranges, values.adam()),
            Update::Lion(update) => update.record(gpu, recorder, ranges, values.lion()),
            Update::Free(update) => update.record(gpu, recorder, ranges, values.schedule_free()),
            Update::Muon(update) => update.record(gpu, recorder, ranges, values.adam()),
            Update::Ivon(update) => update.record(gpu, recorder, ranges, values.ivon(then)),
        }
    }
}
