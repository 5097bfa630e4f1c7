//! The trace of the Hessian of the training loss by Hutchinson's estimator.

use crate::{
    gpu::{Gpu, GpuError},
    graph::{BatchInfo, DataViews, GraphError, Loss, Mode, Plan, Schedule},
    kernels::{Arena, NoiseRange, NoiseStep, Perturb},
    nn::Model,
    noise::{Distribution, unit_noise},
};

/// A measurement that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    /// The device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The model's graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// A trace with its statistical error.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct TraceEstimate {
    /// Mean over the probes.
    pub trace: f64,
    /// Standard deviation of the mean; 0 for a single probe.
    pub standard_error: f64,
    /// Probes.
    pub probes: u32,
}

/// How to estimate.
#[derive(Clone, Copy, Debug)]
pub struct TraceOptions {
    /// Probes: Rademacher vectors.
    pub probes: u32,
    /// Half the distance of the central difference, in units of a weight.
    pub epsilon: f32,
    /// Seed of the probes.
    pub seed: u64,
}

impl Default for TraceOptions {
    fn default() -> Self {
        Self { probes: 8, epsilon: 1e-3, seed: 0x7261_6365 }
    }
}

/// Samples of one gradient batch.
const BATCH: usize = 512;

/// A network and the data that its loss is taken over.
pub struct Subject<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its weights; `weights_eff` and `grads` are overwritten.
    pub arena: &'a Arena,
    /// The loss.
    pub loss: Loss,
    /// The data on the device.
    pub data: &'a DataViews,
    /// Samples.
    pub samples: usize,
    /// Makes a batch (first, valid) ready and returns the position that kernels start from.
    pub stage: &'a dyn Fn(usize, usize) -> Result<u32, GpuError>,
}

/// tr H = E v' H v over Rademacher v, with H v = (g(w + eps v) - g(w - eps v)) / (2 eps).
///
/// The gradients are those of the training kernels at perturbed weights; the products with v are summed on the host in
/// f64. A central difference in f32: good to a few per cent for smooth losses; across ReLU's kinks it averages the
/// curvature over 2 eps. Source: Hutchinson, Comm. Stat. 1989.
///
/// # Errors
/// Those of the device.
pub fn hessian_trace(gpu: &Gpu, of: &Subject<'_>, options: TraceOptions) -> Result<TraceEstimate, AnalysisError> {
    let spans = of.arena.layout.spans();
    let arena = of.arena.with_noise_scales(gpu, &vec![1.0; spans.len()])?;
    let batch = BATCH.min(of.samples);
    let schedule = Schedule::new(&of.model.graph, batch, Mode::Train)?;
    let metrics = gpu.buffer("unread metrics", 2)?;
    let plan = Plan::new(gpu, &schedule, &arena, of.data, &metrics.view(), of.loss)?;
    let perturb = Perturb::new(gpu, &arena, Distribution::Rademacher.code(), false)?;
    let whole = [NoiseRange { blocks: 0..arena.layout.blocks(), noisy: true }];
    let gradient_at = |probe: u32, epsilon: f32| -> Result<Vec<f64>, GpuError> {
        let [seed_low, seed_high] = [options.seed as u32, (options.seed >> 32) as u32];
        let values = NoiseStep { seed_low, seed_high, step: probe, sigma: epsilon, ..NoiseStep::default() };
        let mut recorder = gpu.record();
        perturb.record(gpu, &mut recorder, &whole, values)?;
        recorder.submit()?;
        let mut sum = vec![0.0; arena.layout.words()];
        for first in (0..of.samples).step_by(batch) {
            let valid = batch.min(of.samples - first);
            let mut recorder = gpu.record();
            let first = (of.stage)(first, valid)?;
            plan.record(&mut recorder, BatchInfo { first, valid: valid as u32, slot: 0 });
            recorder.submit()?;
            let share = valid as f64 / of.samples as f64;
            let gradient: Vec<f32> = gpu.read(&arena.grads.view())?;
            sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += share * f64::from(g));
        }
        Ok(sum)
    };
    let mut quotients = Vec::with_capacity(options.probes as usize);
    for probe in 0..options.probes {
        let (plus, minus) = (gradient_at(probe, options.epsilon)?, gradient_at(probe, -options.epsilon)?);
        let mut product = 0.0;
        for (tensor, span) in spans.iter().enumerate() {
            for element in 0..span.len {
                let v = unit_noise(Distribution::Rademacher, options.seed, probe, tensor as u32, element);
                let at = span.start + element;
                product += f64::from(v) * (plus[at] - minus[at]);
            }
        }
        quotients.push(product / (2.0 * f64::from(options.epsilon)));
    }
    Ok(summarise(&quotients))
}

fn summarise(quotients: &[f64]) -> TraceEstimate {
    let count = quotients.len().max(1) as f64;
    let trace = quotients.iter().sum::<f64>() / count;
    let squares: f64 = quotients.iter().map(|q| (q - trace).powi(2)).sum();
    let standard_error = if quotients.len() > 1 { (squares / (count - 1.0) / count).sqrt() } else { 0.0 };
    TraceEstimate { trace, standard_error, probes: quotients.len() as u32 }
}
