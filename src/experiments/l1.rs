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
    penalties::{self, Bars, CaseMeasurements},
    simple::{ArmSettings, Case, FileKind, PARTS, Posed, Rounded, RunSettings, Sparse, Target, segments},
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
    of: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = of.settings(choices)?;
    settings.arms.check(&of.name)?;
    settings.problem.check(&of.name, &settings.correlations)?;
    let cases = penalties::cases(around, FileKind::Sparse, || declared(&settings))?;
    let ran = penalties::measure(around, cases, &settings.arms, ARMS_SHARE)?;
    let mut outcome = penalties::report(&ran, &settings.bars, &settings.arms);
    outcome.settings = json!(settings);
    let mut panels: Vec<Panel> = ran.iter().map(penalty_panels::course_panel).collect();
    panels.extend(ran.iter().map(penalty_panels::step_size_panel));
    let mut points = Vec::new();
    if let Some(first) = ran.first().filter(|_| settings.path.points > 0) {
        points = path(&first.posed, &settings, around)?;
        let target = |sigma| first.posed.case.model.target(&first.posed.loss, Mode::Model, sigma);
        outcome.claims.push(judge_path(&points, &first.posed, &target, &settings.path)?);
        panels.push(path_panel(&first.posed, &points)?);
    }
    let cases = ran.iter().map(|of| of.measured.clone()).collect();
    outcome.metrics = json!(Measurements { cases, path: points });
    outcome.figures = vec![("l1".to_owned(), figure(of, panels))];
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

fn figure(of: &Definition, panels: Vec<Panel>) -> Figure {
    Figure {
        title: of.title.clone(),
        caption:
            "Relative distance of the averaged iterate from the weighted Lasso of each mode (of mode model, for plain \
                  gradient descent); bands: from the nearest to the farthest run; step sizes compared at the same step size x steps. Last: \
                  coefficients over sigma, the averages of noisy runs on the Lasso path."
                .to_owned(),
        panels,
    }
}

fn sigmas(largest: f64, of: &PathSettings) -> Vec<f64> {
    let [from, to] = of.shares.map(f64::ln);
    let at = |k: usize| from + (to - from) * k as f64 / (of.points.max(2) - 1) as f64;
    (0..of.points).map(|k| largest * (at(k) / 2.0).exp()).collect()
}

/// All sigmas and seeds in one batch.
fn path(posed: &Posed, settings: &Settings, around: &mut Surroundings<'_>) -> Result<Vec<PathPoint>, ExperimentError> {
    let of = &settings.path;
    let sigmas = sigmas(posed.units.largest_sigma, of);
    let run = |sigma: &f64| {
        let share = (sigma / posed.units.largest_sigma).powi(2);
        let step_size = (of.step_size * settings.arms.shrinkage / share).min(1.0) * posed.units.step;
        RunSettings { mode: Mode::Model, sigma: *sigma, step_size, decay: 0.0 }
    };
    let runs: Vec<_> = sigmas.iter().flat_map(|sigma| std::iter::repeat_n(run(sigma), of.seeds)).collect();
    let arms = ArmSettings { steps: of.steps, ..settings.arms.clone() };
    let progress = &mut around.progress;
    let means = segments(around.gpu, &posed.case, &runs, &arms, posed.units, PARTS, &mut |done| {
        progress(ARMS_SHARE + (1.0 - ARMS_SHARE) * done, "path");
    })?;
    let average = |run: usize, end: usize| {
        let window = &means[end / 2..end];
        window.iter().map(|part| &part[run]).sum::<DVector<f64>>() / window.len() as f64
    };
    let half = means.len().div_ceil(2);
    let point = |(k, sigma): (usize, &f64)| {
        let expected = target(posed, *sigma)?.solution;
        let runs = k * of.seeds..(k + 1) * of.seeds;
        let halfway = runs.clone().map(|run| average(run, half)).sum::<DVector<f64>>() / of.seeds as f64;
        let ends = runs.map(|run| Rounded::new(&average(run, means.len()), &expected)).collect();
        Ok(PathPoint { sigma: *sigma, ends, halfway: Rounded::new(&halfway, &expected) })
    };
    sigmas.iter().enumerate().map(point).collect()
}

fn target(posed: &Posed, sigma: f64) -> Result<Target, ExperimentError> {
    Ok(posed.case.model.target(&posed.loss, Mode::Model, sigma)?)
}

/// The claim on the path, over all runs: the mean over the sigmas is one independent value a seed. Distances are relative
/// to the largest solution of the path; relative to its own they have no bound where the solution nears 0.
///
/// A pure function: the device is not asked again.
pub(super) fn judge_path(
    points: &[PathPoint],
    posed: &Posed,
    target: &dyn Fn(f64) -> Result<Target, ConvexError>,
    of: &PathSettings,
) -> Result<Claim, ConvexError> {
    let targets: Vec<Target> = points.iter().map(|point| target(point.sigma)).collect::<Result<_, _>>()?;
    let largest = targets.iter().map(|target| target.solution.norm()).fold(0.0, f64::max);
    // The mean over the sigmas of what each sigma's runs have at one place.
    let over_sigmas = |at: &dyn Fn(&PathPoint) -> DVector<f64>| {
        let distance = |(point, target): (&PathPoint, &Target)| (at(point) - &target.solution).norm() / largest;
        points.iter().zip(&targets).map(distance).sum::<f64>() / points.len() as f64
    };
    let coefficients = posed.case.model.coefficients();
    let seeds = points.iter().map(|point| point.ends.len()).min().unwrap_or(0);
    let values: Vec<f64> = (0..seeds).map(|seed| over_sigmas(&|point| point.ends[seed].theta(coefficients))).collect();
    let statement = format!(
        "path of {} sigmas x {seeds} runs in one batch: mean distance in theta, relative to the largest solution",
        points.len()
    );
    let claim = Claim::new("path", statement, Measured::sampled(mean(&values)), Bar::AtMost(of.bar))
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
    let arrives = end <= of.bar || (half > end && 2.0 * end - half <= of.bar);
    if claim.verdict() != Verdict::Holds && claim.measured.value > of.bar && arrives {
        let times = (claim.measured.value / (AIM * of.bar)).powi(2);
        let steps = (of.steps as f64 * times).ceil();
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

fn path_panel(posed: &Posed, points: &[PathPoint]) -> Result<Panel, ExperimentError> {
    let mut sigmas: Vec<f64> = Vec::new();
    for pair in points.windows(2) {
        let between = |k: usize| pair[0].sigma * (pair[1].sigma / pair[0].sigma).powf(k as f64 / PATH_LINES as f64);
        sigmas.extend((0..PATH_LINES).map(between));
    }
    sigmas.extend(points.last().map(|point| point.sigma));
    let solutions: Vec<DVector<f64>> =
        sigmas.iter().map(|sigma| Ok(target(posed, *sigma)?.solution)).collect::<Result<_, ExperimentError>>()?;
    let smallest = if sigmas.first() < sigmas.last() { solutions.first() } else { solutions.last() };
    let mut order: Vec<usize> = (0..posed.case.model.coefficients()).collect();
    order.sort_by(|a, b| smallest.map_or(0.0, |of| of[*b].abs()).total_cmp(&smallest.map_or(0.0, |of| of[*a].abs())));
    let found: Vec<DVector<f64>> = points.iter().map(|point| point.theta(order.len())).collect();
    let mut series = Vec::new();
    for at in order.into_iter().take(PATH_COEFFICIENTS) {
        series.push(Series::line("Lasso path", sigmas.iter().zip(&solutions).map(|(sigma, of)| (*sigma, of[at]))));
        let marks = points.iter().zip(&found).map(|(point, theta)| (point.sigma, theta[at]));
        series.push(Series { scatter: true, ..Series::line("noisy runs, averaged", marks) });
    }
    Ok(Panel {
        title: format!("{}: coefficients over sigma", posed.case.label),
        x_label: "sigma".to_owned(),
        y_label: "coefficient".to_owned(),
        x_scale: AxisScale::Log,
        series,
        ..Panel::default()
    })
}
