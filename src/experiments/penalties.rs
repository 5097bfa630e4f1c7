//! What the experiments on the three simple models share: claims, tables and panels of arms against convex problems.

use std::path::{Path, PathBuf};

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    gpu::Gpu,
    noise::Mode,
    report::{AxisScale, Panel, Series, SeriesPoint, Table},
};

use super::{
    Bar, Claim, ExperimentError, Outcome,
    convex::singular_values,
    outcome::short,
    simple::{Arm, ArmSettings, Case, Distance, FileKind, NOISY, Posed, SimpleModel, Steps, ThetaLayout, read},
    statistics::{Estimate, largest},
};

/// What distances are held against.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bars {
    /// Mode `model`.
    pub(super) model: Distance,
    /// The other noisy modes.
    pub(super) others: Distance,
    /// How many times further away plain gradient descent is.
    pub(super) plain: f64,
}

/// Where to run, and whom to tell.
pub struct Surroundings<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// One's own problem.
    pub problem: Option<PathBuf>,
    /// Folder of a trained network.
    pub run: Option<PathBuf>,
    /// Folder for files beside the report's.
    pub out: PathBuf,
    /// Told the share that is done, and of what.
    pub progress: &'a mut dyn FnMut(f64, &str),
}

/// A case that has been run.
pub(super) struct Ran {
    pub(super) posed: Posed,
    pub(super) arms: Vec<Arm>,
    layout: ThetaLayout,
}

impl Ran {
    pub(super) fn arm(&self, mode: Mode, steps: impl Fn(Steps) -> bool) -> impl Iterator<Item = &Arm> {
        self.arms.iter().filter(move |arm| arm.mode == mode && steps(arm.steps))
    }

    /// The arms of a mode with constant steps, largest first.
    fn constant(&self, mode: Mode) -> Vec<(f64, &Arm)> {
        let size = |arm| match arm {
            Steps::Constant(size) => Some(size),
            Steps::Decaying(_) => None,
        };
        let mut arms: Vec<_> = self.arm(mode, |_| true).filter_map(|arm| Some((size(arm.steps)?, arm))).collect();
        arms.sort_by(|a, b| b.0.total_cmp(&a.0));
        arms
    }

    /// The arm that claims are about: the smallest constant step size.
    pub(super) fn finest(&self, mode: Mode) -> Option<&Arm> {
        self.constant(mode).pop().map(|(_, arm)| arm)
    }
}

/// The problems of an experiment: those declared, or the one of a file.
pub(super) fn cases(
    around: &Surroundings<'_>,
    kind: FileKind,
    declared: impl FnOnce() -> Vec<Case>,
) -> Result<Vec<(Case, ThetaLayout)>, ExperimentError> {
    let Some(path) = &around.problem else {
        return Ok(declared().into_iter().map(|case| (case.clone(), ThetaLayout::of(&case.model))).collect());
    };
    let file = read(path, kind)?;
    let label = path.file_stem().map_or_else(|| "file".to_owned(), |stem| stem.to_string_lossy().into_owned());
    Ok(vec![(Case { label, model: file.model, problem: file.problem }, file.layout)])
}

/// Runs every case.
pub(super) fn run_cases(
    around: &mut Surroundings<'_>,
    cases: Vec<(Case, ThetaLayout)>,
    settings: &ArmSettings,
    share: f64,
) -> Result<Vec<Ran>, ExperimentError> {
    let count = cases.len() as f64;
    let mut ran = Vec::with_capacity(cases.len());
    for (index, (case, layout)) in cases.into_iter().enumerate() {
        let label = case.label.clone();
        let posed = Posed::new(case, settings)?;
        let progress = &mut around.progress;
        let arms =
            posed.run(around.gpu, settings, &mut |done| progress(share * (index as f64 + done) / count, &label))?;
        ran.push(Ran { posed, arms, layout });
    }
    Ok(ran)
}

/// Claims, tables and coefficients of all cases.
pub(super) fn summarise(ran: &[Ran], bars: &Bars, out: &Path) -> Result<Outcome, ExperimentError> {
    let mut outcome = Outcome::default();
    for of in ran {
        outcome.claims.extend(claims(of, bars));
        outcome.notes.extend(notes(of));
        outcome.tables.push(table(of));
        let stem = if ran.len() == 1 { "theta".to_owned() } else { format!("theta-{}", slug(&of.posed.case.label)) };
        of.layout.write(&out.join(format!("{stem}.safetensors")), &thetas(of))?;
    }
    outcome.metrics = json!(
        ran.iter()
            .map(|of| json!({ "case": of.posed.case.label, "units": of.posed.units, "arms": of.arms }))
            .collect::<Vec<_>>()
    );
    Ok(outcome)
}

fn slug(label: &str) -> String {
    label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// `theta` is the averaged iterate of mode `model`; `theta.MODE` of each mode, `solution.MODE` of the solver.
fn thetas(of: &Ran) -> Vec<(String, DVector<f64>)> {
    let mut named = Vec::new();
    for mode in NOISY.into_iter().chain([Mode::None]) {
        let Some(arm) = of.finest(mode) else { continue };
        if mode == Mode::Model {
            named.push(("theta".to_owned(), arm.theta.clone()));
        }
        named.push((format!("theta.{mode}"), arm.theta.clone()));
        if let Some(target) = of.posed.target(mode).filter(|_| mode != Mode::None) {
            named.push((format!("solution.{mode}"), target.solution.clone()));
        }
    }
    named
}

/// Why claims about the noise, and about its absence, do not apply.
fn caveats(posed: &Posed) -> [Option<&'static str>; 2] {
    let zero = posed.targets.first().is_some_and(|target| target.solution.norm() == 0.0);
    if posed.units.sigma <= 0.0 {
        return [Some("sigma is 0: nothing is added to the loss"); 2];
    }
    if zero {
        return [Some("at this sigma the solution is 0: there is no relative distance"); 2];
    }
    let (samples, coefficients) = posed.case.problem.x.shape();
    let sparse = !matches!(posed.case.model, SimpleModel::TwoLayer { .. });
    let determined = sparse && samples >= coefficients;
    [None, determined.then_some("no fewer samples than coefficients: least squares has one solution, and is not lost")]
}

fn claims(of: &Ran, bars: &Bars) -> Vec<Claim> {
    let label = &of.posed.case.label;
    let [noise, plain] = caveats(&of.posed);
    let far = of.finest(Mode::None).map_or(f64::NAN, |arm| arm.theta_distance().value);
    let mut claims = Vec::new();
    for mode in NOISY {
        let bar = if mode == Mode::Model { bars.model } else { bars.others };
        let Some(arm) = of.finest(mode) else { continue };
        let mut claim = |id: &str, statement: &str, measured: Estimate, bar: Bar, reason| {
            let claim = Claim::new(
                format!("{label}.{mode}.{id}"),
                format!("{label}, {mode}: {statement}"),
                measured.value,
                bar,
            );
            let interval = measured.interval.iter().all(|end| end.is_finite()).then_some(measured.interval);
            claims.push(Claim { interval, ..claim }.unless(reason));
        };
        let exact = |value: f64| Estimate { value, interval: [f64::NAN; 2] };
        let theta = arm.theta_distance();
        claim("theta", "relative distance in theta", theta, Bar::AtMost(bar.theta), noise);
        let objective = arm.objective_distance();
        claim("objective", "relative gap of the objective", objective, Bar::AtMost(bar.objective), noise);
        let ratio = exact(far / theta.value);
        claim("plain", "times that plain gradient descent is further away", ratio, Bar::AtLeast(bars.plain), plain);
        let distances: Vec<f64> = of.constant(mode).iter().map(|(_, arm)| arm.theta_distance().value).collect();
        let worst = largest(distances.windows(2).map(|pair| pair[1] / pair[0]));
        let shrinks = "largest ratio of the distances of a step size and the next larger";
        claim("step-size", shrinks, exact(worst), Bar::AtMost(1.0), noise);
        for arm in of.arm(mode, |steps| matches!(steps, Steps::Decaying(_))) {
            let theta = arm.theta_distance();
            claim("decaying", "relative distance in theta with decaying steps", theta, Bar::AtMost(bar.theta), noise);
        }
    }
    claims
}

fn notes(of: &Ran) -> Vec<String> {
    let Posed { case, units, targets, loss } = &of.posed;
    let (samples, coefficients) = case.problem.x.shape();
    let violation = targets.iter().map(|target| target.violation).fold(0.0, f64::max) / loss.linear.amax();
    let mut notes = vec![format!(
        "{}: {samples} samples, {coefficients} coefficients, sigma {} (the solution is 0 from {} on), step size 1 is {:.2e}; \
         the solver's optimality conditions hold within {violation:.1e} of the gradient at 0.",
        case.label,
        short(units.sigma),
        short(units.largest_sigma),
        units.step,
    )];
    notes.extend(norm_note(&of.posed));
    notes
}

/// Where the norm is not the plain one: what it is.
fn norm_note(posed: &Posed) -> Option<String> {
    let h = &posed.loss.hessian;
    let label = &posed.case.label;
    let uneven = |matrix: &nalgebra::DMatrix<f64>| {
        let mean = matrix.trace() / matrix.nrows() as f64;
        (matrix - nalgebra::DMatrix::identity(matrix.nrows(), matrix.nrows()) * mean).amax() / mean
    };
    match &posed.case.model {
        SimpleModel::Diagonal { .. } => None,
        SimpleModel::Group { groups } => {
            let of = |group: &std::ops::Range<usize>| {
                uneven(&h.view((group.start, group.start), (group.len(), group.len())).into_owned())
            };
            let worst = groups.iter().map(of).fold(0.0, f64::max);
            (worst > 1e-6).then(|| {
                format!(
                    "{label}: the groups are not orthonormal (H_gg differs from a multiple of I by up to {}). The claim that the \
                     penalty is the group Lasso's no longer applies; held against what the noise adds exactly, \
                     sigma^2 sum_g sqrt(tr H_gg) |H_gg^(1/2) theta_g|.",
                    short(worst)
                )
            })
        }
        SimpleModel::TwoLayer { rows, columns, width } => {
            let [q, p] = posed.case.model.two_layer_blocks(h)?;
            let worst = uneven(&q).max(uneven(&p));
            let narrow = *width < *rows.min(columns);
            (worst > 1e-6 || narrow).then(|| {
                let plain = posed.plain_nuclear_distance().map_or_else(String::new, |distance| {
                    format!(" The minimiser with the plain norm of the same mean weight is {} away from it.", short(distance))
                });
                format!(
                    "{label}: the measurements do not weigh all rows and columns alike (by up to {}). The plain nuclear norm no \
                     longer applies exactly; held against what the noise adds, sigma^2 |Q^(1/2) Theta P^(1/2)|_*.{plain}",
                    short(worst)
                )
            })
        }
    }
}

fn table(of: &Ran) -> Table {
    let row = |arm: &Arm| {
        let steps = match arm.steps {
            Steps::Constant(size) => format!("constant {size}"),
            Steps::Decaying(size) => format!("decaying from {size}"),
        };
        let percent = |of: Estimate| format!("{:.3}", 100.0 * of.value);
        vec![
            arm.mode.to_string(),
            steps,
            arm.last.len().to_string(),
            percent(arm.theta_distance()),
            percent(arm.objective_distance()),
        ]
    };
    let headers = ["mode", "step size", "runs", "theta: distance %", "objective: gap %"];
    let title = format!("Averaged iterates, {}", of.posed.case.label);
    Table::new(&title, &headers, of.arms.iter().map(row).collect())
}

/// Distance over the steps, at the smallest step size.
pub(super) fn course_panel(of: &Ran) -> Panel {
    let modes = NOISY.into_iter().chain([Mode::None]);
    let series = modes.filter_map(|mode| {
        let arm = of.finest(mode)?;
        Some(Series::line(mode.name(), arm.curve.iter().map(|(step, distance)| (*step, distance.theta))))
    });
    Panel {
        title: format!("{}: distance over training", of.posed.case.label),
        x_label: "steps".to_owned(),
        y_label: "relative distance in theta".to_owned(),
        x_scale: AxisScale::Log,
        y_scale: AxisScale::Log,
        series: series.collect(),
        ..Panel::default()
    }
}

/// Distance over the step size.
pub(super) fn step_size_panel(of: &Ran) -> Panel {
    let point = |(size, arm): &(f64, &Arm)| {
        let (low, high) =
            arm.last.iter().fold((f64::INFINITY, 0.0_f64), |(l, h), of| (l.min(of.theta), h.max(of.theta)));
        SeriesPoint { x: *size, y: arm.theta_distance().value, band: Some((low, high)) }
    };
    let series = NOISY.iter().map(|mode| Series::banded(mode.name(), of.constant(*mode).iter().map(point).collect()));
    Panel {
        title: format!("{}: distance over step size", of.posed.case.label),
        x_label: "step size x curvature".to_owned(),
        y_label: "relative distance in theta".to_owned(),
        x_scale: AxisScale::Log,
        y_scale: AxisScale::Log,
        series: series.collect(),
        ..Panel::default()
    }
}

/// Every group's norm, by the solver and by the runs.
pub(super) fn norms_panel(of: &Ran) -> Panel {
    let SimpleModel::Group { groups } = &of.posed.case.model else { return Panel::default() };
    let marks = |label: &str, theta: &DVector<f64>| {
        let norm = |group: &std::ops::Range<usize>| theta.rows(group.start, group.len()).norm();
        let points = groups.iter().enumerate().map(|(g, group)| (g as f64 + 1.0, norm(group)));
        Series { scatter: true, ..Series::line(label, points) }
    };
    let solution = of.posed.target(Mode::Model).map(|target| marks("group Lasso", &target.solution));
    let found = of.finest(Mode::Model).map(|arm| marks("averaged iterate", &arm.theta));
    Panel {
        title: format!("{}: norms of groups", of.posed.case.label),
        x_label: "group".to_owned(),
        y_label: "norm of its coefficients".to_owned(),
        series: solution.into_iter().chain(found).collect(),
        ..Panel::default()
    }
}

/// Singular values over the training of one run of mode `model`, and those of the solution.
pub(super) fn singular_values_panel(of: &Ran) -> Panel {
    let SimpleModel::TwoLayer { rows, columns, .. } = of.posed.case.model else { return Panel::default() };
    let values = |theta: &DVector<f64>| singular_values(&DMatrix::from_column_slice(rows, columns, theta.as_slice()));
    let Some(arm) = of.finest(Mode::Model) else { return Panel::default() };
    let steps: Vec<f64> = arm.curve.iter().map(|(step, _)| *step).collect();
    let course: Vec<Vec<f64>> = arm.course.iter().map(values).collect();
    let solution = of.posed.target(Mode::Model).map(|target| values(&target.solution)).unwrap_or_default();
    let mut series = Vec::new();
    for k in 0..rows.min(columns) {
        series.push(Series::line("noisy run", steps.iter().zip(&course).map(|(step, values)| (*step, values[k]))));
        if let (Some(value), Some(first), Some(last)) = (solution.get(k), steps.first(), steps.last()) {
            series.push(Series::line("solver", [(*first, *value), (*last, *value)]));
        }
    }
    Panel {
        title: format!("{}: singular values", of.posed.case.label),
        x_label: "steps".to_owned(),
        y_label: "singular value of Theta".to_owned(),
        x_scale: AxisScale::Log,
        series,
        ..Panel::default()
    }
}
