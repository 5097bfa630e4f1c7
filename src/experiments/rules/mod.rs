//! The family of rules that perturb weights, side by side: scores, calibration, curvature and cost.

mod judge;
mod measure;
mod measurements;
mod settings;
mod tables;
#[cfg(test)]
mod tests;

use serde_json::json;

use super::{Choices, Definition, ExperimentError, Outcome, Surroundings, arm_figure};

use settings::Settings;

pub(super) fn run(
    definition: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = definition.settings(choices)?;
    settings.check(&definition.name)?;
    let (measured, arms) = measure::measure(&settings, around)?;
    let title = tables::title(&measured);
    Ok(Outcome {
        claims: judge::judge(&measured),
        notes: tables::notes(&measured),
        tables: vec![tables::ends(&measured), tables::differences(&measured), tables::costs(&measured)],
        figures: vec![("rules".to_owned(), arm_figure(&title, &arms))],
        settings: json!(settings),
        metrics: json!(measured),
    })
}
