//! The loss averaged over weight noise against sigma^2/2 times the trace of the Hessian, for a trained network.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    analysis::{Curvature, NoisyLoss, Subject, TraceEstimate, TraceOptions, hessian_trace},
    gpu::Gpu,
    kernels::Arena,
    nn,
    noise::{Mode, NoiseConfig, Scheme},
    report::{AxisScale, Figure, Panel, Series, SeriesPoint, Table},
    train::{Control, DeviceData, Prepared, RunConfig, Trainer, run as train},
};

use super::{
    Bar, Choices, Claim, Definition, ExperimentError, Measured, Outcome, Surroundings,
    kinks::kinks,
    numbers::short,
    simple::NOISY,
    statistics::{CONFIDENCE, Uncertain},
};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// Networks to train where none is given: keys of `jostle train`.
    networks: Vec<RunConfig>,
    /// Smallest and largest sigma of mode `model`; in `all` and `layer` times sqrt(M), for the same penalty.
    sigmas: [f64; 2],
    /// Sigmas between them, evenly spaced in the logarithm.
    points: usize,
    /// Passes over the groups for each sigma; a pass is M draws, each used with both signs.
    passes: u64,
    /// Claims are about sigmas up to this one (of mode `model`).
    small: f64,
    /// How far the average over the prediction may be from 1 and count as equal.
    margin: f64,
    /// Most probes for the trace.
    probes: u32,
    /// The prediction is said to break where the two are further apart than this, in standard errors.
    breaks: f64,
    /// Of probes and noise.
    seed: u64,
}

impl Settings {
    pub(super) fn reference(&self) -> Reference {
        Reference { ratio: 1.0, margin: self.margin, small: self.small }
    }
}

/// One sigma in one mode.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Point {
    sigma: f64,
    /// The trace times this is the prediction: sigma^2/2 of mode `model` of the same penalty.
    half: f64,
    /// E L(w + noise) - L(w), each pass over the groups an independent value.
    passes: Vec<f64>,
}

/// A point with its prediction.
struct Deviation {
    excess: Uncertain,
    predicted: f64,
    /// (excess - predicted) / standard error of both.
    deviation: f64,
}

impl Point {
    fn against(&self, trace: Uncertain) -> Deviation {
        let excess = Uncertain::mean(&self.passes);
        let predicted = self.half * trace.value;
        let error = excess.error.hypot(self.half * trace.error);
        Deviation { excess, predicted, deviation: (excess.value - predicted) / error }
    }
}

/// What was measured of a network: all that its claims need.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Measurements {
    label: String,
    /// What in the network has kinks, at which the Hessian is not defined.
    pub(super) kinks: Vec<String>,
    pub(super) hessian: TraceEstimate,
    gauss_newton: TraceEstimate,
    modes: Vec<(Mode, Vec<Point>)>,
}

/// The trace as an estimate.
fn trace(estimate: &TraceEstimate) -> Uncertain {
    Uncertain { value: estimate.trace, error: estimate.standard_error, freedom: f64::from(estimate.probes) - 1.0 }
}

pub(super) fn run(
    definition: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = definition.settings(choices)?;
    let [low, high] = settings.sigmas;
    let checks = [
        (!(low > 0.0 && high >= low && high.is_finite()), "sigmas have to be positive, the smaller first"),
        (settings.passes < 8 || settings.probes < 8, "passes and probes have to be at least 8, for an interval"),
        (!(settings.margin > 0.0 && settings.margin < 1.0), "margin has to be between 0 and 1"),
    ];
    ExperimentError::unless_right(&definition.name, &checks)?;
    let gpu = around.gpu;
    let mut measured = Vec::new();
    let mut outcome = Outcome { settings: json!(settings), ..Outcome::default() };
    if let Some(folder) = around.run.clone() {
        let config = RunConfig::resolve(Some(&folder.join("config.toml")), &crate::train::Options::default())?;
        let prepared = Prepared::load(&config)?;
        let arena = load(gpu, &prepared, &folder.join("weights.safetensors"))?;
        measured.push(measure(gpu, &config, &prepared, &arena, &settings, &mut |share| {
            (around.progress)(share, "the given network")
        })?);
        outcome.notes.push(format!("The network of {}, trained with noise {}.", folder.display(), config.noise));
    } else {
        let count = settings.networks.len() as f64;
        for (index, config) in settings.networks.iter().enumerate() {
            let prepared = Prepared::load(config)?;
            let mut trainer = Trainer::new(gpu, config, &prepared)?;
            train(&mut trainer, config, None, &mut |_| Ok(Control::Continue))?;
            let progress = &mut around.progress;
            measured.push(measure(gpu, config, &prepared, &trainer.arena, &settings, &mut |share| {
                progress((index as f64 + share) / count, &config.model)
            })?);
        }
    }
    outcome.claims = measured.iter().flat_map(|network| judge(network, &settings.reference())).collect();
    outcome.notes.extend(measured.iter().flat_map(|network| notes(network, &settings)));
    outcome.tables = measured.iter().map(table).collect();
    outcome.figures = vec![("smoothed-loss".to_owned(), figure(definition, &measured))];
    outcome.metrics = json!(measured);
    Ok(outcome)
}

fn load(gpu: &Gpu, prepared: &Prepared, weights: &Path) -> Result<Arena, ExperimentError> {
    let layout = prepared.model.graph.layout();
    let scales = vec![1.0; layout.spans().len()];
    let arena = Arena::new(gpu, layout, &scales)?;
    nn::load(gpu, &prepared.model, &arena, weights)?;
    Ok(arena)
}

fn measure(
    gpu: &Gpu,
    config: &RunConfig,
    prepared: &Prepared,
    arena: &Arena,
    settings: &Settings,
    progress: &mut dyn FnMut(f64) -> Result<(), ExperimentError>,
) -> Result<Measurements, ExperimentError> {
    let train = prepared.split.train.clone();
    let samples = train.len();
    let data = DeviceData::new(gpu, train, samples.min(512), &config.normalise.moments(&prepared.split.train)?)?;
    let arena = arena.with_noise_scales(gpu, &vec![1.0; arena.layout.spans().len()])?;
    let subject =
        Subject { model: &prepared.model, arena: &arena, loss: config.loss.into(), label_smoothing: 0.0, data: &data };
    let estimate = |curvature| {
        let options = TraceOptions { probes: settings.probes, tolerance: 0.0, seed: !settings.seed, curvature };
        hessian_trace(gpu, &subject, options)
    };
    let (hessian, gauss_newton) = (estimate(Curvature::Hessian)?, estimate(Curvature::GaussNewton)?);
    let loss = NoisyLoss::new(gpu, &subject)?;
    let mut modes = Vec::new();
    for (index, mode) in NOISY.into_iter().enumerate() {
        let mut report = |share: f64| progress((index as f64 + share) / NOISY.len() as f64);
        // Draws of its own for each mode.
        let seed = settings.seed + index as u64;
        modes.push((mode, points(mode, &subject, &loss, settings, seed, &mut report)?));
    }
    let kinks = kinks(&prepared.model.graph);
    Ok(Measurements { label: config.model.clone(), kinks, hessian, gauss_newton, modes })
}

fn points(
    mode: Mode,
    subject: &Subject<'_>,
    loss: &NoisyLoss<'_>,
    settings: &Settings,
    seed: u64,
    progress: &mut dyn FnMut(f64) -> Result<(), ExperimentError>,
) -> Result<Vec<Point>, ExperimentError> {
    let tensors = subject.model.noise_tensors();
    let groups = tensors.len() as u64;
    let draws = settings.passes * groups;
    let [low, high] = settings.sigmas;
    let mut points = Vec::with_capacity(settings.points);
    for k in 0..settings.points {
        let full = low * (high / low).powf(k as f64 / (settings.points.max(2) - 1) as f64);
        let sigma = if mode == Mode::Model { full } else { full * (groups as f64).sqrt() };
        let config = NoiseConfig { mode, sigma, ..NoiseConfig::default() };
        let scheme = Scheme::new(config, &subject.arena.layout, &tensors, seed);
        let excess = loss.excess(&scheme, k as u64 * draws, draws)?;
        // A pass over the groups is one independent value: `layer` takes each group once in it.
        let passes: Vec<f64> =
            excess.chunks(groups as usize).map(|pass| pass.iter().sum::<f64>() / pass.len() as f64).collect();
        points.push(Point { sigma, half: full * full / 2.0, passes });
        progress((k + 1) as f64 / settings.points as f64)?;
    }
    Ok(points)
}

/// What measurements are compared with.
pub(super) struct Reference {
    /// What the average over the prediction should be.
    pub(super) ratio: f64,
    /// How far from that counts as equal.
    pub(super) margin: f64,
    /// The largest sigma, of mode `model`, that claims are about.
    pub(super) small: f64,
}

/// The claims of a network. A pure function: the device is not asked again.
pub(super) fn judge(measured: &Measurements, reference: &Reference) -> Vec<Claim> {
    let kinks = (!measured.kinks.is_empty()).then(|| {
        format!("{}: kinks add to the average what the Hessian, 0 at them, does not hold", measured.kinks.join(" and "))
    });
    let claim = |(mode, points): &(Mode, Vec<Point>)| {
        let statement =
            format!("{}, {mode}: average over prediction, over sigmas to {}", measured.label, short(reference.small));
        let bar = Bar::Within { target: reference.ratio, margin: reference.margin };
        let passes = points.first().map_or(0, |point| point.passes.len());
        Claim::new(
            format!("{}.{mode}", measured.label),
            statement,
            ratio(points, trace(&measured.hessian), reference.small),
            bar,
        )
        .essential()
        .more_by("passes", passes)
        .more_by("probes", measured.hessian.probes as usize)
        .unless(kinks.as_deref())
    };
    measured.modes.iter().map(claim).collect()
}

/// The average over the noise in units of sigma^2/2, over all small sigmas, over the trace. A pass has its own noise at
/// every sigma, so that its mean over them is one independent value.
fn ratio(points: &[Point], trace: Uncertain, small: f64) -> Measured {
    let limit = small * small / 2.0 * (1.0 + 1e-9);
    let kept: Vec<&Point> = points.iter().filter(|point| point.half <= limit).collect();
    if kept.is_empty() {
        return Measured::nothing(format!("no sigma up to {} was measured", short(small)));
    }
    let passes = kept.iter().map(|point| point.passes.len()).min().unwrap_or(0);
    let over_sigmas =
        |pass: usize| kept.iter().map(|point| point.passes[pass] / point.half).sum::<f64>() / kept.len() as f64;
    let found = Uncertain::mean(&(0..passes).map(over_sigmas).collect::<Vec<_>>());
    Measured::sampled(found.over(trace).at(CONFIDENCE))
}

fn notes(measured: &Measurements, settings: &Settings) -> Vec<String> {
    let text = |estimate: &TraceEstimate| format!("{} ± {}", short(estimate.trace), short(estimate.standard_error));
    let mut notes = vec![format!(
        "{}: trace of the Hessian {}, of its Gauss-Newton part {} (± standard error, {} probes).",
        measured.label,
        text(&measured.hessian),
        text(&measured.gauss_newton),
        measured.hessian.probes
    )];
    for (mode, points) in &measured.modes {
        let mut against = points.iter().map(|point| (point, point.against(trace(&measured.hessian))));
        if let Some((broken, by)) = against.find(|(_, by)| by.deviation.abs() > settings.breaks) {
            notes.push(format!(
                "{}, {mode}: breaks at sigma {}, where the average is {} times the prediction.",
                measured.label,
                short(broken.sigma),
                short(by.excess.value / by.predicted)
            ));
        }
    }
    notes
}

fn table(measured: &Measurements) -> Table {
    let row = |mode: Mode, point: &Point| {
        let Deviation { excess, predicted, deviation } = point.against(trace(&measured.hessian));
        vec![
            mode.to_string(),
            short(point.sigma),
            format!("{:.3e} ± {:.1e}", excess.value, excess.error),
            format!("{predicted:.3e}"),
            format!("{:.3}", excess.value / predicted),
            format!("{deviation:.2}"),
        ]
    };
    let rows = measured.modes.iter().flat_map(|(mode, points)| points.iter().map(move |point| row(*mode, point)));
    let headers = ["mode", "sigma", "E L(w + noise) - L(w)", "predicted", "ratio", "deviation / s.e."];
    Table::new(&format!("Smoothed loss, {}", measured.label), &headers, rows.collect())
}

fn figure(definition: &Definition, measured: &[Measurements]) -> Figure {
    let panels = measured.iter().flat_map(|network| {
        let trace = trace(&network.hessian);
        let line = |(mode, points): &(Mode, Vec<Point>), y: fn(&Point, Uncertain, f64) -> f64| {
            let at = |point: &Point| {
                let excess = Uncertain::mean(&point.passes).at(CONFIDENCE);
                let band = excess.interval.map(|end| y(point, trace, end));
                SeriesPoint { x: point.sigma, y: y(point, trace, excess.value), band: Some((band[0], band[1])) }
            };
            Series::banded(mode.name(), points.iter().map(at).collect())
        };
        let lines = |y: fn(&Point, Uncertain, f64) -> f64| -> Vec<Series> {
            network.modes.iter().map(|mode| line(mode, y)).collect()
        };
        let mut excess = lines(|_, _, excess| if excess > 0.0 { excess } else { f64::NAN });
        let prediction = |(_, points): &(Mode, Vec<Point>)| {
            let places = points.iter().map(|point| (point.sigma, point.half * trace.value));
            Series::line("sigma^2/2 tr H (/ M)", places)
        };
        excess.extend(network.modes.iter().map(prediction));
        let panel = |title: &str, y_label: &str, y_scale, series| Panel {
            title: format!("{}: {title}", network.label),
            x_label: "sigma".to_owned(),
            y_label: y_label.to_owned(),
            x_scale: AxisScale::Log,
            y_scale,
            series,
            ..Panel::default()
        };
        [
            panel("excess", "E L(w + noise) - L(w)", AxisScale::Log, excess),
            panel(
                "over the prediction",
                "ratio",
                AxisScale::Log,
                lines(|point, trace, excess| excess / (point.half * trace.value)),
            ),
        ]
    });
    Figure {
        title: definition.title.clone(),
        caption: "Loss averaged over the noise less the loss at the clean weights, over the standard deviation of the noise; \
                  bands are 95 % over the draws. Modes all and layer, with M groups, add 1 / M of the penalty at the same sigma."
            .to_owned(),
        panels: panels.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `--set small=1e-5` once held with "measured 0", the largest of nothing.
    #[test]
    fn no_small_sigma_is_nothing_measured() {
        let trace = Uncertain { value: 2.0, error: 0.1, freedom: 9.0 };
        let point = |sigma: f64| Point { sigma, half: sigma * sigma / 2.0, passes: vec![1e-4, 1.1e-4, 0.9e-4] };
        let claim = |small| {
            let bar = Bar::Within { target: 1.0, margin: 0.5 };
            Claim::new("a", "b", ratio(&[point(0.01)], trace, small), bar).verdict()
        };
        assert_eq!(
            [claim(0.01), claim(1e-5)],
            [crate::experiments::Verdict::Holds, crate::experiments::Verdict::Inconclusive]
        );
    }
}
