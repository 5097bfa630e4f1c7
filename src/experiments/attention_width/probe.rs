//! The layer on the device at one width: logits, output and loss under pairs of draws.

use crate::{
    analysis::variance_parts,
    data::Dataset,
    experiments::ExperimentError,
    gpu::{Buffer, Gpu},
    graph::{BatchInfo, Plan, PlanMode, Schedule},
    kernels::{AdapterClass, Arena, NoiseUnit, Perturb},
    nn::initialise,
    noise::{Distribution, NoiseConfig, Scale, Scheme, StepNoise},
    ops::Loss,
    schedule::Moment,
    train::DeviceData,
};

use super::{
    layer::{Layer, Models},
    measurements::BlockVariance,
};

pub(super) struct Probe<'a> {
    gpu: &'a Gpu,
    layer: &'a Layer,
    width: usize,
    models: Models,
    arena: Arena,
    absolute: Perturb,
    filter_scaled: Perturb,
    data: DeviceData,
    packed: Plan,
    whole: Plan,
    metrics: Buffer,
}

impl<'a> Probe<'a> {
    pub(super) fn new(gpu: &'a Gpu, layer: &'a Layer, width: usize, data: Dataset) -> Result<Self, ExperimentError> {
        let models = layer.models(width)?;
        let layout = models.whole.graph.layout();
        let arena = Arena::new(gpu, layout.clone(), &vec![1.0; layout.spans().len()])?;
        let perturb = |filter_scaled| {
            let class = AdapterClass::for_device(gpu);
            Perturb::new(gpu, class, &arena, Distribution::Gaussian.code(), NoiseUnit::filter_scaled(filter_scaled))
        };
        let data = DeviceData::new(gpu, data, layer.samples, &[[0.0, 1.0]])?;
        let (metrics, unread) = (gpu.buffer("metrics", 2)?, gpu.buffer("unread metrics", 2)?);
        let plan = |model: &crate::nn::Model, metrics: &Buffer| -> Result<Plan, ExperimentError> {
            let schedule = Schedule::new(&model.graph, layer.samples, PlanMode::Evaluate, Loss::Nll)?;
            Ok(Plan::new(gpu, &schedule, &arena, data.views(), &metrics.view())?)
        };
        Ok(Self {
            absolute: perturb(false)?,
            filter_scaled: perturb(true)?,
            packed: plan(&models.packed, &unread)?,
            whole: plan(&models.whole, &metrics)?,
            gpu,
            layer,
            width,
            models,
            arena,
            data,
            metrics,
        })
    }

    /// Draws the weights.
    pub(super) fn start(&self, seed: u64) -> Result<(), ExperimentError> {
        Ok(initialise(self.gpu, &self.models.whole, &self.arena, seed)?)
    }

    /// Variances over `cycles` pairs of draws of each group.
    pub(super) fn block(
        &self,
        config: NoiseConfig,
        seed: u64,
        cycles: usize,
    ) -> Result<BlockVariance, ExperimentError> {
        let perturb = match config.scale {
            Scale::Absolute => &self.absolute,
            Scale::Filter => &self.filter_scaled,
        };
        let scheme = Scheme::new(config, &self.arena.layout, &self.models.whole.noise_tensors(), seed);
        let draws = (cycles * scheme.groups().len()) as u64;
        let [mut logits, mut outputs, mut losses] = [const { Vec::new() }; 3];
        for step in 0..draws {
            for sign in [-1.0, 1.0] {
                let noise = scheme.at(step, Moment::START).scaled(sign);
                let [packed, output, metrics] = self.evaluate(perturb, &noise)?;
                logits.extend(self.layer.logits(&packed, self.width));
                outputs.extend(output.into_iter().map(f64::from));
                losses.push(f64::from(metrics[0]) / (self.layer.samples * self.layer.length) as f64);
            }
        }
        let parts = |values: &[f64]| variance_parts(values, values.len() / (2 * draws as usize)).into();
        Ok(BlockVariance { logits: parts(&logits), output: parts(&outputs), loss: parts(&losses) })
    }

    /// Packed queries, keys and values, outputs, and the metrics, the sum of the losses being the first, under a noise.
    fn evaluate(&self, perturb: &Perturb, noise: &StepNoise) -> Result<[Vec<f32>; 3], ExperimentError> {
        let gpu = self.gpu;
        let samples = self.layer.samples;
        let batch = BatchInfo::new(self.data.stage(gpu, 0, samples)?, samples as u32, 0);
        let mut recorder = gpu.record();
        perturb.record(gpu, &mut recorder, &noise.ranges, &noise.edges, noise.values)?;
        self.packed.record(&mut recorder, batch);
        self.whole.record(&mut recorder, batch);
        recorder.submit()?;
        let views = [self.packed.output(), self.whole.output(), &self.metrics.view()];
        let [packed, output, metrics] = views.map(|view| gpu.read(view));
        Ok([packed?, output?, metrics?])
    }
}
