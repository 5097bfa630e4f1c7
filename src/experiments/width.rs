//! Variance under noise over the width of networks, and what it does to training.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    analysis::{BlockVariance, Subject, VarianceOptions, noise_variance},
    data::{DataSource, Dataset},
    gpu::{Gpu, WORD_BYTES},
    graph::{Loss, ParamRole},
    kernels::{Activation, Arena, Perturb},
    nn::Model,
    noise::{Distribution, Grouping, Mode, NoiseConfig, Scheme},
    schedule::Moment,
    train::DeviceData,
};

use super::{
    Bar, Choices, Claim, Definition, ExperimentError, Outcome, Surroundings,
    simple::NOISY,
    statistics::{Estimate, jackknife, mean},
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

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Bars {
    /// Least slope of what explodes.
    explodes: f64,
    /// Largest slope of what stays.
    stays: f64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Standard deviation of the noise.
    sigma: f64,
    /// Samples whose outputs are watched.
    samples: usize,
    /// Pairs of draws of a block.
    draws: usize,
    /// Blocks of draws.
    blocks: usize,
    /// Of data, weights and noise.
    seed: u64,
    nets: Vec<Net>,
    training: training::Settings,
    bars: Bars,
}

/// What was measured at one width in one mode.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Point {
    pub(super) width: usize,
    pub(super) mode: Mode,
    pub(super) blocks: Vec<BlockVariance>,
}

/// A family's measurements.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Family {
    pub(super) label: String,
    pub(super) points: Vec<Point>,
}

/// A variance that is watched.
pub(super) type Quantity = fn(&BlockVariance) -> f64;

impl Family {
    /// The blocks of a mode, per width.
    pub(super) fn of(&self, mode: Mode) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |point| point.mode == mode)
    }

    /// The log-log slope over the widest decade, by jackknife over blocks.
    fn slope(&self, mode: Mode, quantity: Quantity) -> Estimate {
        let widest = self.of(mode).map(|point| point.width).max().unwrap_or(0);
        let decade: Vec<&Point> = self.of(mode).filter(|point| point.width * 10 >= widest).collect();
        let blocks = decade.first().map_or(0, |point| point.blocks.len());
        jackknife(blocks, |keep| {
            let places: Vec<(f64, f64)> = decade
                .iter()
                .map(|point| {
                    let kept = point.blocks.iter().enumerate().filter(|(block, _)| keep(*block));
                    let values: Vec<f64> = kept.map(|(_, of)| quantity(of)).collect();
                    ((point.width as f64).ln(), mean(&values).value.ln())
                })
                .collect();
            line_slope(&places)
        })
    }
}

fn line_slope(places: &[(f64, f64)]) -> f64 {
    let n = places.len() as f64;
    let (mx, my) = places.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let covariance: f64 = places.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
    covariance / places.iter().map(|(x, _)| (x - mx).powi(2)).sum::<f64>()
}

/// Share of the work that the variances are, for the progress bar.
const VARIANCE_SHARE: f64 = 0.7;

pub(super) fn run(
    of: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = of.settings(choices)?;
    let checks = [
        (settings.draws < 2 || settings.blocks < 2, "draws and blocks have to be at least 2"),
        (!(settings.sigma.is_finite() && settings.sigma >= 0.0), "sigma has to be 0 or more"),
    ];
    ExperimentError::unless_right(&of.name, &checks)?;
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
            outcome.claims.extend(claims(&family, &settings.bars));
        }
        families.push(family);
    }
    let progress = &mut around.progress;
    let mut told = |done: f64| progress(VARIANCE_SHARE + (1.0 - VARIANCE_SHARE) * done, "training");
    let trained = training::run(around.gpu, &settings.training, &mut told)?;
    outcome.claims.extend(training::claims(&trained, &settings.training));
    outcome.tables = families.iter().map(figures::table).chain([training::table(&trained)]).collect();
    outcome.figures = vec![
        ("width".to_owned(), figures::variances(of, &families, settings.sigma)),
        ("training".to_owned(), training::figure(&trained, &settings.training)),
    ];
    outcome.metrics = json!({ "variances": families, "training": trained });
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
    let relu = !model.description.ends_with(":identity");
    let scale = |param: &crate::graph::Param| match param.role {
        ParamRole::Bias | ParamRole::Scale => 0.0,
        ParamRole::Weight if relu && param.shape == [width, width] => (2.0 / width as f32).sqrt(),
        ParamRole::Weight => (1.0 / width as f32).sqrt(),
    };
    let scales: Vec<f32> = model.graph.params().iter().map(scale).collect();
    let scaled = arena.with_noise_scales(gpu, &scales)?;
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
    let options = VarianceOptions { draws: settings.draws, blocks: settings.blocks };
    let point = |mode: &Mode| {
        let noise =
            NoiseConfig { mode: *mode, sigma: settings.sigma, groups: Grouping::Weights, ..NoiseConfig::default() };
        let layout = model.graph.layout();
        let scheme = Scheme::new(noise, &layout, &model.noise_tensors(), settings.seed);
        let arena = Arena::new(gpu, layout, &scheme.scales())?;
        initialise(gpu, &model, &arena, width, settings.seed)?;
        let subject = Subject {
            model: &model,
            arena: &arena,
            loss: Loss::Mse,
            label_smoothing: 0.0,
            data: device.views(),
            samples,
            capacity: device.capacity(),
            stage: &|first, valid| device.stage(gpu, first, valid),
        };
        let blocks = noise_variance(gpu, &subject, &scheme, options)?;
        Ok(Point { width, mode: *mode, blocks })
    };
    NOISY.iter().map(point).collect()
}

/// What is watched, and which part of it has to explode.
pub(super) const TOTALS: [(&str, Quantity); 3] =
    [("output", |of| of.output), ("loss", |of| of.loss), ("gradient", |of| of.gradient)];
pub(super) const SECOND_ORDER: [(&str, Quantity); 2] =
    [("output", |of| of.output_second), ("loss", |of| of.loss_second)];

fn claims(family: &Family, bars: &Bars) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut claim = |mode: Mode, id: String, statement: &str, quantity: Quantity, bar: Bar| {
        let slope = family.slope(mode, quantity);
        let statement = format!("{}, {mode}: slope of {statement} over the width", family.label);
        claims.push(
            Claim::new(format!("{}.{mode}.{id}", family.label), statement, slope.value, bar)
                .with_interval(slope.interval),
        );
    };
    for mode in [Mode::Model, Mode::All] {
        for (name, quantity) in SECOND_ORDER {
            let statement = format!("the variance of the {name}'s second-order part");
            claim(mode, format!("{name}-second"), &statement, quantity, Bar::AtLeast(bars.explodes));
        }
        let [.., (_, gradient)] = TOTALS;
        claim(mode, "gradient".to_owned(), "the variance of the gradient", gradient, Bar::AtLeast(bars.explodes));
    }
    for (name, quantity) in TOTALS {
        claim(Mode::Layer, name.to_owned(), &format!("the variance of the {name}"), quantity, Bar::AtMost(bars.stays));
    }
    claims
}
