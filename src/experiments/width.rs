//! Variance under noise over the width of networks, and what it does to training.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    analysis::{BlockVariance, Subject, VarianceOptions, noise_variance},
    data::{DataSource, Dataset},
    gpu::{Gpu, WORD_BYTES},
    graph::{Param, ParamRole},
    kernels::{Activation, Arena, Perturb},
    nn::Model,
    noise::{Distribution, Grouping, Mode, NoiseConfig, Scheme},
    ops::Loss,
    schedule::Moment,
    train::DeviceData,
};

use super::{
    Choices, Definition, ExperimentError, Measured, Outcome, Surroundings,
    simple::NOISY,
    statistics::{jackknife, mean},
    width_claims::{expectations, judge},
    width_figures as figures, width_training as training,
};

/// A family of networks over widths.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Net {
    /// For claims and figures.
    pub(super) label: String,
    /// Hidden layers.
    pub(super) hidden: usize,
    /// Between the layers.
    pub(super) activation: String,
    /// Widths of the hidden layers, in order.
    #[serde(default)]
    pub(super) widths: Vec<usize>,
}

impl Net {
    /// The model at a width.
    ///
    /// # Errors
    /// Those of the model.
    pub(super) fn model(&self, data: &Dataset, width: usize) -> Result<Model, ExperimentError> {
        let activation: Activation = self.activation.parse().map_err(|reason| ExperimentError::Settings {
            experiment: "width".to_owned(),
            reason: format!("activation of {}: {reason}", self.label),
        })?;
        let hidden = std::iter::repeat_n(width, self.hidden);
        let widths: Vec<usize> = [data.features()].into_iter().chain(hidden).chain([data.classes]).collect();
        Ok(Model::mlp(&widths, activation).map_err(crate::train::TrainError::from)?)
    }
}

/// What slopes are compared with.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bars {
    /// Least slope of what explodes.
    pub(super) explodes: f64,
    /// How far from 0 the slope of what stays may be.
    pub(super) stays: f64,
    /// Slopes of what stays are over the widths from this on: narrower networks have not settled.
    pub(super) settled: usize,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// Standard deviation of the noise.
    sigma: f64,
    /// Samples whose outputs are watched.
    samples: usize,
    /// Pairs of draws of a block.
    draws: usize,
    /// Blocks, each with weights and draws of its own.
    blocks: usize,
    /// Of data, weights and noise.
    seed: u64,
    nets: Vec<Net>,
    pub(super) training: training::Settings,
    pub(super) bars: Bars,
}

/// What was measured at one width in one mode.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Point {
    pub(super) width: usize,
    pub(super) mode: Mode,
    pub(super) blocks: Vec<BlockVariance>,
}

/// A family's measurements.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Family {
    pub(super) label: String,
    pub(super) points: Vec<Point>,
}

/// What was measured: all that the claims need.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Measurements {
    pub(super) variances: Vec<Family>,
    pub(super) training: Vec<training::Trained>,
}

/// A variance that is watched.
pub(super) type Quantity = fn(&BlockVariance) -> f64;

impl Family {
    /// The blocks of a mode, per width.
    pub(super) fn in_mode(&self, mode: Mode) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |point| point.mode == mode)
    }

    /// The log-log slope over the widths from `from` on, by jackknife over blocks.
    pub(super) fn slope(&self, mode: Mode, quantity: Quantity, from: usize) -> Measured {
        let points: Vec<&Point> = self.in_mode(mode).filter(|point| point.width >= from).collect();
        if points.len() < 2 {
            return Measured::nothing(format!("{} widths have no slope", points.len()));
        }
        let blocks = points.iter().map(|point| point.blocks.len()).min().unwrap_or(0);
        Measured::sampled(jackknife(blocks, |keep| {
            let place = |point: &&Point| {
                let kept = point.blocks.iter().take(blocks).enumerate().filter(|(block, _)| keep(*block));
                let values: Vec<f64> = kept.map(|(_, block)| quantity(block)).collect();
                ((point.width as f64).ln(), mean(&values).value.ln())
            };
            line_slope(&points.iter().map(place).collect::<Vec<_>>())
        }))
    }

    /// Whether a part of a variance is within rounding of 0 at every width.
    pub(super) fn is_rounding(&self, mode: Mode, part: Quantity, whole: Quantity) -> bool {
        let mut blocks = self.in_mode(mode).flat_map(|point| &point.blocks);
        blocks.all(|block| part(block) <= ROUNDING * whole(block))
    }

    /// The narrowest width of the widest decade.
    pub(super) fn decade(&self) -> usize {
        self.points.iter().map(|point| point.width).max().unwrap_or(0).div_ceil(10)
    }
}

/// Of f32, squared, with room for sums.
const ROUNDING: f64 = 1e-9;

fn line_slope(places: &[(f64, f64)]) -> f64 {
    let n = places.len() as f64;
    let (mx, my) = places.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let covariance: f64 = places.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
    covariance / places.iter().map(|(x, _)| (x - mx).powi(2)).sum::<f64>()
}

/// Share of the work that the variances are, for the progress bar.
const VARIANCE_SHARE: f64 = 0.7;

pub(super) fn run(
    definition: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = definition.settings(choices)?;
    let checks = [
        (settings.draws < 2 || settings.blocks < 2, "draws and blocks have to be at least 2"),
        (!(settings.sigma.is_finite() && settings.sigma >= 0.0), "sigma has to be 0 or more"),
    ];
    ExperimentError::unless_right(&definition.name, &checks)?;
    let data = DataSource::Digits.load()?.train.subset(settings.samples, settings.seed)?;
    let mut outcome = Outcome { settings: json!(settings), ..Outcome::default() };
    let mut families = Vec::new();
    let total: usize = settings.nets.iter().flat_map(|net| &net.widths).sum::<usize>().max(1);
    let mut done = 0;
    for net in &settings.nets {
        let mut family = Family { label: net.label.clone(), points: Vec::new() };
        let mut why = "the widest declared for this size";
        for width in &net.widths {
            if let Some(note) = too_large(around.gpu, net, &data, *width)? {
                outcome.notes.push(note);
                why = "the adapter's limit";
                break;
            }
            (around.progress)(VARIANCE_SHARE * done as f64 / total as f64, &format!("{} {width}", net.label));
            family.points.extend(measure(around.gpu, net, &data, *width, &settings)?);
            done += width;
        }
        if let Some(widest) = family.points.iter().map(|point| point.width).max() {
            outcome.notes.push(format!("{}: measured up to width {widest}, {why}.", net.label));
        }
        families.push(family);
    }
    let progress = &mut around.progress;
    let mut report = |done: f64| progress(VARIANCE_SHARE + (1.0 - VARIANCE_SHARE) * done, "training");
    let trained = training::run(around.gpu, &settings.training, &mut report)?;
    let measured = Measurements { variances: families, training: trained };
    outcome.claims = judge(&measured, &expectations(&settings.bars), &settings.training);
    let Measurements { variances: families, training: trained } = &measured;
    outcome.tables = families.iter().map(figures::table).chain([training::table(trained)]).collect();
    outcome.figures = vec![
        ("width".to_owned(), figures::variances(definition, families, settings.sigma)),
        ("training".to_owned(), training::figure(trained, &settings.training)),
    ];
    outcome.metrics = json!(measured);
    Ok(outcome)
}

/// Why a width cannot be measured here.
fn too_large(gpu: &Gpu, net: &Net, data: &Dataset, width: usize) -> Result<Option<String>, ExperimentError> {
    let bytes = net.model(data, width)?.graph.layout().words() as u64 * WORD_BYTES;
    let limit = gpu.limits().binding_bytes;
    Ok((bytes > limit).then(|| {
        format!(
            "{}: width {width} is refused: its gradient takes {bytes} bytes, and {} binds at most {limit} at once.",
            net.label,
            gpu.adapter_name()
        )
    }))
}

/// Weights N(0, 1/m), those of hidden layers with ReLU N(0, 2/m), m the width; biases 0.
pub(super) fn initialise(
    gpu: &Gpu,
    model: &Model,
    arena: &Arena,
    width: usize,
    seed: u64,
) -> Result<(), ExperimentError> {
    let layout = &arena.layout;
    let scaled = arena.with_noise_scales(gpu, &standard_deviations(model, width))?;
    let unit = NoiseConfig { mode: Mode::Model, sigma: 1.0, ..NoiseConfig::default() };
    // Another seed than the noise's, or the first step's noise would be the weights once more.
    let draw = Scheme::new(unit, layout, &model.noise_tensors(), !seed).at(0, Moment::START);
    let mut recorder = gpu.record();
    recorder.clear(&arena.weights.view());
    let perturb = Perturb::new(gpu, &scaled, Distribution::Gaussian.code(), false)?;
    perturb.record(gpu, &mut recorder, &draw.ranges, draw.values)?;
    recorder.copy(&arena.weights_eff.view(), &arena.weights.view());
    Ok(recorder.submit()?)
}

/// Of the initial weights of each tensor. Hidden layers are those between the first and the last, whatever their shapes:
/// where the data have as many features as the network is wide, the first layer has the shape of a hidden one.
fn standard_deviations(model: &Model, width: usize) -> Vec<f32> {
    let params = model.graph.params();
    let is_weight = |param: &Param| param.role == ParamRole::Weight;
    let (first, last) = (params.iter().position(is_weight), params.iter().rposition(is_weight));
    let relu = !model.description.ends_with(":identity");
    let deviation = |(at, param): (usize, &Param)| match param.role {
        ParamRole::Bias | ParamRole::Scale => 0.0,
        ParamRole::Weight if relu && Some(at) > first && Some(at) < last => (2.0 / width as f32).sqrt(),
        ParamRole::Weight => (1.0 / width as f32).sqrt(),
    };
    params.iter().enumerate().map(deviation).collect()
}

fn measure(
    gpu: &Gpu,
    net: &Net,
    data: &Dataset,
    width: usize,
    settings: &Settings,
) -> Result<Vec<Point>, ExperimentError> {
    let model = net.model(data, width)?;
    let samples = data.len();
    let device = DeviceData::new(gpu, data.clone(), samples, &[[0.0, 1.0]])?;
    // A block has weights of its own, or the interval would leave out what the weights' draw does.
    let options = VarianceOptions { draws: settings.draws, blocks: 1 };
    let point = |mode: &Mode| {
        let noise =
            NoiseConfig { mode: *mode, sigma: settings.sigma, groups: Grouping::Weights, ..NoiseConfig::default() };
        let layout = model.graph.layout();
        let scheme = |seed| Scheme::new(noise.clone(), &layout, &model.noise_tensors(), seed);
        let arena = Arena::new(gpu, layout.clone(), &scheme(settings.seed).scales())?;
        let subject = Subject {
            model: &model,
            arena: &arena,
            loss: Loss::Mse.into(),
            label_smoothing: 0.0,
            data: device.views(),
            samples,
            capacity: device.capacity(),
            stage: &|first, valid| device.stage(gpu, first, valid),
        };
        let mut blocks = Vec::with_capacity(settings.blocks);
        for block in 0..settings.blocks as u64 {
            initialise(gpu, &model, &arena, width, settings.seed + block)?;
            blocks.extend(noise_variance(gpu, &subject, &scheme(settings.seed + block), options)?);
        }
        Ok(Point { width, mode: *mode, blocks })
    };
    NOISY.iter().map(point).collect()
}

/// What is watched, and which part of it has to explode.
pub(super) const TOTALS: [(&str, Quantity); 3] =
    [("output", |block| block.output), ("loss", |block| block.loss), ("gradient", |block| block.gradient)];
pub(super) const SECOND_ORDER: [(&str, Quantity); 2] =
    [("output", |block| block.output_second), ("loss", |block| block.loss_second)];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Digits have 64 features, so that at width 64 the first layer's shape is that of a hidden one.
    #[test]
    fn the_first_layer_is_no_hidden_one_at_any_width() {
        for (sizes, width) in [([64, 64, 64, 10], 64.0_f32), ([64, 32, 32, 10], 32.0)] {
            let relu = Model::mlp(&sizes, Activation::Relu).unwrap();
            let plain = 1.0 / width.sqrt();
            let expected = [plain, 0.0, (2.0 / width).sqrt(), 0.0, plain, 0.0];
            assert_eq!(standard_deviations(&relu, sizes[1]), expected);
            let linear = Model::mlp(&sizes, Activation::Identity).unwrap();
            assert_eq!(standard_deviations(&linear, sizes[1]), [plain, 0.0, plain, 0.0, plain, 0.0]);
        }
    }
}
