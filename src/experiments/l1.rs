//! The diagonal model against the weighted Lasso, and the regularisation path in one batch.

use nalgebra::DVector;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    noise::Mode,
    report::{AxisScale, Figure, Panel, Series},
};

use super::{
    Bar, Choices, Claim, Definition, ExperimentError, Outcome, Surroundings,
    penalties::{self, Bars},
    simple::{ArmSettings, Case, FileKind, PARTS, Posed, RunSettings, Sparse, Target, segments},
};

/// A regularisation path: shares of the sigma^2 from which on the solution is 0, evenly spaced in the logarithm.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PathSettings {
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
    /// The median relative distance over the sigmas is held against this.
    bar: f64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    problem: Sparse,
    /// Of neighbouring columns: a case each.
    correlations: Vec<f64>,
    arms: ArmSettings,
    path: PathSettings,
    bars: Bars,
}

/// A point of the path.
#[derive(Clone, Debug, Serialize)]
struct PathPoint {
    sigma: f64,
    /// Relative distance of each run's averaged iterate.
    distances: Vec<f64>,
    #[serde(skip)]
    theta: DVector<f64>,
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
    let declared = || {
        let case = |correlation: &f64| {
            let (model, problem) = settings.problem.problem(*correlation, settings.arms.seed);
            let label =
                if *correlation == 0.0 { "independent".to_owned() } else { format!("correlated {correlation}") };
            Case { label, model, problem }
        };
        settings.correlations.iter().map(case).collect()
    };
    let cases = penalties::cases(around, FileKind::Sparse, declared)?;
    let ran = penalties::run_cases(around, cases, &settings.arms, ARMS_SHARE)?;
    let mut outcome = penalties::summarise(&ran, &settings.bars, &around.out)?;
    outcome.settings = json!(settings);
    let mut panels: Vec<Panel> = ran.iter().map(penalties::course_panel).collect();
    panels.extend(ran.iter().map(penalties::step_size_panel));
    if let Some(first) = ran.first().filter(|_| settings.path.points > 0) {
        let points = path(&first.posed, &settings, around)?;
        outcome.claims.push(path_claim(&points, &settings.path));
        outcome.metrics = json!({ "cases": outcome.metrics, "path": points });
        panels.push(path_panel(&first.posed, &points)?);
    }
    outcome.figures = vec![("l1".to_owned(), figure(of, panels))];
    Ok(outcome)
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
    let window = &means[means.len() / 2..];
    let average = |run: usize| window.iter().map(|part| &part[run]).sum::<DVector<f64>>() / window.len() as f64;
    let point = |(k, sigma): (usize, &f64)| {
        let target = target(posed, *sigma)?;
        let averages: Vec<_> = (k * of.seeds..(k + 1) * of.seeds).map(average).collect();
        let distances = averages.iter().map(|theta| target.distance(&posed.loss, theta).theta).collect();
        let theta = averages.iter().sum::<DVector<f64>>() / of.seeds as f64;
        Ok(PathPoint { sigma: *sigma, distances, theta })
    };
    sigmas.iter().enumerate().map(point).collect()
}

fn target(posed: &Posed, sigma: f64) -> Result<Target, ExperimentError> {
    Ok(posed.case.model.target(&posed.loss, Mode::Model, sigma)?)
}

fn path_claim(points: &[PathPoint], of: &PathSettings) -> Claim {
    let mut all: Vec<f64> = points.iter().flat_map(|point| &point.distances).copied().collect();
    all.sort_by(f64::total_cmp);
    let median = all.get(all.len() / 2).copied().unwrap_or(f64::NAN);
    let statement =
        format!("path of {} sigmas x {} runs in one batch: median relative distance in theta", points.len(), of.seeds);
    Claim::new("path", statement, median, Bar::AtMost(of.bar))
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
    let mut series = Vec::new();
    for at in order.into_iter().take(PATH_COEFFICIENTS) {
        series.push(Series::line("Lasso path", sigmas.iter().zip(&solutions).map(|(sigma, of)| (*sigma, of[at]))));
        let marks = points.iter().map(|point| (point.sigma, point.theta[at]));
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
