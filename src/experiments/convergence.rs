//! How fast the averaged iterate of each simple model approaches its convex solution: an open question of the paper.

use nalgebra::DVector;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    noise::Mode,
    report::{AxisScale, Figure, Panel, Series, Table},
};

use super::{
    Bar, Choices, Claim, Definition, ExperimentError, Measured, Outcome, Surroundings,
    convex::LeastSquares,
    numbers::short,
    simple::{
        ArmSettings, Case, ConvexTarget, Grouped, LowRank, Observation, Rounded, RunSettings, SolvedCase, Sparse,
        segments,
    },
    statistics::{Estimate, fit},
};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    sparse: Sparse,
    grouped: Grouped,
    low_rank: LowRank,
    pub(super) arms: ArmSettings,
    /// Shares of the sigma^2 from which on the target is 0.
    shrinkages: Vec<f64>,
    pub(super) bars: Bars,
}

/// What exponents are compared with.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bars {
    /// Least of the step size.
    step_size: f64,
    /// Least of the number of steps.
    steps: f64,
}

/// One combination of step size and sigma.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Point {
    step_size: f64,
    sigma: f64,
    /// The mean over the runs of their averages, all for the same step size x steps.
    end: Rounded,
    /// (steps, the same so far) at the start, and at the end, its half, its quarter and so on, of the smallest step size.
    way: Vec<(f64, Rounded)>,
    /// (steps, distance so far), to be drawn.
    #[serde(default)]
    curve: Vec<(f64, f64)>,
}

/// What was measured of a model: with the convex problem of each point, all that its claims need.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Measurements {
    model: String,
    points: Vec<Point>,
}

/// What a model's points are compared with.
pub(super) struct Targets {
    pub(super) loss: LeastSquares,
    /// One a point.
    pub(super) targets: Vec<ConvexTarget>,
}

/// Exponents of one model: distance ~ step size^a sigma^b at the end, ~ steps^-c on the way.
struct Rates<'a> {
    measured: &'a Measurements,
    /// At the end of each point.
    distances: Vec<f64>,
    step_size: Option<Estimate>,
    sigma: Option<Estimate>,
    steps: Option<Estimate>,
}

pub(super) fn run(
    definition: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = definition.settings(choices)?;
    settings.arms.check(&definition.name)?;
    settings.sparse.check(&definition.name, &[0.0])?;
    settings.grouped.check(&definition.name)?;
    settings.low_rank.check(&definition.name)?;
    let mut measured = Vec::new();
    let mut targets = Vec::new();
    for (index, case) in declared(&settings).into_iter().enumerate() {
        let label = case.label.clone();
        let solved = SolvedCase::new(case, &settings.arms)?;
        let progress = &mut around.progress;
        let found = self::targets(&solved, &settings, 1.0)?;
        let mut report = |done: f64| progress((index as f64 + done) / 3.0, &label);
        measured.push(measure(around.gpu, &solved, &found, &settings, &mut report)?);
        targets.push(found);
    }
    let rates: Vec<Rates<'_>> =
        measured.iter().zip(&targets).map(|(measured, targets)| rates(measured, targets)).collect();
    let mut outcome = Outcome { settings: json!(settings), metrics: json!(measured), ..Outcome::default() };
    outcome.claims =
        measured.iter().zip(&targets).flat_map(|(measured, targets)| judge(measured, targets, settings.bars)).collect();
    outcome.tables = vec![table(&rates)];
    outcome.figures = vec![("convergence".to_owned(), figure(definition, &rates))];
    Ok(outcome)
}

/// A problem of each model.
pub(super) fn declared(settings: &Settings) -> Vec<Case> {
    let seed = settings.arms.seed;
    let models = [
        ("diagonal", settings.sparse.problem(0.0, seed)),
        ("group", settings.grouped.problem(seed)),
        ("two-layer", settings.low_rank.problem(Observation::Full, seed)),
    ];
    models.into_iter().map(|(label, (model, problem))| Case { label: label.to_owned(), model, problem }).collect()
}

/// Where runs are made.
struct GridPoint {
    sigma: f64,
    /// In the case's units.
    step_size: f64,
}

fn grid(solved: &SolvedCase, settings: &Settings) -> Vec<GridPoint> {
    let sigma = |shrinkage: &f64| shrinkage.sqrt() * solved.units.largest_sigma;
    let row = |shrinkage| {
        let sizes = settings.arms.step_sizes.iter();
        sizes.map(move |size| GridPoint { sigma: sigma(shrinkage), step_size: *size })
    };
    settings.shrinkages.iter().flat_map(row).collect()
}

/// The convex problem of every point, with this multiple of the penalty: 1.
pub(super) fn targets(solved: &SolvedCase, settings: &Settings, factor: f64) -> Result<Targets, ExperimentError> {
    let penalty = |sigma: f64| solved.case.model.penalty(&solved.loss, factor * sigma * sigma);
    let target = |point: GridPoint| ConvexTarget::new(penalty(point.sigma), &solved.loss);
    let targets = grid(solved, settings).into_iter().map(target).collect::<Result<_, _>>()?;
    Ok(Targets { loss: solved.loss.clone(), targets })
}

fn measure(
    gpu: &crate::gpu::Gpu,
    solved: &SolvedCase,
    Targets { loss, targets }: &Targets,
    settings: &Settings,
    progress: &mut dyn FnMut(f64) -> Result<(), ExperimentError>,
) -> Result<Measurements, ExperimentError> {
    let arms = &settings.arms;
    let grid = grid(solved, settings);
    let run = |&GridPoint { sigma, step_size }: &GridPoint| {
        let run = RunSettings { mode: Mode::Model, sigma, step_size: step_size * solved.units.step, decay: 0.0 };
        std::iter::repeat_n(run, arms.seeds)
    };
    let runs: Vec<_> = grid.iter().flat_map(run).collect();
    let means = segments(gpu, &solved.case, &runs, arms, solved.units, FINE_PARTS, progress)?;
    let smallest = arms.step_sizes.iter().copied().fold(f64::INFINITY, f64::min);
    let mut points = Vec::with_capacity(grid.len());
    for (index, (GridPoint { sigma, step_size }, target)) in grid.into_iter().zip(targets).enumerate() {
        let used = (means.len() as f64 * smallest / step_size).round().max(1.0) as usize;
        let at = |end: usize| average(&means[end / 2..end], index * arms.seeds, arms.seeds);
        let round = |end: usize| Rounded::new(&at(end), &target.solution);
        let steps = |end: usize| end as f64 * arms.steps as f64 / means.len() as f64;
        let ends = ends(used);
        let curve = ends.iter().map(|end| (steps(*end), target.distance(loss, &at(*end)).theta)).collect();
        let kept = ends.iter().enumerate().filter(|(at, end)| *at == 0 || is_halving(steps(used), steps(**end)));
        let way = kept.filter(|_| step_size == smallest).map(|(_, end)| (steps(*end), round(*end))).collect();
        points.push(Point { step_size, sigma, end: round(used), way, curve });
    }
    Ok(Measurements { model: solved.case.label.clone(), points })
}

/// Parts of a run: fine enough for what is over soon.
const FINE_PARTS: u64 = 1024;

/// Ends of windows, four for each doubling, the last being `used`.
fn ends(used: usize) -> Vec<usize> {
    let mut ends: Vec<usize> =
        (0..64).map(|k| (used as f64 * (-f64::from(k) / 4.0).exp2()).round() as usize).filter(|end| *end > 0).collect();
    ends.reverse();
    ends.dedup();
    ends
}

/// The mean over the runs, which shows the bias below the runs' own noise.
fn average(window: &[Vec<DVector<f64>>], first: usize, seeds: usize) -> DVector<f64> {
    let count = (window.len() * seeds) as f64;
    window.iter().flat_map(|part| &part[first..first + seeds]).sum::<DVector<f64>>() / count
}

fn rates<'a>(measured: &'a Measurements, Targets { loss, targets }: &Targets) -> Rates<'a> {
    let points = &measured.points;
    let distance =
        |target: &ConvexTarget, theta: &Rounded| target.distance(loss, &theta.theta(target.solution.len())).theta;
    let distances: Vec<f64> = points.iter().zip(targets).map(|(point, target)| distance(target, &point.end)).collect();
    let rows: Vec<_> = points.iter().map(|point| vec![1.0, point.step_size.ln(), point.sigma.ln()]).collect();
    let ends = fit(&rows, &distances.iter().map(|distance| distance.ln()).collect::<Vec<_>>());
    // On the way: the smallest step size, one intercept a sigma.
    let finest: Vec<(&Point, &ConvexTarget)> =
        points.iter().zip(targets).filter(|(point, _)| !point.way.is_empty()).collect();
    let (mut rows, mut logarithms) = (Vec::new(), Vec::new());
    for (index, (point, target)) in finest.iter().enumerate() {
        let way: Vec<_> = point.way.iter().map(|(steps, theta)| (*steps, distance(target, theta))).collect();
        for (steps, distance) in on_the_way(&way) {
            let mut row = vec![0.0; finest.len() + 1];
            row[index] = 1.0;
            row[finest.len()] = -steps.ln();
            rows.push(row);
            logarithms.push(distance.ln());
        }
    }
    let steps = fit(&rows, &logarithms).and_then(|estimates| estimates.last().copied());
    let exponent = |column: usize| ends.as_ref().and_then(|ends| ends.get(column).copied());
    let (step_size, sigma) = (exponent(1), exponent(2));
    Rates { measured, distances, step_size, sigma, steps }
}

/// Whether so many steps are the last, their half, their quarter and so on.
fn is_halving(last: f64, steps: f64) -> bool {
    let doublings = (last / steps).log2();
    (doublings - doublings.round()).abs() < 0.02
}

/// The half of the run, its quarter and so on, where it is at least twice as far from the solution as the end (nearer, what
/// is left is the bias of the step size) and at most half as far as the start (farther, nothing has happened yet).
fn on_the_way(way: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    let start = way.first().map_or(f64::NAN, |(_, distance)| *distance);
    let (last, end) = way.last().copied().unwrap_or((f64::NAN, f64::NAN));
    let kept =
        move |(steps, distance): &(f64, f64)| is_halving(last, *steps) && (2.0 * end..0.5 * start).contains(distance);
    way.iter().copied().filter(kept)
}

/// The claims of a model. A pure function: the device is not asked again.
pub(super) fn judge(measured: &Measurements, targets: &Targets, bars: Bars) -> Vec<Claim> {
    let rates = rates(measured, targets);
    let claim = |id: &str, statement: &str, estimate: Option<Estimate>, bar: f64| {
        let nothing =
            || Measured::nothing("too few points on the way, or at the end, have a finite distance for a slope");
        let measured = estimate.map_or_else(nothing, Measured::sampled);
        let statement = format!("{}: {statement}", rates.measured.model);
        Claim::new(format!("{}.{id}", rates.measured.model), statement, measured, Bar::AtLeast(bar)).essential()
    };
    vec![
        claim("step-size", "the distance falls with the step size: exponent", rates.step_size, bars.step_size),
        claim("steps", "the distance falls with the number of steps: exponent", rates.steps, bars.steps),
    ]
}

fn table(rates: &[Rates<'_>]) -> Table {
    let text = |estimate: Option<Estimate>| {
        estimate.map_or_else(
            || "-".to_owned(),
            |Estimate { value, interval: [low, high] }| format!("{} ({} to {})", short(value), short(low), short(high)),
        )
    };
    let row = |rates: &Rates<'_>| {
        vec![rates.measured.model.clone(), text(rates.step_size), text(rates.sigma), text(rates.steps)]
    };
    let headers = ["model", "a: step size", "b: sigma", "c: steps"];
    let title = "Distance ~ step size^a sigma^b at the end, ~ steps^-c on the way: 95 % intervals";
    Table::new(title, &headers, rates.iter().map(row).collect())
}

/// Where a point's line goes, given its distance.
type Places<'a> = &'a dyn Fn(&Point, f64) -> Vec<(f64, f64)>;

fn figure(definition: &Definition, rates: &[Rates<'_>]) -> Figure {
    let panel = |title: String, x_label: &str, series: Vec<Series>| Panel {
        title,
        x_label: x_label.to_owned(),
        y_label: "relative distance in theta".to_owned(),
        x_scale: AxisScale::Log,
        y_scale: AxisScale::Log,
        series,
        ..Panel::default()
    };
    let sigma_label = |rates: &Rates<'_>, sigma: f64| {
        let mut sigmas: Vec<f64> = rates.measured.points.iter().map(|point| point.sigma).collect();
        sigmas.sort_by(f64::total_cmp);
        sigmas.dedup();
        let rank = sigmas.iter().position(|other| *other == sigma).unwrap_or(0);
        ["smallest sigma", "middle sigma", "largest sigma"].get(rank).copied().unwrap_or("sigma").to_owned()
    };
    let smallest =
        |rates: &Rates<'_>| rates.measured.points.iter().map(|point| point.step_size).fold(f64::INFINITY, f64::min);
    let lines = |rates: &Rates<'_>, places: Places<'_>| -> Vec<Series> {
        let mut series: Vec<Series> = Vec::new();
        for (point, distance) in rates.measured.points.iter().zip(&rates.distances) {
            let label = sigma_label(rates, point.sigma);
            let line = Series::line(&label, places(point, *distance));
            match series.iter_mut().find(|known| known.label == label) {
                Some(known) => known.points.extend(line.points),
                None => series.push(line),
            }
        }
        series
    };
    let ends = |rates: &Rates<'_>| {
        let series = lines(rates, &|point, distance| vec![(point.step_size, distance)]);
        panel(format!("{}: at the end", rates.measured.model), "step size x curvature", series)
    };
    let ways = |rates: &Rates<'_>| {
        let smallest = smallest(rates);
        let curve = |point: &Point| if point.step_size == smallest { point.curve.clone() } else { Vec::new() };
        let series = lines(rates, &|point, _| curve(point));
        panel(format!("{}: on the way, smallest steps", rates.measured.model), "steps", series)
    };
    Figure {
        title: definition.title.clone(),
        caption: "Relative distance of the averaged iterates' mean over the runs from the convex solution, mode model. Above: \
                  over the step size, at the same step size x steps; below: over the steps at the smallest step size."
            .to_owned(),
        panels: rates.iter().map(ends).chain(rates.iter().map(ways)).collect(),
    }
}
