//! The loss averaged over weight noise.

use crate::{
    gpu::{Buffer, Element, Gpu, GpuError},
    graph::{Plan, PlanMode, Schedule},
    kernels::{AdapterClass, NoiseUnit, Perturb},
    noise::{Distribution, Scheme, StepNoise},
    schedule::Moment,
};

use super::{AnalysisError, Subject};

/// Most samples of one batch of an evaluation.
const BATCH: usize = 512;

/// Evaluates the mean loss over all samples at noisy weights.
pub struct NoisyLoss<'a> {
    gpu: &'a Gpu,
    subject: &'a Subject<'a>,
    perturb: Perturb,
    plan: Plan,
    metrics: Buffer,
    batch: usize,
}

impl<'a> NoisyLoss<'a> {
    /// Plans the evaluation.
    ///
    /// # Errors
    /// Those of the model and the device.
    pub fn new(gpu: &'a Gpu, subject: &'a Subject<'a>) -> Result<Self, AnalysisError> {
        let batch = BATCH.min(subject.data.len()).min(subject.data.capacity());
        let metrics = gpu.buffer("metrics of batches", 2 * subject.data.len().div_ceil(batch.max(1)))?;
        let (graph, mode) = (&subject.model.graph, PlanMode::Evaluate);
        let schedule = Schedule::suited(graph, batch, mode, subject.loss.clone(), Element::Word, gpu)?;
        let plan = Plan::new(gpu, &schedule, subject.arena, subject.data.views(), &metrics.view())?;
        let perturb = Perturb::new(
            gpu,
            AdapterClass::for_device(gpu),
            subject.arena,
            Distribution::Gaussian.code(),
            NoiseUnit::Absolute,
        )?;
        Ok(Self { gpu, subject, perturb, plan, metrics, batch })
    }

    /// The mean loss at the clean weights plus `noise`.
    ///
    /// # Errors
    /// Those of the device.
    pub fn at(&self, noise: &StepNoise) -> Result<f64, GpuError> {
        let Self { gpu, subject, .. } = self;
        let mut recorder = gpu.record();
        self.perturb.record(gpu, &mut recorder, &noise.ranges, &noise.edges, noise.values)?;
        recorder.submit()?;
        for batch in subject.data.batches(gpu, self.batch) {
            let mut recorder = gpu.record();
            self.plan.record(&mut recorder, batch?);
            recorder.submit()?;
        }
        let sums: Vec<[f32; 2]> = gpu.read(&self.metrics.view())?;
        Ok(sums.iter().map(|sum| f64::from(sum[0])).sum::<f64>() / subject.terms())
    }

    /// L averaged over the noise of steps `first` .. `first` + `draws` of a scheme, less L at the clean weights: an unbiased
    /// value per step.
    ///
    /// Each step's noise is used with both signs, which takes the first order away.
    ///
    /// # Errors
    /// Those of the device.
    pub fn excess(&self, scheme: &Scheme, first: u64, draws: u64) -> Result<Vec<f64>, GpuError> {
        let mut clean = scheme.at(first, Moment::START);
        clean.values.sigma = 0.0;
        let clean = self.at(&clean)?;
        let pair = |step| {
            let noise = scheme.at(step, Moment::START);
            let mut mirrored = noise.clone();
            mirrored.values.sigma = -noise.values.sigma;
            Ok((self.at(&noise)? + self.at(&mirrored)?) / 2.0 - clean)
        };
        (first..first + draws).map(pair).collect()
    }
}
