//! A network ready to train: arenas, plans, data and optimizer on one device.

use crate::{
    analysis::{AnalysisError, Curvature, Subject, TraceEstimate, TraceOptions, hessian_trace},
    data::Dataset,
    gpu::{Buffer, Element, Gpu, GpuError, PendingRead, Profile, Recorder},
    graph::{BatchInfo, Loss, Mode as PlanMode, Plan, Schedule},
    kernels::{
        AdapterClass, Arena, EffectiveWeights, FactorRules, GROWTH_INTERVAL, GradientFactor, GradientScaling,
        LossTerms, MovingAverage, NoiseRange, Norms, Perturb,
    },
    nn::{self, Model},
    noise::{Scale, Scheme, StepNoise},
    optim::Optimizer,
};

use super::{
    DeviceData, Evaluation, Evaluator, OnNan, Prepared, RunConfig, Scores, Traces, TrainError,
    calibrate::Calibration,
    evaluate::{SetWeights, set},
    footprint::fitting_batch,
};

/// Slots of the metrics ring: steps between two reads.
pub(super) const RING: usize = 1024;

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
    loss: Loss,
    label_smoothing: f32,
    plan: Plan,
    data: DeviceData,
    batch: usize,
    /// Batches of a step.
    accumulate: usize,
    factor: Option<GradientFactor>,
    clean: EffectiveWeights,
    average: Option<Average>,
    calibration: Option<Calibration>,
    train: Evaluator,
    test: Evaluator,
    norms: Norms,
    metrics: Buffer,
    step: u64,
    epoch: u64,
    seed: u64,
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
        if element == Element::Half && !gpu.has_f16() {
            let (adapter, feature) = (gpu.adapter_name().to_owned(), "f16 in shaders (for --precision f16)");
            return Err(GpuError::MissingFeature { adapter, feature }.into());
        }
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
        let schedule = Schedule::stored(&model.graph, batch, mode, element)?;
        let plan = Plan::new(gpu, &schedule, &arena, data.views(), &metrics.view(), config.loss)?;
        let evaluator = |data: &Dataset| Evaluator::new(gpu, &model, &arena, data.clone(), &normalisation, config.loss);
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
            train: evaluator(&prepared.split.train)?,
            test: evaluator(&prepared.split.test)?,
            norms: Norms::new(gpu, AdapterClass::of(gpu), &arena.weights)?,
            metrics,
            step: 0,
            epoch: 0,
            seed: config.seed,
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

    /// Goes on as after so many steps; weights and state are the caller's to restore.
    pub(super) fn set_steps_done(&mut self, step: u64) {
        self.step = step;
        self.optimizer.set_steps_done(step);
    }

    /// The noise.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
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

    /// Records `weights_eff = weights + noise`, stand-alone: before the first step and after an evaluation.
    ///
    /// # Errors
    /// As [`Perturb::record`].
    pub fn perturb(&self, noise: &StepNoise) -> Result<(), GpuError> {
        let mut recorder = self.gpu.record();
        self.perturb.record(self.gpu, &mut recorder, &noise.ranges, noise.values)?;
        recorder.submit()
    }

    /// Records the whole step: forward and backward at the noisy weights, batch by batch, then the update of the clean
    /// ones, which writes the noisy weights of the `next` step too.
    ///
    /// # Errors
    /// As [`Recorder::submit`].
    pub fn train_step(
        &mut self,
        first: usize,
        valid: usize,
        learning_rate: f64,
        next: &StepNoise,
        mut profile: Option<&mut Profile>,
    ) -> Result<(), GpuError> {
        let gpu = self.gpu;
        for (part, start) in (first..first + valid).step_by(self.batch).enumerate() {
            let of_part = self.batch.min(first + valid - start);
            let staged = self.data.stage(gpu, start, of_part)?;
            let batch = BatchInfo {
                slot_adds: part > 0,
                terms: LossTerms { mean_over: valid as u32, label_smoothing: self.label_smoothing },
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
            if start + of_part == first + valid {
                self.record_update(&mut recorder, learning_rate, next)?;
            }
            recorder.submit()?;
        }
        self.step += 1;
        Ok(())
    }

    fn record_update(
        &mut self,
        recorder: &mut Recorder<'_>,
        learning_rate: f64,
        next: &StepNoise,
    ) -> Result<(), GpuError> {
        if let Some(factor) = &self.factor {
            factor.record(recorder);
        }
        if self.filter_scaled {
            // Filter norms are those of the new weights, known only once all of them are written.
            let ranges = next.ranges.iter().map(|range| NoiseRange { noisy: false, ..range.clone() }).collect();
            let clean = StepNoise { ranges, ..next.clone() };
            self.optimizer.record(self.gpu, recorder, learning_rate, &clean)?;
            self.perturb.record(self.gpu, recorder, &next.ranges, next.values)?;
        } else {
            self.optimizer.record(self.gpu, recorder, learning_rate, next)?;
        }
        if let Some(average) = &self.average {
            average.update.record(recorder);
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

    /// Re-estimates the running statistics of batch norms at the clean weights, where the configuration says so.
    ///
    /// # Errors
    /// Those of the device.
    pub fn recalibrate(&self) -> Result<(), GpuError> {
        match &self.calibration {
            Some(calibration) => calibration.run(self.gpu, &self.data, self.epoch as u32),
            None => Ok(()),
        }
    }

    /// Loss and accuracy at the clean weights. Leaves `weights_eff` clean: perturb before the next step.
    ///
    /// # Errors
    /// Those of the device.
    pub fn scores(&self) -> Result<Scores, GpuError> {
        self.scores_of(&self.clean)
    }

    /// Loss and accuracy at the moving average of the weights, where it is kept, with the running statistics of the
    /// weights themselves. Leaves `weights_eff` so: perturb before the next step.
    ///
    /// # Errors
    /// Those of the device.
    pub fn average_scores(&self) -> Result<Option<Scores>, GpuError> {
        self.average.as_ref().map(|average| self.scores_of(&average.effective)).transpose()
    }

    /// Loss and accuracy at weights with this noise. Leaves `weights_eff` noisy: perturb before the next step.
    ///
    /// # Errors
    /// Those of the device.
    pub fn noisy_scores(&self, noise: &StepNoise) -> Result<Scores, GpuError> {
        self.scores_at(&|recorder| self.perturb.record(self.gpu, recorder, &noise.ranges, noise.values))
    }

    fn scores_of(&self, weights: &EffectiveWeights) -> Result<Scores, GpuError> {
        self.scores_at(&set(weights))
    }

    fn scores_at(&self, set: &SetWeights<'_>) -> Result<Scores, GpuError> {
        Ok(Scores::new(self.train.evaluate_at(self.gpu, set)?, self.test.evaluate_at(self.gpu, set)?))
    }

    /// The moving average of the weights, laid out as they are, where it is kept.
    #[must_use]
    pub fn average(&self) -> Option<&Buffer> {
        self.average.as_ref().map(|average| &average.weights)
    }

    /// Loss and accuracy on the test data, clean weights. Leaves `weights_eff` clean: perturb before the next step.
    ///
    /// # Errors
    /// Those of the device.
    pub fn evaluate_test(&self) -> Result<Evaluation, GpuError> {
        self.test.evaluate(self.gpu)
    }

    /// The trace of the Hessian of the loss over `data`, or over the training data as they are, at the clean weights.
    ///
    /// Leaves `weights_eff` noisy with the probe: perturb before the next step.
    ///
    /// # Errors
    /// As [`hessian_trace`].
    pub fn hessian_trace(
        &self,
        data: Option<&DeviceData>,
        options: TraceOptions,
    ) -> Result<TraceEstimate, AnalysisError> {
        let data = data.unwrap_or(self.train.data());
        let arena = self.arena.in_f32(self.gpu)?;
        let subject = Subject {
            model: &self.model,
            arena: &arena,
            loss: self.loss,
            label_smoothing: self.label_smoothing,
            data: data.views(),
            samples: data.len(),
            capacity: data.capacity(),
            stage: &|first, valid| data.stage(self.gpu, first, valid),
        };
        hessian_trace(self.gpu, &subject, options)
    }

    /// The traces of the Hessian and of its Gauss-Newton part, as [`Trainer::hessian_trace`].
    ///
    /// Probes are of the run's seed: over seeds their error averages out, and runs of one seed, which are compared with each
    /// other, share it.
    ///
    /// # Errors
    /// As [`hessian_trace`].
    pub fn traces(&self, data: Option<&DeviceData>, probes: u32) -> Result<Traces, AnalysisError> {
        let of = |curvature| {
            let options = TraceOptions::default();
            self.hessian_trace(data, TraceOptions { probes, curvature, seed: options.seed ^ self.seed, ..options })
        };
        Ok(Traces { hessian: of(Curvature::Hessian)?, gauss_newton: of(Curvature::GaussNewton)? })
    }

    /// (L1, L2) norm of the clean weights.
    ///
    /// # Errors
    /// Those of the device.
    pub fn norms(&self) -> Result<(f64, f64), GpuError> {
        self.norms.read(self.gpu)
    }
}

/// The weights' moving average.
#[derive(Debug)]
struct Average {
    weights: Buffer,
    update: MovingAverage,
    effective: EffectiveWeights,
}

impl Average {
    /// It starts as the weights are.
    fn new(gpu: &Gpu, arena: &Arena, decay: f64) -> Result<Self, GpuError> {
        let weights = gpu.buffer("moving average", arena.weights.len())?;
        let update = MovingAverage::new(gpu, &arena.weights, &weights, decay)?;
        let effective = EffectiveWeights::new(gpu, arena, &weights)?;
        let mut recorder = gpu.record();
        recorder.copy(&arena.weights.view(), &weights.view());
        recorder.submit()?;
        Ok(Self { weights, update, effective })
    }
}
