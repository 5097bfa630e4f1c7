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
    /// The relative distance, mean over sigmas and runs, is compared with this.
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

    /// How far each run ended from the target; NaN where it diverged.
    fn distances(&self, posed: &Posed, target: &Target) -> Vec<f64> {
        let coefficients = posed.case.model.coefficients();
        self.ends.iter().map(|end| target.distance(&posed.loss, &end.theta(coefficients)).theta).collect()
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

/// Over all runs: the mean over the sigmas is one independent value a seed.
/// A pure function: the device is not asked again.
pub(super) fn judge_path(
    points: &[PathPoint],
    posed: &Posed,
    target: &dyn Fn(f64) -> Result<Target, ConvexError>,
    of: &PathSettings,
) -> Result<Claim, ConvexError> {
    let targets: Vec<Target> = points.iter().map(|point| target(point.sigma)).collect::<Result<_, _>>()?;
    let distances: Vec<Vec<f64>> =
        points.iter().zip(&targets).map(|(point, target)| point.distances(posed, target)).collect();
    let seeds = distances.iter().map(Vec::len).min().unwrap_or(0);
    let over_sigmas = |seed: usize| distances.iter().map(|of| of[seed]).sum::<f64>() / distances.len() as f64;
    let values: Vec<f64> = (0..seeds).map(over_sigmas).collect();
    let statement =
        format!("path of {} sigmas x {seeds} runs in one batch: mean relative distance in theta", points.len());
    let claim = Claim::new("path", statement, Measured::sampled(mean(&values)), Bar::AtMost(of.bar))
        .essential()
        .more_by("path.seeds", seeds);
    let (runs, diverged) = distances
        .iter()
        .flatten()
        .fold((0, 0), |(runs, diverged), distance| (runs + 1, diverged + usize::from(!distance.is_finite())));
    if diverged > 0 {
        return Ok(claim.ruled(Verdict::Fails, format!("{diverged} of {runs} runs diverged")));
    }
    let times = (claim.measured.value / (AIM * of.bar)).powi(2);
    let reason = format!(
        "at these steps: the runs' own noise is still averaging out; run --set path.steps={:.0}",
        (of.steps as f64 * times).ceil()
    );
    let undecided = matches!(claim.verdict(), Verdict::Fails | Verdict::Inconclusive) && claim.measured.value > of.bar;
    if undecided && arrives(points, posed, &targets, of.bar) {
        return Ok(claim.ruled(Verdict::Inconclusive, reason));
    }
    Ok(claim)
}

/// What a distance should come to, as a share of its bar.
const AIM: f64 = 0.7;

/// Whether the mean over the runs, in which their own noise averages out, is below the bar or falls to below it.
fn arrives(points: &[PathPoint], posed: &Posed, targets: &[Target], bar: f64) -> bool {
    let distance = |target: &Target, theta: &DVector<f64>| target.distance(&posed.loss, theta).theta;
    let pairs = points.iter().zip(targets);
    let (half, end) = pairs.fold((0.0, 0.0), |(half, end), (point, target)| {
        let halfway = distance(target, &point.halfway.theta(target.solution.len()));
        (half + halfway, end + distance(target, &point.theta(target.solution.len())))
    });
    let count = points.len() as f64;
    end / count <= bar || (half > end && (2.0 * end - half) / count <= bar)
}

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
