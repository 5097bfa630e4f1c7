//! The diagonal model against the weighted Lasso, and the regularisation path in one batch.

use nalgebra::DVector;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Measured, Verdict, penalty_panels, statistics::mean};

use crate::{
    noise::Mode,
    report::{AxisScale, Figure, Panel, Series},
};

use super::{
    Bar, Choices, Claim, Definition, ExperimentError, Outcome, Surroundings,
    convex::ConvexError,
    penalties,
    penalty_measurements::{Bars, CaseMeasurements},
    simple::{ArmSettings, Case, ConvexTarget, FileKind, PARTS, Rounded, RunSettings, SolvedCase, Sparse, segments},
};

/// A regularisation path: shares of the sigma^2 from which on the solution is 0, evenly spaced in the logarithm.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PathSettings {
    /// Sigmas.
    points: usize,
    /// Runs of each.
    seeds: usize,
    /// Steps of each run.
    steps: u64,
    /// Largest and smallest share.
    shares: [f64; 2],
    /// In units of the arms' step sizes, at the arms' shrinkage; sigma^2 times the step size is the same over the path, and
    /// with it the pace, but no step size is larger than 1.
    step_size: f64,
    /// The distance, mean over sigmas and runs, is compared with this.
    bar: f64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    problem: Sparse,
    /// Of neighbouring columns: a case each.
    correlations: Vec<f64>,
    pub(super) arms: ArmSettings,
    pub(super) path: PathSettings,
    pub(super) bars: Bars,
}

/// What was measured: with the convex problems, all that the claims need.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Measurements {
    pub(super) cases: Vec<CaseMeasurements>,
    pub(super) path: Vec<PathPoint>,
}

/// A point of the path.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct PathPoint {
    pub(super) sigma: f64,
    /// Each run's averaged iterate.
    pub(super) ends: Vec<Rounded>,
    /// Their mean over the runs after half of the steps.
    pub(super) halfway: Rounded,
}

impl PathPoint {
    /// The mean over the runs.
    fn theta(&self, coefficients: usize) -> DVector<f64> {
        self.ends.iter().map(|end| end.theta(coefficients)).sum::<DVector<f64>>() / self.ends.len() as f64
    }
}

/// Share of the work that the arms are, for the progress bar.
const ARMS_SHARE: f64 = 0.7;

pub(super) fn run(
    definition: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = definition.settings(choices)?;
    settings.arms.check(&definition.name)?;
    settings.problem.check(&definition.name, &settings.correlations)?;
    let cases = penalties::cases(around, FileKind::Sparse, || declared(&settings))?;
    let runs = penalties::measure(around, cases, &settings.arms, ARMS_SHARE)?;
    let mut outcome = penalties::report(&runs, &settings.bars, &settings.arms);
    outcome.settings = json!(settings);
    let mut panels: Vec<Panel> = runs.iter().map(penalty_panels::course_panel).collect();
    panels.extend(runs.iter().map(penalty_panels::step_size_panel));
    let mut points = Vec::new();
    if let Some(first) = runs.first().filter(|_| settings.path.points > 0) {
        points = path(&first.solved, &settings, around)?;
        let target = |sigma| first.solved.case.model.target(&first.solved.loss, Mode::Model, sigma);
        outcome.claims.push(judge_path(&points, &first.solved, &target, &settings.path)?);
        panels.push(path_panel(&first.solved, &points)?);
    }
    let cases = runs.iter().map(|run| run.measured.clone()).collect();
    outcome.metrics = json!(Measurements { cases, path: points });
    outcome.figures = vec![("l1".to_owned(), figure(definition, panels))];
    Ok(outcome)
}

/// The problems that the settings declare.
pub(super) fn declared(settings: &Settings) -> Vec<Case> {
    let case = |correlation: &f64| {
        let (model, problem) = settings.problem.problem(*correlation, settings.arms.seed);
        let label = if *correlation == 0.0 { "independent".to_owned() } else { format!("correlated {correlation}") };
        Case { label, model, problem }
    };
    settings.correlations.iter().map(case).collect()
}

fn figure(definition: &Definition, panels: Vec<Panel>) -> Figure {
    Figure {
        title: definition.title.clone(),
        caption:
            "Relative distance of the averaged iterate from the weighted Lasso of each mode (of mode model, for plain \
                  gradient descent); bands: from the nearest to the farthest run; step sizes compared at the same step size x steps. Last: \
                  coefficients over sigma, the averages of noisy runs on the Lasso path."
                .to_owned(),
        panels,
    }
}

fn sigmas(largest: f64, path: &PathSettings) -> Vec<f64> {
    let [from, to] = path.shares.map(f64::ln);
    let at = |k: usize| from + (to - from) * k as f64 / (path.points.max(2) - 1) as f64;
    (0..path.points).map(|k| largest * (at(k) / 2.0).exp()).collect()
}

/// All sigmas and seeds in one batch.
fn path(
    solved: &SolvedCase,
    settings: &Settings,
    around: &mut Surroundings<'_>,
) -> Result<Vec<PathPoint>, ExperimentError> {
    let path = &settings.path;
    let sigmas = sigmas(solved.units.largest_sigma, path);
    let run = |sigma: &f64| {
        let share = (sigma / solved.units.largest_sigma).powi(2);
        let step_size = (path.step_size * settings.arms.shrinkage / share).min(1.0) * solved.units.step;
        RunSettings { mode: Mode::Model, sigma: *sigma, step_size, decay: 0.0 }
    };
    let runs: Vec<_> = sigmas.iter().flat_map(|sigma| std::iter::repeat_n(run(sigma), path.seeds)).collect();
    let arms = ArmSettings { steps: path.steps, ..settings.arms.clone() };
    let progress = &mut around.progress;
    let means = segments(around.gpu, &solved.case, &runs, &arms, solved.units, PARTS, &mut |done| {
        progress(ARMS_SHARE + (1.0 - ARMS_SHARE) * done, "path")
    })?;
    let average = |run: usize, end: usize| {
        let window = &means[end / 2..end];
        window.iter().map(|part| &part[run]).sum::<DVector<f64>>() / window.len() as f64
    };
    let half = means.len().div_ceil(2);
    let point = |(k, sigma): (usize, &f64)| {
        let expected = target(solved, *sigma)?.solution;
        let runs = k * path.seeds..(k + 1) * path.seeds;
        let halfway = runs.clone().map(|run| average(run, half)).sum::<DVector<f64>>() / path.seeds as f64;
        let ends = runs.map(|run| Rounded::new(&average(run, means.len()), &expected)).collect();
        Ok(PathPoint { sigma: *sigma, ends, halfway: Rounded::new(&halfway, &expected) })
    };
    sigmas.iter().enumerate().map(point).collect()
}

fn target(solved: &SolvedCase, sigma: f64) -> Result<ConvexTarget, ExperimentError> {
    Ok(solved.case.model.target(&solved.loss, Mode::Model, sigma)?)
}

/// The claim on the path, over all runs: the mean over the sigmas is one independent value a seed. Distances are relative
/// to the largest solution of the path; relative to its own they have no bound where the solution nears 0.
///
/// A pure function: the device is not asked again.
pub(super) fn judge_path(
    points: &[PathPoint],
    solved: &SolvedCase,
    target: &dyn Fn(f64) -> Result<ConvexTarget, ConvexError>,
    path: &PathSettings,
) -> Result<Claim, ConvexError> {
    let targets: Vec<ConvexTarget> = points.iter().map(|point| target(point.sigma)).collect::<Result<_, _>>()?;
    let largest = targets.iter().map(|target| target.solution.norm()).fold(0.0, f64::max);
    // The mean over the sigmas of what each sigma's runs have at one place.
    let over_sigmas = |at: &dyn Fn(&PathPoint) -> DVector<f64>| {
        let distance = |(point, target): (&PathPoint, &ConvexTarget)| (at(point) - &target.solution).norm() / largest;
        points.iter().zip(&targets).map(distance).sum::<f64>() / points.len() as f64
    };
    let coefficients = solved.case.model.coefficients();
    let seeds = points.iter().map(|point| point.ends.len()).min().unwrap_or(0);
    let values: Vec<f64> = (0..seeds).map(|seed| over_sigmas(&|point| point.ends[seed].theta(coefficients))).collect();
    let statement = format!(
        "path of {} sigmas x {seeds} runs in one batch: mean distance in theta, relative to the largest solution",
        points.len()
    );
    let claim = Claim::new("path", statement, Measured::sampled(mean(&values)), Bar::AtMost(path.bar))
        .essential()
        .more_by("path.seeds", seeds);
    let runs = points.iter().flat_map(|point| &point.ends);
    let diverged = runs.clone().filter(|run| !run.is_finite()).count();
    if diverged > 0 {
        return Ok(claim.ruled(Verdict::Fails, format!("{diverged} of {} runs diverged", runs.count())));
    }
    // In the mean over the runs their own noise averages out: where that is below the bar, or falls to below it, more steps
    // would bring the runs there.
    let half = over_sigmas(&|point| point.halfway.theta(coefficients));
    let end = over_sigmas(&|point| point.theta(coefficients));
    let arrives = end <= path.bar || (half > end && 2.0 * end - half <= path.bar);
    if claim.verdict() != Verdict::Holds && claim.measured.value > path.bar && arrives {
        let times = (claim.measured.value / (AIM * path.bar)).powi(2);
        let steps = (path.steps as f64 * times).ceil();
        let reason = format!("at these steps: the runs are still on their way; run --set path.steps={steps:.0}");
        return Ok(claim.ruled(Verdict::Inconclusive, reason));
    }
    Ok(claim)
}

/// What a distance should come to, as a share of its bar.
const AIM: f64 = 0.7;

/// Lines of the path between its sigmas.
const PATH_LINES: usize = 5;

/// Coefficients whose path is drawn: those largest at the smallest sigma.
const PATH_COEFFICIENTS: usize = 14;

fn path_panel(solved: &SolvedCase, points: &[PathPoint]) -> Result<Panel, ExperimentError> {
    let mut sigmas: Vec<f64> = Vec::new();
    for pair in points.windows(2) {
        let between = |k: usize| pair[0].sigma * (pair[1].sigma / pair[0].sigma).powf(k as f64 / PATH_LINES as f64);
        sigmas.extend((0..PATH_LINES).map(between));
    }
    sigmas.extend(points.last().map(|point| point.sigma));
    let solutions: Vec<DVector<f64>> =
        sigmas.iter().map(|sigma| Ok(target(solved, *sigma)?.solution)).collect::<Result<_, ExperimentError>>()?;
    let smallest = if sigmas.first() < sigmas.last() { solutions.first() } else { solutions.last() };
    let mut order: Vec<usize> = (0..solved.case.model.coefficients()).collect();
    order.sort_by(|a, b| {
        smallest
            .map_or(0.0, |solution| solution[*b].abs())
            .total_cmp(&smallest.map_or(0.0, |solution| solution[*a].abs()))
    });
    let found: Vec<DVector<f64>> = points.iter().map(|point| point.theta(order.len())).collect();
    let mut series = Vec::new();
    for at in order.into_iter().take(PATH_COEFFICIENTS) {
        series.push(Series::line(
            "Lasso path",
            sigmas.iter().zip(&solutions).map(|(sigma, solution)| (*sigma, solution[at])),
        ));
        let marks = points.iter().zip(&found).map(|(point, theta)| (point.sigma, theta[at]));
        series.push(Series { scatter: true, ..Series::line("noisy runs, averaged", marks) });
    }
    Ok(Panel {
        title: format!("{}: coefficients over sigma", solved.case.label),
        x_label: "sigma".to_owned(),
        y_label: "coefficient".to_owned(),
        x_scale: AxisScale::Log,
        series,
        ..Panel::default()
    })
}
