//! Noisy gradient descent on a simple model: many runs of one regression at once, of any modes, sigmas and step sizes.

use nalgebra::{DMatrix, DVector};

use crate::{
    gpu::{Buffer, Dispatch, Element, Gpu, GpuError, View},
    kernels::{
        Activation, Arena, ArenaLayout, Epilogue, Factored, FactoredModel, FactoredViews, MatmulLayout, MatmulShape,
        ProductOperands, matmul, with_variants,
    },
    noise::{Distribution, GroupOrder, Mode, NoiseConfig, Scheme, unit_noise},
    rules::{Machine, Rule, Updates},
    schedule::Clock,
};

use super::SimpleModel;

/// R(theta) = |y - X theta|^2 / 2n.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    /// X [n, coefficients]
    pub x: DMatrix<f64>,
    /// y `[n]`
    pub y: DVector<f64>,
}

/// What the runs of a batch have in common.
#[derive(Clone, Debug)]
pub struct BatchConfig {
    /// Order of mode `layer`.
    pub order: GroupOrder,
    /// Of the noise and the start; every run draws its own part.
    pub seed: u64,
    /// Size of the factors at the start.
    pub start: f64,
}

/// What a run has of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunSettings {
    /// Which factors are noisy.
    pub mode: Mode,
    /// Standard deviation of the noise.
    pub sigma: f64,
    /// Step size at the start.
    pub step_size: f64,
    /// The step size at step k is `step_size` / sqrt(1 + `decay` k).
    pub decay: f64,
}

/// Steps recorded for one submission.
const STEPS_PER_SUBMISSION: u64 = 32;

/// Steps summed in f32 before the sum is added up in f64.
const STEPS_PER_SUM: u64 = 1024;

/// A batch of runs: u and v of every run are tensors of one arena, so noise and update are those of network training.
#[derive(Debug)]
pub struct Runs<'g> {
    gpu: &'g Gpu,
    arena: Arena,
    machine: Machine,
    factored: Factored,
    products: Vec<Dispatch>,
    sum: Buffer,
    step: u64,
    coefficients: usize,
}

impl<'g> Runs<'g> {
    /// Uploads the regression and plans a step of all runs.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for no runs, samples or coefficients, [`GpuError::Length`] if X is not [n, coefficients];
    /// those of the device.
    pub fn new(
        gpu: &'g Gpu,
        model: &SimpleModel,
        problem: &Regression,
        runs: &[RunSettings],
        config: &BatchConfig,
    ) -> Result<Self, GpuError> {
        let coefficients = model.coefficients();
        let expect = |argument, expected, found| {
            if expected == found {
                Ok(())
            } else {
                Err(GpuError::Length { kernel: "regression", argument, expected, found })
            }
        };
        expect("columns of x", coefficients, problem.x.ncols())?;
        expect("rows of x", problem.y.len(), problem.x.nrows())?;
        let (arena, scheme) = arena(gpu, model, runs, config)?;
        let sum = gpu.buffer("sum of coefficients", runs.len() * coefficients)?;
        let views = views(gpu, &arena, runs, &sum)?;
        let groups = match model {
            SimpleModel::Group { groups } => Some(gpu.upload("groups", &group_table(groups))?.view()),
            _ => None,
        };
        let shader = match (model, &groups) {
            (SimpleModel::TwoLayer { rows, width, .. }, _) => FactoredModel::TwoLayer { rows: *rows, width: *width },
            (_, Some(groups)) => FactoredModel::Group(groups),
            _ => FactoredModel::Diagonal,
        };
        let factored = Factored::new(gpu, shader, runs.len(), &views)?;
        let products = products(gpu, problem, runs.len(), &views)?;
        // Nothing is scheduled here.
        let machine = Machine::new(gpu, &arena, &Rule::noise(scheme), Updates::default(), Clock::Stopped)?;
        Ok(Self { gpu, arena, machine, factored, products, sum, step: 0, coefficients })
    }

    /// Runs `steps` steps; gives the mean over them of each run's clean coefficients, before the step.
    ///
    /// # Errors
    /// Those of the device.
    pub fn advance(&mut self, steps: u64) -> Result<Vec<DVector<f64>>, GpuError> {
        let end = self.step + steps;
        let mut total = vec![0.0; self.sum.len()];
        while self.step < end {
            let flush = end.min(self.step + STEPS_PER_SUM);
            self.gpu.write(&self.sum.view(), &vec![0.0_f32; total.len()])?;
            while self.step < flush {
                self.submit(flush.min(self.step + STEPS_PER_SUBMISSION))?;
            }
            let sum: Vec<f32> = self.gpu.read(&self.sum.view())?;
            total.iter_mut().zip(sum).for_each(|(total, part)| *total += f64::from(part));
        }
        let mean = |run: &[f64]| DVector::from_iterator(run.len(), run.iter().map(|sum| sum / steps as f64));
        Ok(total.chunks(self.coefficients.max(1)).map(mean).collect())
    }

    /// The clean u and v of each run as they are now.
    ///
    /// # Errors
    /// Those of the device.
    pub fn factors(&self) -> Result<Vec<[Vec<f32>; 2]>, GpuError> {
        let runs = self.arena.layout.spans().len() / 2;
        let read = |tensor| self.gpu.read(&self.arena.tensor(&self.arena.weights, tensor)?);
        (0..runs).map(|run| Ok([read(run)?, read(runs + run)?])).collect()
    }

    fn submit(&mut self, end: u64) -> Result<(), GpuError> {
        let mut recorder = self.gpu.record();
        while self.step < end {
            self.machine.begin(self.gpu, &mut recorder, self.step)?;
            self.factored.predict(&mut recorder);
            self.products.iter().for_each(|product| recorder.run(product));
            self.factored.gradient(&mut recorder, self.step);
            // The gradients hold the step sizes already.
            let rate = self.machine.rate(1.0);
            self.machine.after_pass(self.gpu, &mut recorder, 0, self.step, rate)?;
            self.machine.end(self.step);
            self.step += 1;
        }
        recorder.submit()
    }
}

/// Every run's u, then every run's v.
///
/// One scheme serves runs of every mode: of its two groups the first is noisy at even steps, the second at odd ones; a run
/// of mode `layer` has u in the one and v in the other, a run of another mode has both in both. Sigma is 1, and that of
/// each run, divided as its mode says, the scale of its tensors.
fn arena(
    gpu: &Gpu,
    model: &SimpleModel,
    runs: &[RunSettings],
    config: &BatchConfig,
) -> Result<(Arena, Scheme), GpuError> {
    let [u, v] = model.factors().map(|len| vec![[len]; runs.len()]);
    let layout = ArenaLayout::new(u.iter().chain(&v).map(|shape| &shape[..]));
    let groups = [0, 1].map(|factor| {
        let member = |tensor: &usize| {
            tensor / runs.len().max(1) == factor || runs[tensor % runs.len().max(1)].mode != Mode::Layer
        };
        (0..2 * runs.len()).filter(member).collect()
    });
    let noise = NoiseConfig { mode: Mode::Layer, sigma: 1.0, order: config.order, ..NoiseConfig::default() };
    let scheme = Scheme::with_groups(noise, &layout, groups.into(), config.seed);
    let scale = |run: &RunSettings| match run.mode {
        Mode::None => 0.0,
        Mode::All => run.sigma / 2.0_f64.sqrt(),
        Mode::Layer | Mode::Model => run.sigma,
    };
    let scales: Vec<f32> = runs.iter().chain(runs).map(|run| scale(run) as f32).collect();
    let mut weights = vec![0.0_f32; layout.words()];
    for run in 0..runs.len() {
        let mut drawn = 0;
        // Another seed than the noise's, or the first step's noise would be the start once more.
        let mut draw = || {
            drawn += 1;
            f64::from(unit_noise(Distribution::Gaussian, !config.seed, 0, run as u32, drawn - 1))
        };
        for (factor, values) in model.start(config.start, &mut draw).iter().enumerate() {
            let span = &layout.spans()[factor * runs.len() + run];
            weights[span.start..][..values.len()].copy_from_slice(values);
        }
    }
    let arena = Arena::new(gpu, layout, &scales)?;
    gpu.write(&arena.weights.view(), &weights)?;
    Ok((arena, scheme))
}

fn views(gpu: &Gpu, arena: &Arena, runs: &[RunSettings], sum: &Buffer) -> Result<FactoredViews, GpuError> {
    let border = arena.layout.spans().get(runs.len()).map_or(0, |span| span.start);
    let halves = |buffer: &Buffer| -> Result<[View; 2], GpuError> {
        Ok([buffer.part(0, border)?, buffer.part(border, arena.layout.words() - border)?])
    };
    let rates: Vec<[f32; 2]> = runs.iter().map(|run| [run.step_size as f32, run.decay as f32]).collect();
    Ok(FactoredViews {
        clean: halves(&arena.weights)?,
        noisy: halves(&arena.weights_eff)?,
        grads: halves(&arena.grads)?,
        theta: gpu.buffer("coefficients", sum.len())?.view(),
        slope: gpu.buffer("slopes", sum.len())?.view(),
        sum: sum.view(),
        rates: gpu.upload("rates", &rates)?.view(),
    })
}

fn group_table(groups: &[std::ops::Range<usize>]) -> Vec<[u32; 4]> {
    let entry = |(number, group): (usize, &std::ops::Range<usize>)| {
        std::iter::repeat_n([number as u32, group.start as u32, group.end as u32, 0], group.len())
    };
    groups.iter().enumerate().flat_map(entry).collect()
}

/// slope = X' (X theta - y) / n of every run: by the residuals, or by X'X where that takes fewer multiplications.
fn products(gpu: &Gpu, problem: &Regression, runs: usize, views: &FactoredViews) -> Result<Vec<Dispatch>, GpuError> {
    let (n, d) = problem.x.shape();
    let product = |layout, [m, n, k]: [usize; 3], operands: ProductOperands<'_>| {
        let shape = MatmulShape::new(m, n, k)?;
        let bias = Epilogue::BiasActivation { activation: Activation::Identity, store_pre: false };
        let epilogue = if operands.aux.is_some() { bias } else { Epilogue::Plain };
        with_variants(gpu, |class| {
            let variant = class.matmul_variant(Element::Word, shape);
            let scratch = gpu.buffer("scratch", variant.scratch_words(shape))?.part(0, variant.scratch_words(shape))?;
            let operands = ProductOperands { scratch: Some(&scratch), ..operands };
            matmul(gpu, variant, layout, shape, epilogue, false, &operands)
        })
    };
    let upload = |label, values: &mut dyn Iterator<Item = f64>| -> Result<View, GpuError> {
        let narrow: Vec<f32> = values.map(|value| value as f32).collect();
        Ok(gpu.upload(label, &narrow)?.view())
    };
    let (theta, slope) = (&views.theta, &views.slope);
    if d <= 2 * n {
        let hessian = problem.x.tr_mul(&problem.x) / n as f64;
        let linear = problem.x.tr_mul(&problem.y) / -(n as f64);
        let hessian = upload("hessian", &mut hessian.iter().copied())?;
        let linear = upload("-linear", &mut linear.iter().copied())?;
        let operands =
            ProductOperands { a: theta, b: &hessian, aux: Some(&linear), c: slope, pre: None, scratch: None };
        return product(MatmulLayout::Forward, [runs, d, d], operands);
    }
    // Row by row, as nalgebra keeps X'.
    let rows = problem.x.transpose();
    let design = upload("design", &mut rows.iter().copied())?;
    let scaled = upload("design / n", &mut rows.iter().map(|x| x / n as f64))?;
    let negative = upload("-targets", &mut problem.y.iter().map(|y| -y))?;
    let residual = gpu.buffer("residuals", runs * n)?.view();
    let forward =
        ProductOperands { a: theta, b: &design, aux: Some(&negative), c: &residual, pre: None, scratch: None };
    let back = ProductOperands { a: &residual, b: &scaled, aux: None, c: slope, pre: None, scratch: None };
    let mut dispatches = product(MatmulLayout::Forward, [runs, n, d], forward)?;
    dispatches.extend(product(MatmulLayout::DataGradient, [runs, d, n], back)?);
    Ok(dispatches)
}
