//! The two-layer linear model against nuclear-norm problems: a matrix seen whole, through random measurements, in part.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::report::Figure;

use super::{
    Choices, Definition, ExperimentError, Outcome, Surroundings, penalties,
    penalty_measurements::Bars,
    penalty_panels,
    simple::{ArmSettings, Case, FileKind, LowRank, Observation},
};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) problem: LowRank,
    pub(super) arms: ArmSettings,
    pub(super) bars: Bars,
}

const OBSERVATIONS: [(&str, Observation); 3] = [
    ("full observation", Observation::Full),
    ("sensing", Observation::Sensing),
    ("completion", Observation::Completion),
];

pub(super) fn run(
    definition: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = definition.settings(choices)?;
    settings.arms.check(&definition.name)?;
    settings.problem.check(&definition.name)?;
    let cases = penalties::cases(around, FileKind::LowRank, || declared(&settings))?;
    let runs = penalties::measure(around, cases, &settings.arms, 1.0)?;
    let mut outcome = penalties::report(&runs, &settings.bars, &settings.arms);
    outcome.settings = json!(settings);
    let rows = [penalty_panels::course_panel, penalty_panels::step_size_panel, penalty_panels::singular_values_panel];
    let panels = rows.into_iter().flat_map(|panel| runs.iter().map(panel));
    let caption = "Relative distance of the averaged iterate from the nuclear-norm problem of each mode (of mode model, for \
                   plain gradient descent); bands: from the nearest to the farthest run; step sizes compared at the same step size x steps. \
                   Below: singular values of a run of mode model over training, and the solver's.";
    let figure = Figure { title: definition.title.clone(), caption: caption.to_owned(), panels: panels.collect() };
    outcome.figures = vec![("nuclear".to_owned(), figure)];
    Ok(outcome)
}

/// The problems that the settings declare.
pub(super) fn declared(settings: &Settings) -> Vec<Case> {
    let case = |(label, observation): (&str, Observation)| {
        let (model, problem) = settings.problem.problem(observation, settings.arms.seed);
        Case { label: label.to_owned(), model, problem }
    };
    OBSERVATIONS.into_iter().map(case).collect()
}
