//! The group model against the group Lasso.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::report::Figure;

use super::{
    Choices, Definition, ExperimentError, Outcome, Surroundings,
    penalties::{self, Bars},
    simple::{ArmSettings, Case, FileKind, Grouped},
};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    problem: Grouped,
    arms: ArmSettings,
    bars: Bars,
}

pub(super) fn run(
    of: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = of.settings(choices)?;
    settings.arms.check(&of.name)?;
    settings.problem.check(&of.name)?;
    let declared = || {
        let (model, problem) = settings.problem.problem(settings.arms.seed);
        vec![Case { label: "orthonormal groups".to_owned(), model, problem }]
    };
    let cases = penalties::cases(around, FileKind::Grouped, declared)?;
    let ran = penalties::run_cases(around, cases, &settings.arms, 1.0)?;
    let mut outcome = penalties::summarise(&ran, &settings.bars, &around.out)?;
    outcome.settings = json!(settings);
    let panels = ran
        .iter()
        .flat_map(|of| [penalties::course_panel(of), penalties::step_size_panel(of), penalties::norms_panel(of)]);
    let caption = "Relative distance of the averaged iterate from the group Lasso of each mode (of mode model, for plain \
                   gradient descent); bands: from the nearest to the farthest run; step sizes compared at the same step size x steps. Last: \
                   the norm of every group, solver and averaged iterate of mode model.";
    let figure = Figure { title: of.title.clone(), caption: caption.to_owned(), panels: panels.collect() };
    outcome.figures = vec![("group-l1".to_owned(), figure)];
    Ok(outcome)
}
