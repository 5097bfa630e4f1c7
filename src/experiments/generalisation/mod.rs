//! Better generalisation under label noise and over the width: the paper's headline, where it is true.

mod figures;
mod judge;
mod measure;
mod measurements;
mod onset;
mod settings;
#[cfg(test)]
mod tests;

use serde_json::json;

use super::{Choices, Definition, ExperimentError, Outcome, Surroundings};

use settings::{Depth, Settings};

pub(super) use judge::{Expected, judge};
pub(super) use measurements::Measurements;

pub(super) fn run(
    definition: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = definition.settings(choices)?;
    check(definition, &settings)?;
    let measured = measure::measure(around.gpu, &settings, around.progress)?;
    Ok(report(&settings, &measured))
}

/// What was found. The device is not asked again.
fn report(settings: &Settings, measured: &Measurements) -> Outcome {
    let Measurements { levels, families, .. } = measured;
    let over_widths = figures::over_widths(families, &settings.train.data);
    let over_levels = figures::over_levels(levels, &settings.train.data);
    Outcome {
        claims: judge(measured, &Expected::default()),
        notes: figures::notes(measured),
        tables: figures::levels_tables(levels).into_iter().chain(families.iter().map(figures::widths_table)).collect(),
        figures: vec![("generalisation".to_owned(), over_widths), ("label-noise".to_owned(), over_levels)],
        settings: json!(settings),
        metrics: json!(measured),
    }
}

fn check(definition: &Definition, settings: &Settings) -> Result<(), ExperimentError> {
    let Settings { train, levels, widths } = settings;
    let share = |share: &f64| (0.0..1.0).contains(share);
    let sigma = |sigma: &f64| sigma.is_finite() && *sigma > 0.0;
    let depth = |depth: &Depth| sigma(&depth.sigma);
    let checks = [
        (!levels.label_noise.iter().all(share), "levels.label_noise has to be shares in [0, 1)"),
        (!share(&widths.label_noise), "widths.label_noise has to be in [0, 1)"),
        (
            levels.sigmas.is_empty() || !levels.sigmas.iter().all(sigma),
            "levels.sigmas have to be positive, at least one",
        ),
        (levels.validation == 0, "levels.validation has to be at least 1 image"),
        (levels.tuning_seeds == 0, "levels.tuning_seeds has to be at least 1"),
        (levels.seeds == 0 || widths.seeds == 0, "levels.seeds and widths.seeds have to be at least 1"),
        (levels.net.widths.is_empty(), "levels.net.widths has to name one"),
        (!widths.depths.iter().all(depth), "the sigma of each of widths.depths has to be positive"),
        (train.validation.is_some(), "train.validation is set by levels.validation"),
        (train.patience.is_some(), "train.patience would end runs at different steps"),
    ];
    ExperimentError::unless_right(&definition.name, &checks)?;
    Ok(train.check()?)
}
