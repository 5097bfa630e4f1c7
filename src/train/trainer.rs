//! A network ready to train: arenas, plans, data and optimizer on one device.

use crate::{
    analysis::{AnalysisError, Subject, TraceEstimate, TraceOptions, hessian_trace},
    data::{Dataset, Split},
    gpu::{Buffer, Gpu, GpuError, PendingRead, Profile, Recorder},
    graph::{BatchInfo, Loss, Mode as PlanMode, Plan, Schedule, ValueShape},
    kernels::{Arena, Norms, Perturb},
    nn::{self, Model, Target},
    noise::{Scale, Scheme, StepNoise},
    optim::Optimizer,
};

use super::{DeviceData, Evaluation, Evaluator, RunConfig, TrainError};

/// Slots of the metrics ring: steps between two reads.
pub(super) const RING: usize = 1024;

/// Data and model of a configuration, loaded and held against each other.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Training (subset taken) and test data.
    pub split: Split,
    /// The model.
    pub model: Model,
}

impl Prepared {
    /// Loads the data of a configuration and checks that the model fits them.
    ///
    /// # Errors
    /// [`TrainError::Data`], [`TrainError::Model`], [`TrainError::Features`], [`TrainError::Classes`].
    pub fn load(config: &RunConfig) -> Result<Self, TrainError> {
        let source: crate::data::DataSource = config.data.parse()?;
        let mut split = source.load()?;
        if let Some(count) = config.subset {
            split.train = split.train.subset(count, config.subset_seed)?;
        }
        let of = split.train.shape;
        let input = ValueShape::Image { channels: of.channels, height: of.height, width: of.width };
        let model = Model::build(&config.model, &Target { input, classes: split.train.classes })?;
        for data in [&split.train, &split.test] {
            if model.features() != data.features() {
                let of = &data.shape;
                return Err(TrainError::Features {
                    model: model.description.clone(),
                    data: data.name.clone(),
                    expected: model.features(),
                    found: data.features(),
                    shape: format!("{} x {} x {}", of.channels, of.height, of.width),
                });
            }
            if model.classes() < data.classes {
                return Err(TrainError::Classes {
                    model: model.description.clone(),
                    data: data.name.clone(),
                    outputs: model.classes(),
                    classes: data.classes,
                });
            }
        }
        Ok(Self { split, model })
    }

    /// Mean and standard deviation by which inputs are normalised, for each channel: those of the training data, or 0
    /// and 1.
    #[must_use]
    pub fn normalisation(&self, config: &RunConfig) -> Vec<[f32; 2]> {
        if !config.normalise {
            return vec![[0.0, 1.0]];
        }
        let usable = |(mean, std): (f32, f32)| [mean, if std > 0.0 { std } else { 1.0 }];
        self.split.train.channel_mean_std().into_iter().map(usable).collect()
    }
}

/// A network in training.
#[derive(Debug)]
pub struct Trainer<'g> {
    gpu: &'g Gpu,
    /// The model.
    pub model: Model,
    /// Its weights and gradients.
    pub arena: Arena,
    scheme: Scheme,
    optimizer: Optimizer,
    perturb: Perturb,
    filter_scaled: bool,
    loss: Loss,
    plan: Plan,
    data: DeviceData,
    batch: usize,
    train: Evaluator,
    test: Evaluator,
    norms: Norms,
    metrics: Buffer,
    step: u64,
    seed: u64,
}

impl<'g> Trainer<'g> {
    /// Builds everything a run needs and initialises the weights, from the file of `init` if there is one.
    ///
    /// # Errors
    /// Those of the device, of the weights' file, of shapes.
    pub fn new(gpu: &'g Gpu, config: &RunConfig, prepared: &Prepared) -> Result<Self, TrainError> {
        let model = prepared.model.clone();
        let layout = model.graph.layout();
        let scheme = Scheme::new(config.noise_config(), &layout, &model.noise_tensors(), config.seed);
        let arena = Arena::new(gpu, layout, &scheme.scales())?;
        nn::initialise(gpu, &model, &arena, config.seed)?;
        if let Some(path) = &config.init {
            nn::load(gpu, &model, &arena, path)?;
        }
        let distribution = config.noise_distribution.code();
        let filter_scaled = config.noise_scale == Scale::Filter;
        let normalisation = prepared.normalisation(config);
        let metrics = gpu.buffer("metrics", RING * 2)?;
        let batch = config.batch.min(prepared.split.train.len());
        let data = DeviceData::new(gpu, prepared.split.train.clone(), batch, &normalisation)?;
        let schedule = Schedule::new(&model.graph, batch, PlanMode::Train)?;
        let plan = Plan::new(gpu, &schedule, &arena, data.views(), &metrics.view(), config.loss)?;
        let evaluator = |data: &Dataset| Evaluator::new(gpu, &model, &arena, data.clone(), &normalisation, config.loss);
        Ok(Self {
            gpu,
            optimizer: Optimizer::new(gpu, config.optimizer_config(), &arena, distribution)?,
            perturb: Perturb::new(gpu, &arena, distribution, filter_scaled)?,
            filter_scaled,
            loss: config.loss,
            plan,
            data,
            batch,
            train: evaluator(&prepared.split.train)?,
            test: evaluator(&prepared.split.test)?,
            norms: Norms::new(gpu, &arena.weights)?,
            metrics,
            step: 0,
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

    /// The noise.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Samples of a step.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
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

    /// Sets the order of an epoch's samples.
    ///
    /// # Errors
    /// As [`DeviceData::set_order`].
    pub fn set_order(&mut self, order: Vec<u32>) -> Result<(), GpuError> {
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

    /// Records the whole step: forward and backward at the noisy weights, then the update of the clean ones, which
    /// writes the noisy weights of the `next` step too.
    ///
    /// # Errors
    /// As [`Recorder::submit`].
    pub fn train_step(
        &mut self,
        first: usize,
        valid: usize,
        learning_rate: f64,
        next: &StepNoise,
        profile: Option<&mut Profile>,
    ) -> Result<(), GpuError> {
        let gpu = self.gpu;
        let first = self.data.stage(gpu, first, valid)?;
        let batch = BatchInfo {
            step: self.step,
            seed: self.seed,
            ..BatchInfo::new(first, valid as u32, (self.step % RING as u64) as u32)
        };
        let mut recorder = gpu.record_with(profile);
        self.plan.record(&mut recorder, batch);
        self.record_update(&mut recorder, learning_rate, next)?;
        self.step += 1;
        recorder.submit()
    }

    fn record_update(
        &mut self,
        recorder: &mut Recorder<'_>,
        learning_rate: f64,
        next: &StepNoise,
    ) -> Result<(), GpuError> {
        if !self.filter_scaled {
            return self.optimizer.record(self.gpu, recorder, learning_rate, next);
        }
        // Filter norms are those of the new weights, known only once all of them are written.
        let clean = StepNoise {
            ranges: next.ranges.iter().map(|r| crate::kernels::NoiseRange { noisy: false, ..r.clone() }).collect(),
            ..next.clone()
        };
        self.optimizer.record(self.gpu, recorder, learning_rate, &clean)?;
        self.perturb.record(self.gpu, recorder, &next.ranges, next.values)
    }

    /// Starts to read the ring of (loss, correct) sums; slot = step mod its length.
    ///
    /// # Errors
    /// As [`Gpu::read_later`].
    pub fn read_metrics(&self) -> Result<PendingRead, GpuError> {
        self.gpu.read_later(&self.metrics.view())
    }

    /// Loss and accuracy on the training data, clean weights. Leaves `weights_eff` clean: perturb before the next step.
    ///
    /// # Errors
    /// Those of the device.
    pub fn evaluate_train(&self) -> Result<Evaluation, GpuError> {
        self.train.evaluate(self.gpu, &self.arena)
    }

    /// Loss and accuracy on the test data, clean weights. Leaves `weights_eff` clean: perturb before the next step.
    ///
    /// # Errors
    /// Those of the device.
    pub fn evaluate_test(&self) -> Result<Evaluation, GpuError> {
        self.test.evaluate(self.gpu, &self.arena)
    }

    /// The trace of the Hessian of the training loss at the clean weights.
    ///
    /// Leaves `weights_eff` noisy with the probe: perturb before the next step.
    ///
    /// # Errors
    /// As [`hessian_trace`].
    pub fn hessian_trace(&self, options: TraceOptions) -> Result<TraceEstimate, AnalysisError> {
        let data = self.train.data();
        let subject = Subject {
            model: &self.model,
            arena: &self.arena,
            loss: self.loss,
            data: data.views(),
            samples: data.len(),
            capacity: data.capacity(),
            stage: &|first, valid| data.stage(self.gpu, first, valid),
        };
        hessian_trace(self.gpu, &subject, options)
    }

    /// (L1, L2) norm of the clean weights.
    ///
    /// # Errors
    /// Those of the device.
    pub fn norms(&self) -> Result<(f64, f64), GpuError> {
        self.norms.read(self.gpu)
    }
}
