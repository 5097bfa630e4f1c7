//! Variance under noise of an attention's logits, output and loss over the width: packed queries and keys meet each other's noise.

mod claims;
mod figures;
mod layer;
mod measurements;
mod probe;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::gpu::Gpu;

use super::{Choices, Definition, ExperimentError, Outcome, Surroundings, width::refusal};

use claims::{Bars, expectations, judge};
use layer::Layer;
use measurements::{ARMS, Measurements, Point};
use probe::Probe;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Channels C, in order.
    widths: Vec<usize>,
    layer: Layer,
    /// Standard deviation of the noise, alone and in units of filter norms.
    sigma: f64,
    /// Norm of the noise on a filter in units of the filter's own: the standard deviation is this over sqrt(C), in filter norms.
    share: f64,
    /// How often a block takes each group's turn, at least 2: a group has a pair of draws at each.
    cycles: usize,
    /// Blocks, each with weights and draws of its own.
    blocks: usize,
    /// Of data, weights and noise.
    seed: u64,
    bars: Bars,
}

pub(super) fn run(
    definition: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = definition.settings(choices)?;
    check(&definition.name, &settings)?;
    let mut outcome = Outcome { settings: json!(settings), ..Outcome::default() };
    let mut measured = Measurements::default();
    // A width costs as many weights as it has.
    let cost = |width: &usize| (width * width) as f64;
    let total: f64 = settings.widths.iter().map(cost).sum();
    let mut done = 0.0;
    for width in &settings.widths {
        let largest = 3 * width * width;
        if let Some(note) = refusal(around.gpu, &format!("width {width}"), "packed weight", largest) {
            outcome.notes.push(note);
            break;
        }
        let share = cost(width) / total;
        let mut heard = |part: f64| (around.progress)(done + share * part, &format!("width {width}"));
        measured.points.extend(measure(around.gpu, &settings, *width, &mut heard)?);
        done += share;
    }
    outcome.claims = judge(&measured, &expectations(&settings.bars, settings.sigma));
    outcome.tables = figures::tables(&measured);
    outcome.figures =
        vec![("attention-width".to_owned(), figures::figure(definition, &measured, settings.sigma, settings.share))];
    outcome.metrics = json!(measured);
    Ok(outcome)
}

fn check(experiment: &str, settings: &Settings) -> Result<(), ExperimentError> {
    let Settings { widths, layer, sigma, share, cycles, blocks, .. } = settings;
    let is_sigma = |sigma: &f64| sigma.is_finite() && *sigma >= 0.0;
    let no_heads = |width: &usize| *width == 0 || layer.head_dim == 0 || !width.is_multiple_of(layer.head_dim);
    let checks = [
        (widths.iter().any(no_heads), "layer.head_dim has to divide each of widths"),
        (
            [layer.length, layer.samples, layer.vocabulary].contains(&0),
            "layer.length, layer.samples and layer.vocabulary have to be at least 1",
        ),
        (!is_sigma(sigma) || !is_sigma(share), "sigma and share have to be 0 or more"),
        (*cycles < 2 || *blocks < 2, "cycles and blocks have to be at least 2"),
    ];
    ExperimentError::unless_right(experiment, &checks)
}

/// Every arm at a width: the arms of a block have the same weights, and the same draws as far as their groups agree.
fn measure(
    gpu: &Gpu,
    settings: &Settings,
    width: usize,
    heard: &mut dyn FnMut(f64) -> Result<(), ExperimentError>,
) -> Result<Vec<Point>, ExperimentError> {
    heard(0.0)?;
    let data = settings.layer.data(width, settings.seed)?;
    let probe = Probe::new(gpu, &settings.layer, width, data)?;
    let mut points: Vec<Point> = ARMS.iter().map(|arm| Point { width, arm: *arm, blocks: Vec::new() }).collect();
    for block in 0..settings.blocks {
        let seed = settings.seed + block as u64;
        probe.start(seed)?;
        for point in &mut points {
            let config = point.arm.noise(width, settings.sigma, settings.share);
            point.blocks.push(probe.block(config, seed, settings.cycles)?);
        }
        heard((block + 1) as f64 / settings.blocks as f64)?;
    }
    Ok(points)
}
