//! What the experiments on the three simple models share: problems, their runs, and what is measured of them.

use std::path::{Path, PathBuf};

use nalgebra::DVector;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{gpu::Gpu, noise::Mode};

use super::{
    ExperimentError, Outcome, penalty_claims,
    simple::{
        ArmIterates, ArmSettings, Case, Distance, FileKind, NOISY, Rounded, SolvedCase, Steps, ThetaLayout, read,
    },
};

/// What distances are compared with.
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

/// Where to run, and who hears of the progress.
pub struct Surroundings<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// One's own problem.
    pub problem: Option<PathBuf>,
    /// Folder of a trained network.
    pub run: Option<PathBuf>,
    /// Folder for files beside the report's.
    pub out: PathBuf,
    /// Hears the share that is done, and of what.
    pub progress: &'a mut dyn FnMut(f64, &str),
}

/// What was measured of a case: with its convex problems, all that its claims need.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct CaseMeasurements {
    pub(super) case: String,
    pub(super) arms: Vec<ArmMeasurements>,
}

/// Runs of one mode and one course of step sizes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct ArmMeasurements {
    pub(super) mode: Mode,
    pub(super) steps: Steps,
    /// Each run's averaged iterate at the end.
    pub(super) ends: Vec<Rounded>,
    /// Their mean over the runs after half of the steps.
    pub(super) halfway: Rounded,
    /// (steps, mean distance over the runs), to be drawn.
    #[serde(default)]
    pub(super) curve: Vec<(f64, f64)>,
}

impl ArmMeasurements {
    fn new(arm: &ArmIterates, solved: &SolvedCase) -> Self {
        let expected = solved.target(arm.mode).map_or_else(|| arm.theta(), |target| target.solution.clone());
        let round = |theta: &DVector<f64>| Rounded::new(theta, &expected);
        Self {
            mode: arm.mode,
            steps: arm.steps,
            ends: arm.ends.iter().map(round).collect(),
            halfway: round(&arm.halfway),
            curve: arm.curve.clone(),
        }
    }

    /// How far each run ended from its mode's target.
    pub(super) fn distances(&self, solved: &SolvedCase) -> Vec<Distance> {
        let coefficients = solved.case.model.coefficients();
        self.ends.iter().map(|end| solved.distance(self.mode, &end.theta(coefficients))).collect()
    }

    /// The mean over the runs.
    pub(super) fn theta(&self, coefficients: usize) -> DVector<f64> {
        self.ends.iter().map(|end| end.theta(coefficients)).sum::<DVector<f64>>() / self.ends.len() as f64
    }
}

impl CaseMeasurements {
    pub(super) fn arm(&self, mode: Mode, steps: impl Fn(Steps) -> bool) -> impl Iterator<Item = &ArmMeasurements> {
        self.arms.iter().filter(move |arm| arm.mode == mode && steps(arm.steps))
    }

    /// The arms of a mode with constant steps, largest first.
    pub(super) fn constant(&self, mode: Mode) -> Vec<(f64, &ArmMeasurements)> {
        let size = |arm| match arm {
            Steps::Constant(size) => Some(size),
            Steps::Decaying(_) => None,
        };
        let mut arms: Vec<_> = self.arm(mode, |_| true).filter_map(|arm| Some((size(arm.steps)?, arm))).collect();
        arms.sort_by(|a, b| b.0.total_cmp(&a.0));
        arms
    }

    /// The arm that claims are about: the smallest constant step size.
    pub(super) fn finest(&self, mode: Mode) -> Option<&ArmMeasurements> {
        self.constant(mode).pop().map(|(_, arm)| arm)
    }
}

/// A case that has been run.
pub(super) struct CaseRun {
    pub(super) solved: SolvedCase,
    pub(super) measured: CaseMeasurements,
    /// A run of mode `model` at the smallest step size, averaged over each part, to be drawn.
    pub(super) course: Vec<DVector<f64>>,
}

/// The problems of an experiment: those declared, or the one of a file.
pub(super) fn cases(
    around: &Surroundings<'_>,
    kind: FileKind,
    declared: impl FnOnce() -> Vec<Case>,
) -> Result<Vec<(Case, ThetaLayout)>, ExperimentError> {
    let Some(path) = &around.problem else {
        return Ok(declared().into_iter().map(|case| (case.clone(), ThetaLayout::new(&case.model))).collect());
    };
    let file = read(path, kind)?;
    let label = path.file_stem().map_or_else(|| "file".to_owned(), |stem| stem.to_string_lossy().into_owned());
    Ok(vec![(Case { label, model: file.model, problem: file.problem }, file.layout)])
}

/// Runs every case; writes the coefficients of each.
pub(super) fn measure(
    around: &mut Surroundings<'_>,
    cases: Vec<(Case, ThetaLayout)>,
    settings: &ArmSettings,
    share: f64,
) -> Result<Vec<CaseRun>, ExperimentError> {
    let count = cases.len();
    let mut runs = Vec::with_capacity(count);
    for (index, (case, layout)) in cases.into_iter().enumerate() {
        let label = case.label.clone();
        let solved = SolvedCase::new(case, settings)?;
        let progress = &mut around.progress;
        let arms = solved
            .run(around.gpu, settings, &mut |done| progress(share * (index as f64 + done) / count as f64, &label))?;
        let stem = if count == 1 { "theta".to_owned() } else { format!("theta-{}", slug(&label)) };
        let finest = |mode| finest(&arms, mode);
        write(&around.out.join(format!("{stem}.safetensors")), &solved, &layout, finest)?;
        let measured = arms.iter().map(|arm| ArmMeasurements::new(arm, &solved)).collect();
        let course = finest(Mode::Model).map_or_else(Vec::new, |arm| arm.course.clone());
        runs.push(CaseRun { measured: CaseMeasurements { case: label, arms: measured }, solved, course });
    }
    Ok(runs)
}

fn finest(arms: &[ArmIterates], mode: Mode) -> Option<&ArmIterates> {
    let size = |arm: &&ArmIterates| match arm.steps {
        Steps::Constant(size) => size,
        Steps::Decaying(_) => f64::INFINITY,
    };
    arms.iter().filter(|arm| arm.mode == mode).min_by(|a, b| size(a).total_cmp(&size(b)))
}

fn slug(label: &str) -> String {
    label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// `theta` is the averaged iterate of mode `model`; `theta.MODE` of each mode, `solution.MODE` of the solver.
fn write<'a>(
    path: &Path,
    solved: &SolvedCase,
    layout: &ThetaLayout,
    finest: impl Fn(Mode) -> Option<&'a ArmIterates>,
) -> Result<(), ExperimentError> {
    let mut named = Vec::new();
    for mode in NOISY.into_iter().chain([Mode::None]) {
        let Some(arm) = finest(mode) else { continue };
        if mode == Mode::Model {
            named.push(("theta".to_owned(), arm.theta()));
        }
        named.push((format!("theta.{mode}"), arm.theta()));
        if let Some(target) = solved.target(mode).filter(|_| mode != Mode::None) {
            named.push((format!("solution.{mode}"), target.solution.clone()));
        }
    }
    layout.write(path, &named)
}

/// Claims, notes, tables and measurements of all cases.
pub(super) fn report(runs: &[CaseRun], bars: &Bars, settings: &ArmSettings) -> Outcome {
    let mut outcome = Outcome::default();
    for run in runs {
        outcome.claims.extend(penalty_claims::judge(&run.measured, &run.solved, bars, settings));
        outcome.notes.extend(penalty_claims::notes(&run.solved));
        outcome.tables.push(penalty_claims::table(run));
    }
    outcome.metrics = json!(
        runs.iter()
            .map(|run| json!({
                "case": run.measured.case, "units": run.solved.units, "arms": run.measured.arms,
            }))
            .collect::<Vec<_>>()
    );
    outcome
}
