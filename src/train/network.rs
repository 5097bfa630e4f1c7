//! A configuration's network at weights of one's own, without training: its scores, its curvature.

use std::{path::Path, sync::Arc};

use serde::Serialize;

use crate::{
    analysis::{Curvature, Ritz, Spectrum, SpectrumOptions, Subject, TraceEstimate, TraceOptions, spectrum},
    data::Dataset,
    gpu::Gpu,
    graph::LossFunction,
    kernels::Arena,
    nn::{self, Model, NamedTensor, WeightsFormat},
    noise::NoisePart,
};

use super::{
    AUTO_BATCH, Calibration, DeviceData, Evaluator, GroupCurvature, Prepared, Recalibration, RunConfig, Traces,
    TrainError, WeightsPosterior,
};

/// Largest batch of a measurement of curvature.
const BATCH: usize = 512;

/// A network whose weights come from elsewhere.
#[derive(Debug)]
pub struct Network<'g> {
    gpu: &'g Gpu,
    model: Model,
    arena: Arena,
    loss: Arc<dyn LossFunction>,
    label_smoothing: f32,
    normalisation: Vec<[f32; 2]>,
    /// The groups of the configuration's noise.
    groups: Vec<Vec<NoisePart>>,
}

/// How to measure curvature.
#[derive(Clone, Copy, Debug)]
pub struct CurvatureOptions {
    /// Most probes for each trace.
    pub probes: u32,
    /// Seed of the probes and of the Lanczos starts.
    pub seed: u64,
    /// Stop probing once the standard error is below this share of the trace.
    pub tolerance: f64,
    /// Lanczos steps; 0 for neither eigenvalues nor density.
    pub lanczos_steps: usize,
    /// Random starts over which the density is averaged.
    pub starts: u32,
    /// Eigenvalues to list, the largest in size.
    pub top: usize,
}

/// What was measured of the curvature.
#[derive(Clone, Debug, Serialize)]
pub struct CurvatureReport {
    /// Samples that the loss is the mean over.
    pub samples: usize,
    /// The seed of the probes.
    pub probe_seed: u64,
    /// Names of the tensors, in the model's order.
    pub tensors: Vec<String>,
    /// The groups of the configuration's noise.
    pub groups: Vec<GroupCurvature>,
    /// Of the Hessian.
    pub hessian: TraceEstimate,
    /// Of its Gauss-Newton part.
    pub gauss_newton: TraceEstimate,
    /// The Hessian's largest in size.
    pub eigenvalues: Vec<Ritz>,
    /// The Hessian's, where it was asked for.
    pub spectrum: Option<Spectrum>,
}

/// What estimates batch norms' statistics, with the data that it does so over.
#[derive(Debug)]
pub struct Statistics {
    calibration: Calibration,
    data: DeviceData,
}

impl Statistics {
    /// To be used at draws of weights.
    #[must_use]
    pub fn recalibration(&self) -> Recalibration<'_> {
        Recalibration { calibration: &self.calibration, data: &self.data, epoch: 0 }
    }
}

impl<'g> Network<'g> {
    /// The network of a configuration, before its weights are given.
    ///
    /// # Errors
    /// Those of the device, and of moments of the training data.
    pub fn new(gpu: &'g Gpu, config: &RunConfig, prepared: &Prepared) -> Result<Self, TrainError> {
        let model = prepared.model.clone();
        let layout = model.graph.layout();
        let groups = config.groups.groups(&layout, &model.noise_tensors());
        let scales = vec![0.0; layout.spans().len()];
        Ok(Self {
            gpu,
            arena: Arena::new(gpu, layout, &scales)?,
            model,
            loss: prepared.loss.clone(),
            label_smoothing: config.label_smoothing as f32,
            normalisation: config.normalise.moments(&prepared.split.train)?,
            groups,
        })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Takes the weights, and the running statistics, of a file.
    ///
    /// # Errors
    /// As [`nn::load`].
    pub fn load(&self, path: &Path) -> Result<(), TrainError> {
        self.load_as(path, WeightsFormat::Jostle)
    }

    /// As [`Network::load`], of a file with another program's names and layouts.
    ///
    /// # Errors
    /// As [`nn::load`].
    pub fn load_as(&self, path: &Path, format: WeightsFormat) -> Result<(), TrainError> {
        Ok(nn::load_as(self.gpu, &self.model, &self.arena, path, format)?)
    }

    /// Takes weights in memory, as [`Network::load`] does those of a file; `name` is what messages call them.
    ///
    /// # Errors
    /// As [`nn::load`].
    pub fn place(&self, tensors: Vec<NamedTensor>, name: &str) -> Result<(), TrainError> {
        Ok(nn::place(self.gpu, &self.model, &self.arena, &self.arena.weights, tensors, Path::new(name))?)
    }

    /// The arena of the weights, for a [`Posterior`](super::Posterior) around them.
    #[must_use]
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// The moving average in a file beside that of the weights, with the running statistics of the weights themselves.
    ///
    /// # Errors
    /// As [`nn::load`].
    pub fn average(&self, path: &Path) -> Result<WeightsPosterior, TrainError> {
        let weights = self.gpu.buffer("moving average", self.arena.weights.len())?;
        let tensors = nn::read_tensors(path)?;
        nn::place(self.gpu, &self.model, &self.arena, &weights, tensors, path)?;
        Ok(WeightsPosterior::new(self.gpu, &self.arena, &weights)?)
    }

    /// What estimates batch norms' statistics over training data, batches and augmentation as those of the first epoch of the
    /// configuration's training; `None` for a model without batch norms.
    ///
    /// # Errors
    /// Those of the plan and of the device.
    pub fn statistics(&self, config: &RunConfig, train: &Dataset) -> Result<Option<Statistics>, TrainError> {
        if self.model.graph.stats().is_empty() {
            return Ok(None);
        }
        let most = if config.batch == AUTO_BATCH { BATCH } else { config.batch };
        let batch = Evaluator::batch(&self.model, train.len()).min(most);
        let data = DeviceData::new(self.gpu, train.clone(), batch, &self.normalisation)?;
        let mut data = data.augmented(config.augmentation());
        data.set_order(self.gpu, train.places(config.batch_order, config.seed, 0))?;
        let calibration = Calibration::new(self.gpu, &self.model, &self.arena, &data, self.loss.clone(), batch)?;
        Ok(Some(Statistics { calibration, data }))
    }

    /// What scores data at these weights.
    ///
    /// # Errors
    /// Those of the device.
    pub fn evaluator(&self, data: Dataset) -> Result<Evaluator, TrainError> {
        Evaluator::new(self.gpu, &self.model, &self.arena, data, &self.normalisation, self.loss.clone())
    }

    /// Traces, eigenvalues and density of the curvature of the loss over data at these weights.
    ///
    /// # Errors
    /// Those of the device.
    pub fn curvature(&self, data: Dataset, options: CurvatureOptions) -> Result<CurvatureReport, TrainError> {
        let samples = data.len();
        let data = DeviceData::new(self.gpu, data, samples.min(BATCH), &self.normalisation)?;
        let subject = Subject {
            model: &self.model,
            arena: &self.arena,
            loss: self.loss.clone(),
            label_smoothing: self.label_smoothing,
            data: &data,
        };
        let CurvatureOptions { probes, seed, tolerance, lanczos_steps, starts, top } = options;
        let trace_options = TraceOptions { probes, tolerance, seed, curvature: Curvature::Hessian };
        let Traces { hessian, gauss_newton, groups } =
            Traces::measure(self.gpu, &subject, trace_options, &self.groups)?;
        let options = SpectrumOptions { steps: lanczos_steps, starts, seed, curvature: Curvature::Hessian };
        let spectrum = (lanczos_steps > 0).then(|| spectrum(self.gpu, &subject, options)).transpose()?;
        Ok(CurvatureReport {
            samples,
            probe_seed: seed,
            tensors: self.model.graph.params().iter().map(|param| param.name.clone()).collect(),
            groups,
            hessian,
            gauss_newton,
            eigenvalues: spectrum.as_ref().map(|spectrum| spectrum.largest(top)).unwrap_or_default(),
            spectrum,
        })
    }
}
