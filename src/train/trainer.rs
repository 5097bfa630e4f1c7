//! A network ready to train: arenas, plans, data and optimizer on one device.

use std::sync::Arc;

use crate::{
    data::BatchOrder,
    gpu::{Buffer, Element, Gpu, GpuError},
    graph::{LossFunction, Plan, Schedule},
    kernels::{AdapterClass, Arena, FactorRules, GROWTH_INTERVAL, Norms},
    nn::{self, Model},
    noise::{NoiseScheme, Point, StepNoise},
    optim::StepRate,
    rules::{Compiled, DescentConfig, Effective, Machine, Rule, Updates},
    schedule::Clock,
};

use super::{
    DeviceData, OnNan, Prepared, RunConfig, TrainError,
    average::Average,
    calibrate::Calibration,
    evaluators::Evaluators,
    footprint::fitting_batch,
    gaussian::Swag,
    shares::{Shares, rule_modes},
};

/// Steps after which the loop begins to read their losses.
pub(super) const READ_EVERY: usize = 32;

/// Slots of the metrics ring: those being read, and those of the steps submitted meanwhile.
pub(super) const RING: usize = 2 * READ_EVERY;

/// The slot after those, of what nobody reads: the losses of further passes.
pub(super) const UNREAD: usize = RING;

/// A network in training.
#[derive(Debug)]
pub struct Trainer<'g> {
    pub(super) gpu: &'g Gpu,
    /// The model.
    pub model: Model,
    /// Its weights and gradients.
    pub arena: Arena,
    pub(super) machine: Machine,
    pub(super) loss: Arc<dyn LossFunction>,
    pub(super) label_smoothing: f32,
    pub(super) plan: Plan,
    /// For passes without a gradient, where the rule has some.
    pub(super) forward: Option<Plan>,
    pub(super) data: DeviceData,
    pub(super) normalisation: Vec<[f32; 2]>,
    /// Samples of a batch.
    batch: usize,
    pub(super) shares: Shares,
    pub(super) average: Option<Average>,
    /// What the rule keeps of weights gone through.
    pub(super) swag: Option<Swag>,
    pub(super) calibration: Option<Calibration>,
    pub(super) evaluators: Evaluators,
    pub(super) norms: Norms,
    pub(super) metrics: Buffer,
    pub(super) step: u64,
    pub(super) epoch: u64,
    pub(super) seed: u64,
}

/// What one step trains on, and with.
#[derive(Clone, Copy, Debug)]
pub struct TrainStep {
    /// Position of its first sample in the epoch's order.
    pub first: usize,
    /// Its samples.
    pub valid: usize,
    /// Step size and momentum.
    pub rate: StepRate,
}

impl<'g> Trainer<'g> {
    /// Builds everything a run needs and initialises the weights, from the file of `init` if there is one. Its rule is that
    /// of the configuration.
    ///
    /// # Errors
    /// Those of the device, of the weights' file, of shapes; [`TrainError::Memory`] before anything is allocated.
    pub fn new(gpu: &'g Gpu, config: &RunConfig, prepared: &Prepared) -> Result<Self, TrainError> {
        Self::with_rule(gpu, config, prepared, &config.rule_for(&prepared.model)?)
    }

    /// As [`Trainer::new`] with another rule: a program and a noise scheme, in whose place the configuration's noise counts for
    /// nothing.
    ///
    /// # Errors
    /// As [`Trainer::new`]; [`GpuError::Length`] for a scheme that has not a scale for each tensor.
    pub fn with_rule(gpu: &'g Gpu, config: &RunConfig, prepared: &Prepared, rule: &Rule) -> Result<Self, TrainError> {
        let model = prepared.model.clone();
        let layout = model.graph.layout();
        let compiled = rule.compiled();
        let batch = fitting_batch(gpu, config, prepared, &compiled)?;
        let element = config.precision.element();
        config.precision.expect(gpu)?;
        let scales = scales(rule, &model)?;
        let arena = match compiled.takes_gradients() {
            true => Arena::stored(gpu, layout, &scales, element)?,
            false => Arena::without_gradients(gpu, layout, &scales, element)?,
        };
        nn::initialise(gpu, &model, &arena, config.seed)?;
        if let Some(path) = &config.init {
            nn::load_as(gpu, &model, &arena, path, config.weights_format)?;
        }
        let normalisation = config.normalise.moments(&prepared.split.train)?;
        let metrics = gpu.buffer("metrics", (RING + 1) * 2)?;
        let samples = prepared.split.train.len();
        let accumulate = config.accumulate.min(samples.div_ceil(batch));
        let shares = Shares::new(&compiled, batch, accumulate);
        let data = DeviceData::new(gpu, prepared.split.train.clone(), shares.planned, &normalisation)?;
        let data = data.augmented(config.augmentation()).relabelled(config.fresh_labels());
        let planned = |mode| -> Result<Plan, TrainError> {
            let schedule = Schedule::suited(&model.graph, shares.planned, mode, prepared.loss.clone(), element, gpu)?;
            let schedule = schedule.with_deferred_sums(AdapterClass::for_device(gpu))?;
            Ok(Plan::new(gpu, &schedule, &arena, data.views(), &metrics.view())?)
        };
        let (first, forward) = rule_modes(&compiled, shares);
        let plan = planned(first)?;
        let forward = forward.map(planned).transpose()?;
        let updates = updates(config, samples, &compiled, &metrics);
        let steps_per_epoch = samples.div_ceil(shares.step) as u64;
        let length = config.length(steps_per_epoch);
        let clock = Clock::Run(length);
        let calibrates = config.bn_recalibrate && !model.graph.stats().is_empty();
        Ok(Self {
            gpu,
            machine: Machine::new(gpu, &arena, rule, updates, clock)?,
            loss: prepared.loss.clone(),
            label_smoothing: config.label_smoothing as f32,
            plan,
            forward,
            batch,
            shares,
            swag: config.swag(length)?,
            average: config.ema.map(|decay| Average::new(gpu, &arena, decay)).transpose()?,
            calibration: calibrates
                .then(|| Calibration::new(gpu, &model, &arena, &data, prepared.loss.clone(), shares.planned))
                .transpose()?,
            data,
            evaluators: Evaluators::new(gpu, &arena, config, prepared, &normalisation)?,
            norms: Norms::new(gpu, AdapterClass::for_device(gpu), &arena.weights)?,
            metrics,
            step: 0,
            epoch: 0,
            seed: config.seed,
            normalisation,
            model,
            arena,
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
        self.machine.set_steps_done(step);
        self.now_holds(effective);
    }

    /// What `weights_eff` was made to hold.
    pub(super) fn now_holds(&self, effective: Effective) {
        self.machine.now_holds(effective);
    }

    /// The noise of every step.
    #[must_use]
    pub fn scheme(&self) -> &dyn NoiseScheme {
        self.machine.scheme()
    }

    /// The noise of a step by the trainer's clock.
    #[must_use]
    pub fn noise(&self, step: u64) -> StepNoise {
        self.machine.noise(step)
    }

    /// What a step does, as it is recorded.
    #[must_use]
    pub fn rule(&self) -> &Compiled {
        self.machine.compiled()
    }

    /// Another clock for the schedule of the noise. At first it is that of a run as configured; [`run`](super::run) sets its
    /// own.
    pub fn set_clock(&mut self, clock: Clock) {
        self.machine.set_clock(clock);
    }

    /// This learning rate with the momentum, or beta1, of the configuration: for what has no schedule.
    #[must_use]
    pub fn rate(&self, learning_rate: f64) -> StepRate {
        self.machine.rate(learning_rate)
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
        self.shares.step
    }

    /// Training samples.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.data.len()
    }

    /// Where an epoch takes its samples from, in the order of their visit: [`Dataset::places`](crate::data::Dataset::places).
    #[must_use]
    pub fn places(&self, order: BatchOrder, seed: u64, epoch: u64) -> Vec<u32> {
        self.data.dataset().places(order, seed, epoch)
    }

    /// Begins an epoch, by which samples are augmented, with the order of its samples.
    ///
    /// # Errors
    /// As [`DeviceData::begin_epoch`].
    pub fn begin_epoch(&mut self, epoch: u64, order: Vec<u32>) -> Result<(), GpuError> {
        self.epoch = epoch;
        self.data.begin_epoch(self.gpu, epoch, order)
    }

    /// `weights_eff = weights + noise`, stand-alone. A step sees to it by itself.
    ///
    /// # Errors
    /// As [`Machine::put`].
    pub fn perturb(&self, noise: &StepNoise) -> Result<(), GpuError> {
        let point = Point::from(noise.clone());
        self.now_holds(Effective::Other);
        let mut recorder = self.gpu.record();
        self.machine.put(self.gpu, &mut recorder, &point)?;
        recorder.submit()?;
        self.now_holds(Effective::At(point));
        Ok(())
    }
}

/// How a run on so many samples updates its weights, by gradients or by the losses in `metrics`.
fn updates(config: &RunConfig, samples: usize, rule: &Compiled, metrics: &Buffer) -> Updates {
    let optimizer = config.optimizer_for(samples);
    if !rule.takes_gradients() {
        let descent = DescentConfig::new(config.probe_distance(), &optimizer, metrics.view(), RING);
        return Updates { optimizer, factor: None, descent: Some(descent) };
    }
    let skips = config.precision.element() == Element::Half || config.on_nan == OnNan::Skip;
    let limit = config.clip_norm.map(|norm| norm as f32);
    let rules = FactorRules { limit, skips, growth_interval: GROWTH_INTERVAL };
    Updates { optimizer, factor: (limit.is_some() || skips).then_some(rules), descent: None }
}

/// Per tensor the factor of a rule's noise.
fn scales(rule: &Rule, model: &Model) -> Result<Vec<f32>, GpuError> {
    let (scales, expected) = (rule.scheme.scales(), model.graph.params().len());
    if scales.len() == expected {
        return Ok(scales);
    }
    Err(GpuError::Length { kernel: "noise scheme", argument: "scales of tensors", expected, found: scales.len() })
}
