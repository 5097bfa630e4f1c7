//! How much output, loss and gradient of a network vary under weight noise.

use crate::{
    gpu::{Buffer, Dispatch, Element, Gpu, GpuError},
    graph::{BatchInfo, Plan, PlanMode, Schedule},
    kernels::{AdapterClass, Elementwise, NoiseUnit, Norms, Perturb, elementwise},
    noise::{Distribution, Scheme},
    schedule::Moment,
};

use super::{AnalysisError, Subject};

/// Variances from one block of independent draws, each an unbiased estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct BlockVariance {
    /// Of an output, mean over outputs and samples.
    pub output: f64,
    /// Of its second-order part.
    pub output_second: f64,
    /// Of the mean loss.
    pub loss: f64,
    /// Of its second-order part.
    pub loss_second: f64,
    /// Of an element of the gradient, mean over all parameters.
    pub gradient: f64,
}

/// Blocks and their draws.
#[derive(Clone, Copy, Debug)]
pub struct VarianceOptions {
    /// Independent draws of a block, each used with both signs: at least 2.
    pub draws: usize,
    /// Blocks.
    pub blocks: usize,
}

struct Probe<'a> {
    gpu: &'a Gpu,
    subject: &'a Subject<'a>,
    scheme: &'a Scheme,
    perturb: Perturb,
    evaluate: Plan,
    train: Plan,
    outputs: Buffer,
    metrics: Buffer,
    gradient_sum: Buffer,
    add_gradient: Dispatch,
    gradient_norm: Norms,
    sum_norm: Norms,
}

/// Variances under the noise of `scheme` at the clean weights, over the subject's first batch.
///
/// Draws come in pairs w + e, w - e. Of f(w + e) = f + odd part + even part both parts are known from a pair, and
/// uncorrelated, so Var f = Var odd + Var even; the even part is of second order in the noise (and beyond).
///
/// # Errors
/// Those of the device; [`GpuError::TooLarge`] where the gradient does not fit one binding.
pub fn noise_variance(
    gpu: &Gpu,
    subject: &Subject<'_>,
    scheme: &Scheme,
    options: VarianceOptions,
) -> Result<Vec<BlockVariance>, AnalysisError> {
    let probe = Probe::new(gpu, subject, scheme, options.draws)?;
    let block = |block| probe.block(block * options.draws as u64, options.draws);
    Ok((0..options.blocks as u64).map(block).collect::<Result<_, GpuError>>()?)
}

impl<'a> Probe<'a> {
    fn new(gpu: &'a Gpu, subject: &'a Subject<'a>, scheme: &'a Scheme, draws: usize) -> Result<Self, AnalysisError> {
        let (arena, graph) = (subject.arena, &subject.model.graph);
        let metrics = gpu.buffer("metrics of draws", 4 * draws)?;
        let unread = gpu.buffer("unread metrics", 2)?;
        let plan = |mode, metrics: &Buffer| -> Result<Plan, AnalysisError> {
            let schedule = Schedule::suited(graph, subject.data.len(), mode, subject.loss.clone(), Element::Word, gpu)?;
            Ok(Plan::new(gpu, &schedule, arena, subject.data.views(), &metrics.view())?)
        };
        let evaluate = plan(PlanMode::Evaluate, &metrics)?;
        let gradient_sum = gpu.buffer("sum of gradients", arena.layout.words())?;
        let unused = gpu.unused(0)?;
        let views = [&arena.grads.view(), &unused, &gradient_sum.view()];
        Ok(Self {
            gpu,
            subject,
            scheme,
            perturb: Perturb::new(
                gpu,
                AdapterClass::for_device(gpu),
                arena,
                Distribution::Gaussian.code(),
                NoiseUnit::Absolute,
            )?,
            outputs: gpu.buffer("outputs of draws", 2 * draws * evaluate.output().len())?,
            train: plan(PlanMode::Train, &unread)?,
            add_gradient: elementwise(gpu, Elementwise::Copy, views, true)?,
            gradient_norm: Norms::new(gpu, AdapterClass::for_device(gpu), &arena.grads)?,
            sum_norm: Norms::new(gpu, AdapterClass::for_device(gpu), &gradient_sum)?,
            evaluate,
            metrics,
            gradient_sum,
        })
    }

    fn block(&self, first: u64, draws: usize) -> Result<BlockVariance, GpuError> {
        let gpu = self.gpu;
        let mut recorder = gpu.record();
        recorder.clear(&self.gradient_sum.view());
        recorder.submit()?;
        let mut squares = 0.0;
        for draw in 0..draws {
            self.draw(first + draw as u64, draw)?;
            squares += self.gradient_norm.read(gpu)?.1.powi(2);
        }
        let sum = self.sum_norm.read(gpu)?.1.powi(2);
        let count = draws as f64;
        let parameters = self.subject.arena.layout.parameters() as f64;
        let outputs: Vec<f32> = gpu.read(&self.outputs.view())?;
        let metrics: Vec<[f32; 2]> = gpu.read(&self.metrics.view())?;
        let losses: Vec<f64> = metrics.iter().map(|[loss, _]| f64::from(*loss) / self.subject.terms()).collect();
        let [loss_first, loss_second] = variance_parts(&losses, 1);
        let outputs: Vec<f64> = outputs.into_iter().map(f64::from).collect();
        let [output_first, output_second] = variance_parts(&outputs, self.evaluate.output().len());
        let gradient = (squares - sum / count) / (count - 1.0) / parameters;
        let (output, loss) = (output_first + output_second, loss_first + loss_second);
        Ok(BlockVariance { output, output_second, loss, loss_second, gradient })
    }

    /// Both signs of the noise of a step, into slots 2 `slot` and 2 `slot` + 1; the gradient at the first.
    fn draw(&self, step: u64, slot: usize) -> Result<(), GpuError> {
        let (gpu, subject) = (self.gpu, self.subject);
        let noise = self.scheme.at(step, Moment::START);
        let samples = subject.data.len();
        let first = subject.data.stage(gpu, 0, samples)?;
        let batch = |slot: usize| BatchInfo::new(first, samples as u32, slot as u32);
        let len = self.evaluate.output().len();
        for (sign, at) in [(1.0, 2 * slot + 1), (-1.0, 2 * slot)].into_iter().rev() {
            let mut recorder = gpu.record();
            let mut values = noise.values;
            values.sigma *= sign;
            self.perturb.record(gpu, &mut recorder, &noise.ranges, &noise.edges, values)?;
            self.evaluate.record(&mut recorder, batch(at));
            recorder.copy(self.evaluate.output(), &self.outputs.part(at * len, len)?);
            if sign > 0.0 {
                self.train.record(&mut recorder, batch(0));
                recorder.run(&self.add_gradient);
            }
            recorder.submit()?;
        }
        Ok(())
    }
}

/// Variances of the odd and the even parts of quantities, each a mean over `len` quantities; `values` are [draws, 2, len], at w - e
/// and at w + e.
pub(crate) fn variance_parts(values: &[f64], len: usize) -> [f64; 2] {
    let pairs = values.len() / (2 * len.max(1));
    let variance = |part: &dyn Fn(f64, f64) -> f64| {
        let quantity_variance = |at: usize| {
            let value = |pair: usize| part(values[2 * pair * len + at], values[(2 * pair + 1) * len + at]);
            let mean = (0..pairs).map(value).sum::<f64>() / pairs as f64;
            (0..pairs).map(|pair| (value(pair) - mean).powi(2)).sum::<f64>() / (pairs as f64 - 1.0)
        };
        (0..len).map(quantity_variance).sum::<f64>() / len as f64
    };
    [variance(&|a, b| (a - b) / 2.0), variance(&|a, b| (a + b) / 2.0)]
}
