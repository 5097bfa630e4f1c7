//! Variance under noise over the width of networks, and what it does to training.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    analysis::{Subject, VarianceOptions, noise_variance},
    data::{DataSource, Dataset},
    gpu::{Gpu, WORD_BYTES},
    kernels::Arena,
    noise::{Grouping, Mode, NoiseConfig, Scheme},
    ops::Loss,
    train::DeviceData,
};

use super::{
    Choices, Definition, ExperimentError, Outcome, Surroundings,
    simple::NOISY,
    width_claims::{expectations, judge},
    width_figures as figures,
    width_measurements::{Bars, Family, Measurements, Point},
    width_net::{Net, initialise},
    width_training as training,
};

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
            (around.progress)(VARIANCE_SHARE * done as f64 / total as f64, &format!("{} {width}", net.label))?;
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
    Ok(refusal(
        gpu,
        &format!("{}: width {width}", net.label),
        "gradient",
        net.model(data, width)?.graph.layout().words(),
    ))
}

/// Why `what` cannot be measured here, if a tensor or arena of so many words that it binds at once is too large.
pub(super) fn refusal(gpu: &Gpu, what: &str, bound: &str, words: usize) -> Option<String> {
    let (bytes, limit) = (words as u64 * WORD_BYTES, gpu.limits().binding_bytes);
    (bytes > limit).then(|| {
        let adapter = gpu.adapter_name();
        format!("{what} is refused: its {bound} takes {bytes} bytes, and {adapter} binds at most {limit} at once.")
    })
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
        let subject =
            Subject { model: &model, arena: &arena, loss: Loss::Mse.into(), label_smoothing: 0.0, data: &device };
        let mut blocks = Vec::with_capacity(settings.blocks);
        for block in 0..settings.blocks as u64 {
            initialise(gpu, &model, &arena, width, settings.seed + block)?;
            blocks.extend(noise_variance(gpu, &subject, &scheme(settings.seed + block), options)?);
        }
        Ok(Point { width, mode: *mode, blocks })
    };
    NOISY.iter().map(point).collect()
}
