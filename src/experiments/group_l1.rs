//! The group model against the group Lasso.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::report::Figure;

use super::{
    Choices, Definition, ExperimentError, Outcome, Surroundings, penalties,
    penalty_measurements::Bars,
    penalty_panels,
    simple::{ArmSettings, Case, FileKind, Grouped},
};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) problem: Grouped,
    pub(super) arms: ArmSettings,
    pub(super) bars: Bars,
}

pub(super) fn run(
    definition: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = definition.settings(choices)?;
    settings.arms.check(&definition.name)?;
    settings.problem.check(&definition.name)?;
    let cases = penalties::cases(around, FileKind::Grouped, || declared(&settings))?;
    let runs = penalties::measure(around, cases, &settings.arms, 1.0)?;
    let mut outcome = penalties::report(&runs, &settings.bars, &settings.arms);
    outcome.settings = json!(settings);
    let panels = runs.iter().flat_map(|run| {
        [penalty_panels::course_panel(run), penalty_panels::step_size_panel(run), penalty_panels::norms_panel(run)]
    });
    let caption = "Relative distance of the averaged iterate from the group Lasso of each mode (of mode model, for plain \
                   gradient descent); bands: from the nearest to the farthest run; step sizes compared at the same step size x steps. Last: \
                   the norm of every group, solver and averaged iterate of mode model.";
    let figure = Figure { title: definition.title.clone(), caption: caption.to_owned(), panels: panels.collect() };
    outcome.figures = vec![("group-l1".to_owned(), figure)];
    Ok(outcome)
}

/// The problem that the settings declare.
pub(super) fn declared(settings: &Settings) -> Vec<Case> {
    let (model, problem) = settings.problem.problem(settings.arms.seed);
    vec![Case { label: "orthonormal groups".to_owned(), model, problem }]
}
