//! A network ready to train: arenas, plans, data and optimizer on one device.

use std::cell::RefCell;

use crate::{
    gpu::{Buffer, Element, Gpu, GpuError, PendingRead, Profile, Recorder},
    graph::{BatchInfo, Mode as PlanMode, Plan, Schedule},
    kernels::{
        AdapterClass, Arena, EffectiveWeights, FactorRules, GROWTH_INTERVAL, GradientFactor, GradientScaling,
        LossTerms, MovingAverage, NoiseRange, Norms, Perturb,
    },
    nn::{self, Model},
    noise::{Scale, Scheme, StepNoise},
    ops::Loss,
    optim::{Optimizer, StepRate},
};

use super::{
    DeviceData, OnNan, Prepared, RunConfig, TrainError, calibrate::Calibration, effective::Effective,
    footprint::fitting_batch, scoring::Evaluators,
};

/// Steps after which the loop begins to read their losses.
pub(super) const READ_EVERY: usize = 32;

/// Slots of the metrics ring: those being read, and those of the steps submitted meanwhile.
pub(super) const RING: usize = 2 * READ_EVERY;

/// A network in training.
#[derive(Debug)]
pub struct Trainer<'g> {
    gpu: &'g Gpu,
    /// The model.
    pub model: Model,
    /// Its weights and gradients.
    pub arena: Arena,
    scheme: Scheme,
    pub(super) optimizer: Optimizer,
    perturb: Perturb,
    filter_scaled: bool,
    pub(super) loss: Loss,
    pub(super) label_smoothing: f32,
    plan: Plan,
    pub(super) data: DeviceData,
    pub(super) normalisation: Vec<[f32; 2]>,
    batch: usize,
    /// Batches of a step.
    accumulate: usize,
    factor: Option<GradientFactor>,
    pub(super) clean: EffectiveWeights,
    pub(super) average: Option<Average>,
    pub(super) calibration: Option<Calibration>,
    pub(super) evaluators: Evaluators,
    pub(super) norms: Norms,
    metrics: Buffer,
    step: u64,
    pub(super) epoch: u64,
    seed: u64,
    /// What the buffer of effective weights holds; whoever has a trainer to look at may have it scored, so it is a cell, as
    /// the buffer is.
    effective: RefCell<Effective>,
}

/// What one step trains on, and with.
#[derive(Clone, Copy, Debug)]
pub struct TrainStep<'a> {
    /// Position of its first sample in the epoch's order.
    pub first: usize,
    /// Its samples.
    pub valid: usize,
    /// Step size and momentum.
    pub rate: StepRate,
    /// The noise that its gradient is taken at.
    pub noise: &'a StepNoise,
    /// The noise of the step after it, which its update writes in the same sweep.
    pub next: &'a StepNoise,
}

impl<'g> Trainer<'g> {
    /// Builds everything a run needs and initialises the weights, from the file of `init` if there is one.
    ///
    /// # Errors
    /// Those of the device, of the weights' file, of shapes; [`TrainError::Memory`] before anything is allocated.
    pub fn new(gpu: &'g Gpu, config: &RunConfig, prepared: &Prepared) -> Result<Self, TrainError> {
        let model = prepared.model.clone();
        let layout = model.graph.layout();
        let scheme = Scheme::new(config.noise_config(), &layout, &model.noise_tensors(), config.seed);
        let batch = fitting_batch(gpu, config, prepared)?;
        let element = config.precision.element();
        config.precision.expect(gpu)?;
        let arena = Arena::stored(gpu, layout, &scheme.scales(), element)?;
        nn::initialise(gpu, &model, &arena, config.seed)?;
        if let Some(path) = &config.init {
            nn::load(gpu, &model, &arena, path)?;
        }
        let distribution = config.noise_distribution.code();
        let filter_scaled = config.noise_scale == Scale::Filter;
        let normalisation = config.normalise.moments(&prepared.split.train)?;
        let metrics = gpu.buffer("metrics", RING * 2)?;
        let samples = prepared.split.train.len();
        let accumulate = config.accumulate.min(samples.div_ceil(batch));
        let data = DeviceData::new(gpu, prepared.split.train.clone(), batch, &normalisation)?;
        let data = data.augmented(config.augmentation());
        let mode = if accumulate > 1 { PlanMode::Accumulate } else { PlanMode::Train };
        let schedule = Schedule::stored(&model.graph, batch, mode, config.loss, element)?;
        let plan = Plan::new(gpu, &schedule, &arena, data.views(), &metrics.view())?;
        let skips = element == Element::Half || config.on_nan == OnNan::Skip;
        let scaled = config.clip_norm.is_some() || skips;
        let rules =
            FactorRules { limit: config.clip_norm.map(|norm| norm as f32), skips, growth_interval: GROWTH_INTERVAL };
        let factor = || GradientFactor::new(gpu, &arena, rules);
        let calibrates = config.bn_recalibrate && !model.graph.stats().is_empty();
        Ok(Self {
            gpu,
            optimizer: Optimizer::new(gpu, config.optimizer_config(), &arena, distribution, scaled)?,
            perturb: Perturb::new(gpu, &arena, distribution, filter_scaled)?,
            filter_scaled,
            loss: config.loss,
            label_smoothing: config.label_smoothing as f32,
            plan,
            batch,
            accumulate,
            factor: scaled.then(factor).transpose()?,
            clean: EffectiveWeights::new(gpu, &arena, &arena.weights)?,
            average: config.ema.map(|decay| Average::new(gpu, &arena, decay)).transpose()?,
            calibration: calibrates.then(|| Calibration::new(gpu, &model, &arena, &data, batch)).transpose()?,
            data,
            evaluators: Evaluators::new(gpu, &arena, config, prepared, &normalisation)?,
            norms: Norms::new(gpu, AdapterClass::of(gpu), &arena.weights)?,
            metrics,
            step: 0,
            epoch: 0,
            seed: config.seed,
            effective: RefCell::default(),
            normalisation,
            model,
            arena,
            scheme,
        })
    }

    /// The device.
    #[must_use]
    pub fn gpu(&self) -> &'g Gpu {
        self.gpu
    }

    /// Steps done.
    #[must_use]
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Goes on as after so many steps; weights and state are the caller's to restore, and what `weights_eff` holds is the
    /// caller's to say.
    pub(super) fn set_steps_done(&mut self, step: u64, effective: Effective) {
        self.step = step;
        self.optimizer.set_steps_done(step);
        self.now_holds(effective);
    }

    /// Whether `weights_eff` holds the clean weights with this noise.
    pub(super) fn holds(&self, noise: &StepNoise) -> bool {
        self.effective.borrow().holds(noise)
    }

    /// What `weights_eff` was made to hold.
    pub(super) fn now_holds(&self, effective: Effective) {
        self.effective.replace(effective);
    }

    /// The noise.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// This learning rate with the momentum, or beta1, of the configuration: for what has no schedule.
    #[must_use]
    pub fn rate(&self, learning_rate: f64) -> StepRate {
        self.optimizer.rate(learning_rate)
    }

    /// The seed of noise and initial weights.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Samples of a batch.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Samples of a step: those of all its batches.
    #[must_use]
    pub fn step_samples(&self) -> usize {
        self.batch * self.accumulate
    }

    /// Arenas of optimizer state.
    #[must_use]
    pub fn optimizer_state_arenas(&self) -> usize {
        self.optimizer.state().len()
    }

    /// Training samples.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.data.len()
    }

    /// Begins an epoch, by which samples are augmented, with the order of its samples.
    ///
    /// # Errors
    /// As [`DeviceData::set_order`].
    pub fn begin_epoch(&mut self, epoch: u64, order: Vec<u32>) -> Result<(), GpuError> {
        self.epoch = epoch;
        self.data.set_order(self.gpu, order)
    }

    /// `weights_eff = weights + noise`, stand-alone. A step sees to it by itself.
    ///
    /// # Errors
    /// As [`Perturb::record`].
    pub fn perturb(&self, noise: &StepNoise) -> Result<(), GpuError> {
        self.now_holds(Effective::Other);
        let mut recorder = self.gpu.record();
        self.record_noise(&mut recorder, noise)?;
        recorder.submit()?;
        self.now_holds(Effective::with(noise));
        Ok(())
    }

    /// Records `weights_eff = weights + noise`.
    pub(super) fn record_noise(&self, recorder: &mut Recorder<'_>, noise: &StepNoise) -> Result<(), GpuError> {
        self.perturb.record(self.gpu, recorder, &noise.ranges, noise.values)
    }

    /// Takes a whole step: forward and backward at the weights with its noise, batch by batch, then the update of the clean
    /// ones, which writes the noisy weights of the next step too.
    ///
    /// Where `weights_eff` does not hold the weights with this step's noise (after an evaluation, a measurement, a resumption,
    /// at another sigma), they are made first.
    ///
    /// # Errors
    /// As [`Recorder::submit`].
    pub fn train_step(&mut self, step: TrainStep<'_>, mut profile: Option<&mut Profile>) -> Result<(), GpuError> {
        if !self.holds(step.noise) {
            self.perturb(step.noise)?;
        }
        self.now_holds(Effective::Other);
        let (gpu, end) = (self.gpu, step.first + step.valid);
        for (part, start) in (step.first..end).step_by(self.batch).enumerate() {
            let of_part = self.batch.min(end - start);
            let staged = self.data.stage(gpu, start, of_part)?;
            let batch = BatchInfo {
                slot_adds: part > 0,
                terms: LossTerms { mean_over: step.valid as u32, label_smoothing: self.label_smoothing },
                epoch: self.epoch as u32,
                step: self.step * self.accumulate as u64 + part as u64,
                seed: self.seed,
                ..BatchInfo::new(staged, of_part as u32, (self.step % RING as u64) as u32)
            };
            let mut recorder = gpu.record_with(profile.as_deref_mut());
            if self.accumulate > 1 && part == 0 {
                recorder.clear(&self.arena.grads.view());
            }
            self.plan.record(&mut recorder, batch);
            if start + of_part == end {
                self.record_update(&mut recorder, step.rate, step.next)?;
            }
            recorder.submit()?;
        }
        self.step += 1;
        self.now_holds(Effective::with(step.next));
        Ok(())
    }

    fn record_update(&mut self, recorder: &mut Recorder<'_>, rate: StepRate, next: &StepNoise) -> Result<(), GpuError> {
        if let Some(factor) = &self.factor {
            factor.record(recorder);
        }
        if self.filter_scaled {
            // Filter norms are those of the new weights, known only once all of them are written.
            let ranges = next.ranges.iter().map(|range| NoiseRange { noisy: false, ..range.clone() }).collect();
            let clean = StepNoise { ranges, ..next.clone() };
            self.optimizer.record(self.gpu, recorder, rate, &clean)?;
            self.record_noise(recorder, next)?;
        } else {
            self.optimizer.record(self.gpu, recorder, rate, next)?;
        }
        match &self.average {
            Some(average) if self.step == 0 => average.begin(recorder, &self.arena),
            Some(average) => average.update.record(recorder),
            None => {}
        }
        Ok(())
    }

    /// How gradients are scaled, and how many updates were left out so far; the loss scale is 1 in f32.
    ///
    /// # Errors
    /// As [`Gpu::read`].
    pub fn scaling(&self) -> Result<GradientScaling, GpuError> {
        let scaling: Vec<GradientScaling> = self.gpu.read(&self.arena.scaling.view())?;
        Ok(scaling.first().copied().unwrap_or(GradientScaling::initial(self.arena.element)))
    }

    /// Whether updates with gradients that are not finite are left out.
    #[must_use]
    pub fn skips(&self) -> bool {
        self.factor.as_ref().is_some_and(GradientFactor::skips)
    }

    /// Starts to read the ring of (loss, correct) sums; slot = step mod its length.
    ///
    /// # Errors
    /// As [`Gpu::read_later`].
    pub fn read_metrics(&self) -> Result<PendingRead, GpuError> {
        self.gpu.read_later(&self.metrics.view())
    }

    /// The moving average of the weights, laid out as they are, where it is kept.
    #[must_use]
    pub fn average(&self) -> Option<&Buffer> {
        self.average.as_ref().map(|average| &average.weights)
    }
}

/// The weights' moving average.
#[derive(Debug)]
pub(super) struct Average {
    weights: Buffer,
    update: MovingAverage,
    pub(super) effective: EffectiveWeights,
}

impl Average {
    /// Before the first update it is the weights as they are.
    fn new(gpu: &Gpu, arena: &Arena, decay: f64) -> Result<Self, GpuError> {
        let weights = gpu.buffer("moving average", arena.weights.len())?;
        let update = MovingAverage::new(gpu, &arena.weights, &weights, decay)?;
        let effective = EffectiveWeights::new(gpu, arena, &weights)?;
        let average = Self { weights, update, effective };
        let mut recorder = gpu.record();
        average.begin(&mut recorder, arena);
        recorder.submit()?;
        Ok(average)
    }

    /// Records a copy of the weights, which is what the first update leaves: `torch.optim.swa_utils.AveragedModel`'s.
    fn begin(&self, recorder: &mut Recorder<'_>, arena: &Arena) {
        recorder.copy(&arena.weights.view(), &self.weights.view());
    }
}
