//! Noise modes and step sizes side by side on one problem, each against the convex problem that it should solve.

use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::{
    experiments::{
        ExperimentError,
        convex::{LeastSquares, Penalty},
        statistics::mean,
    },
    gpu::Gpu,
    noise::{GroupOrder, Mode},
};

use super::{BatchConfig, ConvexTarget, Distance, Regression, RunSettings, Runs, SimpleModel};

/// The modes that add noise.
pub const NOISY: [Mode; 3] = [Mode::Model, Mode::All, Mode::Layer];

/// Averages are taken over windows made of this many equal parts of a run.
pub const PARTS: u64 = 64;

/// How runs are made. Step sizes are in units of 1 / (curvature of the loss in the factors).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ArmSettings {
    /// Standard deviation of the noise; where absent, `shrinkage` says.
    pub sigma: Option<f64>,
    /// sigma^2 as a share of the one from which on the target is 0.
    pub shrinkage: f64,
    /// Constant step sizes, largest first.
    pub step_sizes: Vec<f64>,
    /// A decaying step size falls from the first to this share of it, as 1 / sqrt(1 + c k).
    pub decay_to: f64,
    /// Steps of the smallest step size; larger ones take as much less as they are larger.
    pub steps: u64,
    /// Runs of each arm, with noise of their own; the smallest step size, which claims are about, has four times as many,
    /// and the decaying one twice.
    pub seeds: usize,
    /// Of problem, noise and start.
    pub seed: u64,
    /// Factors at the start, in units of the square root of the largest coefficient.
    pub start: f64,
    /// Order of mode `layer`.
    pub order: GroupOrder,
}

impl ArmSettings {
    /// Refuses what cannot be run.
    ///
    /// # Errors
    /// [`ExperimentError::Settings`] naming the setting.
    pub fn check(&self, experiment: &str) -> Result<(), ExperimentError> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let checks = [
            (self.sigma.is_some_and(|sigma| !sigma.is_finite() || sigma < 0.0), "arms.sigma has to be 0 or more"),
            (!positive(self.shrinkage), "arms.shrinkage has to be positive"),
            (self.step_sizes.is_empty(), "arms.step_sizes has to name at least one"),
            (!self.step_sizes.iter().all(|size| positive(*size)), "arms.step_sizes have to be positive"),
            (!(positive(self.decay_to) && self.decay_to <= 1.0), "arms.decay_to has to be in (0, 1]"),
            (self.steps == 0, "arms.steps has to be at least 1"),
            (self.seeds == 0, "arms.seeds has to be at least 1"),
            (!positive(self.start), "arms.start has to be positive"),
        ];
        ExperimentError::unless_right(experiment, &checks)
    }
}

/// A problem to run on.
#[derive(Clone, Debug)]
pub struct Case {
    /// For claims and figures.
    pub label: String,
    /// The model.
    pub model: SimpleModel,
    /// The regression.
    pub problem: Regression,
}

/// How an arm's steps go.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Steps {
    /// All alike, in the settings' units.
    Constant(f64),
    /// From this on down.
    Decaying(f64),
}

/// Runs of one mode and one course of step sizes.
#[derive(Clone, Debug)]
pub struct ArmIterates {
    /// The noise.
    pub mode: Mode,
    /// The steps.
    pub steps: Steps,
    /// Each run's averaged iterate at the end.
    pub ends: Vec<DVector<f64>>,
    /// The averaged iterates' mean over the runs after half of the steps.
    pub halfway: DVector<f64>,
    /// (steps, mean distance over the runs) of the average over the last half so far.
    pub curve: Vec<(f64, f64)>,
    /// The first run's iterate, averaged over each part of the run.
    pub course: Vec<DVector<f64>>,
}

impl ArmIterates {
    /// The averaged iterates' mean over the runs.
    #[must_use]
    pub fn theta(&self) -> DVector<f64> {
        self.ends.iter().sum::<DVector<f64>>() / self.ends.len() as f64
    }
}

/// What a case is measured in: sigma, the unit of step sizes, the size of the start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Units {
    /// Standard deviation of the noise.
    pub sigma: f64,
    /// The sigma from which on the target is 0.
    pub largest_sigma: f64,
    /// Step size 1 of the settings.
    pub step: f64,
    /// Start 1 of the settings.
    pub start: f64,
}

/// A case with its targets.
#[derive(Clone, Debug)]
pub struct SolvedCase {
    /// The case.
    pub case: Case,
    /// Its loss.
    pub loss: LeastSquares,
    /// Its units.
    pub units: Units,
    /// The convex problems of [`NOISY`]; empty where sigma is 0.
    pub targets: Vec<ConvexTarget>,
}

/// Most coefficients: their Hessian is kept and decomposed on the host.
pub const MOST_COEFFICIENTS: usize = 4096;

impl SolvedCase {
    /// Solves the convex problems.
    ///
    /// # Errors
    /// [`ExperimentError::TooLarge`] past [`MOST_COEFFICIENTS`]; those of the solver.
    pub fn new(case: Case, settings: &ArmSettings) -> Result<Self, ExperimentError> {
        let bytes = |coefficients: usize| 8 * (coefficients as u64).pow(2);
        let coefficients = case.model.coefficients();
        if coefficients > MOST_COEFFICIENTS {
            return Err(ExperimentError::TooLarge {
                what: format!("the Hessian of {coefficients} coefficients, which the convex solver keeps on the host,"),
                bytes: bytes(coefficients),
                limit: bytes(MOST_COEFFICIENTS),
                adapter: "the solver".to_owned(),
            });
        }
        let loss = LeastSquares::new(&case.problem.x, &case.problem.y)?;
        let unit = case.model.penalty(&loss, 1.0);
        let largest_sigma = unit.dual(&loss.linear).sqrt();
        let sigma = settings.sigma.unwrap_or(settings.shrinkage.sqrt() * largest_sigma);
        let targets = if sigma > 0.0 {
            NOISY.iter().map(|mode| case.model.target(&loss, *mode, sigma)).collect::<Result<Vec<_>, _>>()?
        } else {
            Vec::new()
        };
        // The factors' size is that of the coefficients without much noise.
        let size = case.model.size(&case.model.target(&loss, Mode::Model, 0.1 * largest_sigma)?.solution);
        let size = if size > 0.0 { size } else { 1.0 };
        let curvature = loss.hessian.symmetric_eigenvalues().max().max(f64::MIN_POSITIVE);
        let units = Units { sigma, largest_sigma, step: 1.0 / (curvature * size), start: size.sqrt() };
        Ok(Self { case, loss, units, targets })
    }

    /// The target of a mode; that of `model` for plain gradient descent.
    #[must_use]
    pub fn target(&self, mode: Mode) -> Option<&ConvexTarget> {
        self.targets.get(NOISY.iter().position(|noisy| *noisy == mode).unwrap_or(0))
    }

    /// How far the solution with the plain nuclear norm, of the same mean weight, is from that of mode `model`.
    #[must_use]
    pub fn plain_nuclear_distance(&self) -> Option<f64> {
        let [q, p] = self.case.model.two_layer_blocks(&self.loss.hessian)?;
        let target = self.target(Mode::Model)?;
        let [rows, columns] = [&q, &p].map(nalgebra::DMatrix::nrows);
        let identity = |n: usize| nalgebra::DMatrix::identity(n, n);
        let weight = self.units.sigma.powi(2) * (q.trace() / rows as f64 * (p.trace() / columns as f64)).sqrt();
        let plain = Penalty::nuclear(&identity(rows), &identity(columns), weight).minimise(&self.loss).ok()?;
        Some((plain.theta - &target.solution).norm() / target.solution.norm())
    }

    /// How far `theta` is from the target of a mode; NaN where there is none.
    #[must_use]
    pub fn distance(&self, mode: Mode, theta: &DVector<f64>) -> Distance {
        let nowhere = Distance { theta: f64::NAN, objective: f64::NAN };
        self.target(mode).map_or(nowhere, |target| target.distance(&self.loss, theta))
    }

    /// Runs every mode with every course of step sizes, and plain gradient descent, in one batch.
    ///
    /// # Errors
    /// Those of the device.
    pub fn run(
        &self,
        gpu: &Gpu,
        settings: &ArmSettings,
        progress: &mut dyn FnMut(f64) -> Result<(), ExperimentError>,
    ) -> Result<Vec<ArmIterates>, ExperimentError> {
        let largest = settings.step_sizes.iter().copied().fold(0.0, f64::max);
        let courses = settings.step_sizes.iter().map(|size| Steps::Constant(*size));
        let courses: Vec<Steps> = courses.chain([Steps::Decaying(largest)]).collect();
        let smallest = settings.step_sizes.iter().copied().fold(f64::INFINITY, f64::min);
        let times = |steps: &Steps| match steps {
            Steps::Constant(size) if *size == smallest => 4,
            Steps::Constant(_) => 1,
            Steps::Decaying(_) => 2,
        };
        let noisy =
            NOISY.iter().flat_map(|mode| courses.iter().map(|steps| (*mode, *steps, settings.seeds * times(steps))));
        let arms: Vec<_> = noisy.chain([(Mode::None, Steps::Constant(largest), 1)]).collect();
        let settings_of = |(mode, steps, _): &(Mode, Steps, usize)| {
            let (size, decay) = match steps {
                Steps::Constant(size) => (*size, 0.0),
                Steps::Decaying(size) => (*size, (settings.decay_to.powi(-2) - 1.0) / settings.steps as f64),
            };
            RunSettings { mode: *mode, sigma: self.units.sigma, step_size: size * self.units.step, decay }
        };
        let runs: Vec<_> = arms.iter().flat_map(|arm| std::iter::repeat_n(settings_of(arm), arm.2)).collect();
        let means = segments(gpu, &self.case, &runs, settings, self.units, PARTS, progress)?;
        let mut first = 0;
        let mut result = Vec::with_capacity(arms.len());
        for (mode, steps, seeds) in arms {
            result.push(self.arm(mode, steps, &means, first..first + seeds, settings));
            first += seeds;
        }
        Ok(result)
    }

    fn arm(
        &self,
        mode: Mode,
        steps: Steps,
        means: &[Vec<DVector<f64>>],
        runs: std::ops::Range<usize>,
        settings: &ArmSettings,
    ) -> ArmIterates {
        let smallest = settings.step_sizes.iter().copied().fold(f64::INFINITY, f64::min);
        // Step sizes are compared at the same step size times steps.
        let used = match steps {
            Steps::Constant(size) if mode != Mode::None => (means.len() as f64 * smallest / size).round().max(1.0),
            _ => means.len() as f64,
        } as usize;
        let average = |run: usize, end: usize| {
            let window = &means[end / 2..end];
            window.iter().map(|segment| &segment[run]).sum::<DVector<f64>>() / window.len() as f64
        };
        let at = |end: usize| -> Vec<DVector<f64>> { runs.clone().map(|run| average(run, end)).collect() };
        let over = |thetas: &[DVector<f64>]| thetas.iter().sum::<DVector<f64>>() / thetas.len() as f64;
        let curve = (1..=used).map(|end| {
            let distances: Vec<f64> = at(end).iter().map(|theta| self.distance(mode, theta).theta).collect();
            (end as f64 * settings.steps as f64 / means.len() as f64, mean(&distances).value)
        });
        ArmIterates {
            mode,
            steps,
            ends: at(used),
            halfway: over(&at(used.div_ceil(2))),
            curve: curve.collect(),
            course: means[..used].iter().map(|segment| segment[runs.start].clone()).collect(),
        }
    }
}

/// The mean iterates `[part][run]` over so many equal parts of a batch of runs, or over every step where those are fewer.
///
/// # Errors
/// Those of the device.
pub fn segments(
    gpu: &Gpu,
    case: &Case,
    runs: &[RunSettings],
    settings: &ArmSettings,
    units: Units,
    parts: u64,
    progress: &mut dyn FnMut(f64) -> Result<(), ExperimentError>,
) -> Result<Vec<Vec<DVector<f64>>>, ExperimentError> {
    let config = BatchConfig { order: settings.order, seed: settings.seed, start: settings.start * units.start };
    let mut batch = Runs::new(gpu, &case.model, &case.problem, runs, &config)?;
    let parts = parts.min(settings.steps);
    let mut means = Vec::with_capacity(parts as usize);
    for part in 0..parts {
        means.push(batch.advance(settings.steps * (part + 1) / parts - settings.steps * part / parts)?);
        progress((part + 1) as f64 / parts as f64)?;
    }
    Ok(means)
}
