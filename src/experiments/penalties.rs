//! What the experiments on the three simple models share: problems, their runs, and the report of them.

use std::path::Path;

use serde_json::json;

use crate::noise::Mode;

use super::{
    ExperimentError, Outcome, Surroundings, penalty_claims,
    penalty_measurements::{ArmMeasurements, Bars, CaseMeasurements, CaseRun},
    simple::{ArmIterates, ArmSettings, Case, FileKind, NOISY, SolvedCase, Steps, ThetaLayout, read},
};

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
