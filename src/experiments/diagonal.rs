//! Noisy gradient descent on the diagonal model: many runs of one sparse regression at once.

use crate::{
    gpu::{Buffer, Dispatch, Gpu, GpuError},
    kernels::{
        Activation, Arena, ArenaLayout, Epilogue, MatmulLayout, MatmulOperands, MatmulShape, Perturb,
        diagonal_gradient, diagonal_predict, matmul, matmul_variant,
    },
    noise::{NoiseConfig, NoiseTensor, Scheme},
    optim::{Optimizer, OptimizerConfig},
};

/// What the runs have in common.
#[derive(Clone, Debug)]
pub struct DiagonalConfig {
    /// Noise in u and v, the two groups.
    pub noise: NoiseConfig,
    /// Of the noise; every run draws its own part of it.
    pub seed: u64,
    /// Step size.
    pub step_size: f64,
    /// Every element of u and v at the start: theta starts at 0.
    pub start: f32,
}

/// Steps recorded for one submission.
const STEPS_PER_SUBMISSION: u64 = 32;

/// Steps summed in f32 before the sum is added up in f64.
const STEPS_PER_SUM: u64 = 1024;

/// Runs that differ by their noise: R(theta) = |y - X theta|^2 / 2n at theta = u * u - v * v, full batches.
///
/// u and v are tensors [runs, d] of one arena, so noise and update are those of network training.
#[derive(Debug)]
pub struct DiagonalRuns<'g> {
    gpu: &'g Gpu,
    scheme: Scheme,
    optimizer: Optimizer,
    step_size: f64,
    stages: Vec<Dispatch>,
    sum: Buffer,
    sums: Vec<f64>,
    summed: u64,
    step: u64,
    features: usize,
}

impl<'g> DiagonalRuns<'g> {
    /// Uploads X [n, d] and y [n] and plans a step of `runs` runs.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for no runs, samples or features, [`GpuError::Length`] if X is not [n, d]; those of the device.
    pub fn new(gpu: &'g Gpu, x: &[f32], y: &[f32], runs: usize, config: &DiagonalConfig) -> Result<Self, GpuError> {
        let (n, d) = (y.len(), x.len().checked_div(y.len()).unwrap_or(0));
        if n * d != x.len() {
            return Err(GpuError::Length { kernel: "diagonal", argument: "x", expected: n * d, found: x.len() });
        }
        let shape = [runs, d];
        let layout = ArenaLayout::new([&shape[..], &shape[..]]);
        let tensors = [0, 1].map(|module| NoiseTensor { module, is_weight: true });
        let scheme = Scheme::new(config.noise.clone(), &layout, &tensors, config.seed);
        let arena = Arena::new(gpu, layout, &scheme.scales())?;
        for tensor in 0..2 {
            gpu.write(&arena.tensor(&arena.weights, tensor)?, &vec![config.start; runs * d])?;
        }
        let sum = gpu.buffer("sum of coefficients", runs * d)?;
        let stages = stages(gpu, &arena, &sum, [x, y], [runs, n, d])?;
        let plain = OptimizerConfig { momentum: 0.0, weight_decay: 0.0, ..OptimizerConfig::default() };
        let optimizer = Optimizer::new(gpu, plain, &arena, config.noise.distribution.code())?;
        let first = scheme.at(0, 0, 1);
        let mut recorder = gpu.record();
        Perturb::new(gpu, &arena, config.noise.distribution.code(), false)?.record(
            gpu,
            &mut recorder,
            &first.ranges,
            first.values,
        )?;
        recorder.submit()?;
        let (step_size, sums) = (config.step_size, vec![0.0; runs * d]);
        Ok(Self { gpu, scheme, optimizer, step_size, stages, sum, sums, summed: 0, step: 0, features: d })
    }

    /// Runs `steps` steps; where `average`, the coefficients before each of them count towards [`DiagonalRuns::mean`].
    ///
    /// # Errors
    /// Those of the device.
    pub fn run(&mut self, steps: u64, average: bool) -> Result<(), GpuError> {
        let end = self.step + steps;
        while self.step < end {
            let flush = end.min(self.step + STEPS_PER_SUM);
            self.summed += if average { flush - self.step } else { 0 };
            while self.step < flush {
                self.submit(flush.min(self.step + STEPS_PER_SUBMISSION))?;
            }
            if average {
                let sum: Vec<f32> = self.gpu.read(&self.sum.view())?;
                self.sums.iter_mut().zip(sum).for_each(|(total, part)| *total += f64::from(part));
            }
            self.gpu.write(&self.sum.view(), &vec![0.0_f32; self.sums.len()])?;
        }
        Ok(())
    }

    fn submit(&mut self, end: u64) -> Result<(), GpuError> {
        let mut recorder = self.gpu.record();
        while self.step < end {
            self.stages.iter().for_each(|stage| recorder.run(stage));
            let next = self.scheme.at(self.step + 1, 0, 1);
            self.optimizer.record(self.gpu, &mut recorder, self.step_size, &next)?;
            self.step += 1;
        }
        recorder.submit()
    }

    /// The averaged coefficients of each run [runs][d]; NaN before anything was averaged.
    #[must_use]
    pub fn mean(&self) -> Vec<Vec<f64>> {
        let count = self.summed as f64;
        self.sums.chunks(self.features.max(1)).map(|run| run.iter().map(|sum| sum / count).collect()).collect()
    }
}

/// theta = u u - v v; residual = theta X' - y; slope = residual X / n; gradients and sum.
fn stages(
    gpu: &Gpu,
    arena: &Arena,
    sum: &Buffer,
    [x, y]: [&[f32]; 2],
    [runs, n, d]: [usize; 3],
) -> Result<Vec<Dispatch>, GpuError> {
    let eff = [arena.tensor(&arena.weights_eff, 0)?, arena.tensor(&arena.weights_eff, 1)?];
    let clean = [arena.tensor(&arena.weights, 0)?, arena.tensor(&arena.weights, 1)?];
    let grads = [arena.tensor(&arena.grads, 0)?, arena.tensor(&arena.grads, 1)?];
    let theta = gpu.buffer("coefficients", runs * d)?.view();
    let residual = gpu.buffer("residuals", runs * n)?.view();
    let slope = gpu.buffer("slopes", runs * d)?.view();
    let design = gpu.upload("design", x)?.view();
    let scaled: Vec<f32> = x.iter().map(|x| x / n as f32).collect();
    let scaled = gpu.upload("design / n", &scaled)?.view();
    let negative: Vec<f32> = y.iter().map(|y| -y).collect();
    let negative = gpu.upload("-targets", &negative)?.view();
    let product = |layout, [m, n, k]: [usize; 3], epilogue, operands: MatmulOperands<'_>| {
        let shape = MatmulShape::new(m, n, k)?;
        matmul(gpu, matmul_variant(gpu, shape), layout, shape, epilogue, false, &operands)
    };
    let bias = Epilogue::BiasActivation { activation: Activation::Identity, store_pre: false };
    let predict = MatmulOperands { a: &theta, b: &design, aux: Some(&negative), c: &residual, pre: None };
    let back = MatmulOperands { a: &residual, b: &scaled, aux: None, c: &slope, pre: None };
    let sum = sum.view();
    Ok(vec![
        diagonal_predict(gpu, [&eff[0], &eff[1], &theta])?,
        product(MatmulLayout::Forward, [runs, n, d], bias, predict)?,
        product(MatmulLayout::DataGradient, [runs, d, n], Epilogue::Plain, back)?,
        diagonal_gradient(gpu, [&eff[0], &eff[1], &slope, &clean[0], &clean[1], &grads[0], &grads[1], &sum])?,
    ])
}
