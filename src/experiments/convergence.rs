//! How fast the averaged iterate of each simple model approaches its convex solution: an open question of the paper.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    noise::Mode,
    report::{AxisScale, Figure, Panel, Series, Table},
};

use super::{
    Bar, Choices, Claim, Definition, ExperimentError, Outcome, Surroundings,
    outcome::short,
    simple::{
        ArmSettings, Case, Grouped, LowRank, Observation, Posed, RunSettings, SimpleModel, Sparse, Target, segments,
    },
    statistics::{Estimate, fit},
};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    sparse: Sparse,
    grouped: Grouped,
    low_rank: LowRank,
    arms: ArmSettings,
    /// Shares of the sigma^2 from which on the target is 0.
    shrinkages: Vec<f64>,
}

/// One combination of step size and sigma.
#[derive(Clone, Debug, Serialize)]
struct Point {
    step_size: f64,
    sigma: f64,
    /// Distance of the mean of the runs' averages at the same step size x steps.
    distance: f64,
    /// (steps, distance of the mean of the runs' averages over the last half so far).
    curve: Vec<(f64, f64)>,
}

/// Exponents of one model: distance ~ step size^a sigma^b at the end, ~ steps^-c on the way.
#[derive(Clone, Debug, Serialize)]
struct Rates {
    model: String,
    step_size: Option<Estimate>,
    sigma: Option<Estimate>,
    steps: Option<Estimate>,
    points: Vec<Point>,
}

pub(super) fn run(
    of: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = of.settings(choices)?;
    settings.arms.check(&of.name)?;
    settings.sparse.check(&of.name, &[0.0])?;
    settings.grouped.check(&of.name)?;
    settings.low_rank.check(&of.name)?;
    let seed = settings.arms.seed;
    let models = [
        ("diagonal", settings.sparse.problem(0.0, seed)),
        ("group", settings.grouped.problem(seed)),
        ("two-layer", settings.low_rank.problem(Observation::Full, seed)),
    ];
    let mut rates = Vec::new();
    for (index, (label, (model, problem))) in models.into_iter().enumerate() {
        let case = Case { label: label.to_owned(), model, problem };
        let posed = Posed::new(case, &settings.arms)?;
        let progress = &mut around.progress;
        let mut told = |done: f64| progress((index as f64 + done) / 3.0, label);
        rates.push(measure(around.gpu, &posed, &settings, &mut told)?);
    }
    let mut outcome = Outcome { settings: json!(settings), metrics: json!(rates), ..Outcome::default() };
    outcome.claims = rates.iter().flat_map(claims).collect();
    outcome.tables = vec![table(&rates)];
    outcome.figures = vec![("convergence".to_owned(), figure(of, &rates))];
    Ok(outcome)
}

fn measure(
    gpu: &crate::gpu::Gpu,
    posed: &Posed,
    settings: &Settings,
    progress: &mut dyn FnMut(f64),
) -> Result<Rates, ExperimentError> {
    let arms = &settings.arms;
    let sigma = |shrinkage: &f64| shrinkage.sqrt() * posed.units.largest_sigma;
    let grid = settings.shrinkages.iter().flat_map(|of| arms.step_sizes.iter().map(move |size| (sigma(of), *size)));
    let grid: Vec<(f64, f64)> = grid.collect();
    let run = |(sigma, size): &(f64, f64)| {
        let run = RunSettings { mode: Mode::Model, sigma: *sigma, step_size: size * posed.units.step, decay: 0.0 };
        std::iter::repeat_n(run, arms.seeds)
    };
    let runs: Vec<_> = grid.iter().flat_map(run).collect();
    let means = segments(gpu, &posed.case, &runs, arms, posed.units, FINE_PARTS, progress)?;
    let smallest = arms.step_sizes.iter().copied().fold(f64::INFINITY, f64::min);
    let mut points = Vec::with_capacity(grid.len());
    for (index, (sigma, step_size)) in grid.into_iter().enumerate() {
        let target = posed.case.model.target(&posed.loss, Mode::Model, sigma)?;
        let used = (means.len() as f64 * smallest / step_size).round().max(1.0) as usize;
        let at = |end: usize| distance(posed, &target, &means[end / 2..end], index * arms.seeds, arms.seeds);
        let steps = |end: usize| end as f64 * arms.steps as f64 / means.len() as f64;
        let curve = ends(used).into_iter().map(|end| (steps(end), at(end))).collect();
        points.push(Point { step_size, sigma, distance: at(used), curve });
    }
    Ok(rates(&posed.case, points, smallest))
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

/// Of the mean over the runs, which shows the bias below the runs' own noise.
fn distance(posed: &Posed, target: &Target, window: &[Vec<nalgebra::DVector<f64>>], first: usize, seeds: usize) -> f64 {
    let count = (window.len() * seeds) as f64;
    let sum = window.iter().flat_map(|part| &part[first..first + seeds]).sum::<nalgebra::DVector<f64>>();
    target.distance(&posed.loss, &(sum / count)).theta
}

fn rates(case: &Case, points: Vec<Point>, smallest: f64) -> Rates {
    let rows: Vec<_> = points.iter().map(|of| vec![1.0, of.step_size.ln(), of.sigma.ln()]).collect();
    let distances: Vec<f64> = points.iter().map(|of| of.distance.ln()).collect();
    let ends = fit(&rows, &distances);
    // On the way: the smallest step size, one intercept a sigma.
    let finest: Vec<&Point> = points.iter().filter(|of| of.step_size == smallest).collect();
    let (mut rows, mut distances) = (Vec::new(), Vec::new());
    for (index, point) in finest.iter().enumerate() {
        for (steps, distance) in on_the_way(&point.curve) {
            let mut row = vec![0.0; finest.len() + 1];
            row[index] = 1.0;
            row[finest.len()] = -steps.ln();
            rows.push(row);
            distances.push(distance.ln());
        }
    }
    let steps = fit(&rows, &distances).and_then(|of| of.last().copied());
    let of = |column: usize| ends.as_ref().and_then(|ends| ends.get(column).copied());
    let name = match case.model {
        SimpleModel::TwoLayer { .. } => "two-layer",
        SimpleModel::Group { .. } => "group",
        SimpleModel::Diagonal { .. } => "diagonal",
    };
    Rates { model: name.to_owned(), step_size: of(1), sigma: of(2), steps, points }
}

/// The half of the run, its quarter and so on, where it is at least twice as far from the solution as the end (nearer, what
/// is left is the bias of the step size) and at most half as far as the start (farther, nothing has happened yet).
fn on_the_way(curve: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    let start = curve.first().map_or(f64::NAN, |(_, distance)| *distance);
    let (last, end) = curve.last().copied().unwrap_or((f64::NAN, f64::NAN));
    let halving = move |steps: f64| {
        let doublings = (last / steps).log2();
        (doublings - doublings.round()).abs() < 0.02
    };
    curve
        .iter()
        .copied()
        .filter(move |(steps, distance)| halving(*steps) && (2.0 * end..0.5 * start).contains(distance))
}

fn claims(of: &Rates) -> Vec<Claim> {
    let claim = |id: &str, statement: &str, estimate: Option<Estimate>| {
        let low = estimate.map_or(f64::NAN, |of| of.interval[0]);
        let statement = format!("{}: {statement} (lower end of the interval)", of.model);
        let claim = Claim::new(format!("{}.{id}", of.model), statement, low, Bar::AtLeast(0.0));
        Claim { interval: estimate.map(|of| of.interval), ..claim }
    };
    vec![
        claim("step-size", "the distance falls with the step size: exponent", of.step_size),
        claim("steps", "the distance falls with the number of steps: exponent", of.steps),
    ]
}

fn table(rates: &[Rates]) -> Table {
    let text = |of: Option<Estimate>| {
        of.map_or_else(
            || "-".to_owned(),
            |Estimate { value, interval: [low, high] }| format!("{} ({} to {})", short(value), short(low), short(high)),
        )
    };
    let row = |of: &Rates| vec![of.model.clone(), text(of.step_size), text(of.sigma), text(of.steps)];
    let headers = ["model", "a: step size", "b: sigma", "c: steps"];
    let title = "Distance ~ step size^a sigma^b at the end, ~ steps^-c on the way: 95 % intervals";
    Table::new(title, &headers, rates.iter().map(row).collect())
}

fn figure(of: &Definition, rates: &[Rates]) -> Figure {
    let panel = |title: String, x_label: &str, series: Vec<Series>| Panel {
        title,
        x_label: x_label.to_owned(),
        y_label: "relative distance in theta".to_owned(),
        x_scale: AxisScale::Log,
        y_scale: AxisScale::Log,
        series,
        ..Panel::default()
    };
    let sigma_label = |rates: &Rates, sigma: f64| {
        let mut sigmas: Vec<f64> = rates.points.iter().map(|of| of.sigma).collect();
        sigmas.sort_by(f64::total_cmp);
        sigmas.dedup();
        let rank = sigmas.iter().position(|of| *of == sigma).unwrap_or(0);
        ["smallest sigma", "middle sigma", "largest sigma"].get(rank).copied().unwrap_or("sigma").to_owned()
    };
    let lines = |rates: &Rates, x: fn(&Point) -> Vec<(f64, f64)>, keep: fn(&Point, f64) -> bool| -> Vec<Series> {
        let smallest = rates.points.iter().map(|of| of.step_size).fold(f64::INFINITY, f64::min);
        let mut series: Vec<Series> = Vec::new();
        for point in rates.points.iter().filter(|of| keep(of, smallest)) {
            let label = sigma_label(rates, point.sigma);
            let line = Series::line(&label, x(point));
            match series.iter_mut().find(|of| of.label == label) {
                Some(of) => of.points.extend(line.points),
                None => series.push(line),
            }
        }
        series
    };
    let ends = |of: &Rates| {
        let series = lines(of, |point| vec![(point.step_size, point.distance)], |_, _| true);
        panel(format!("{}: at the end", of.model), "step size x curvature", series)
    };
    let ways = |of: &Rates| {
        let series = lines(of, |point| point.curve.clone(), |point, smallest| point.step_size == smallest);
        panel(format!("{}: on the way, smallest steps", of.model), "steps", series)
    };
    Figure {
        title: of.title.clone(),
        caption: "Relative distance of the averaged iterates' mean over the runs from the convex solution, mode model. Above: \
                  over the step size, at the same step size x steps; below: over the steps at the smallest step size."
            .to_owned(),
        panels: rates.iter().map(ends).chain(rates.iter().map(ways)).collect(),
    }
}
