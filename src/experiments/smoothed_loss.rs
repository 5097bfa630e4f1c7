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
    Bar, Choices, Claim, Definition, ExperimentError, Outcome, Surroundings,
    outcome::short,
    simple::NOISY,
    statistics::{Estimate, largest, mean},
};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {
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
    /// Most probes for the trace.
    probes: u32,
    /// Largest deviation, in standard errors.
    bar: f64,
    /// Of probes and noise.
    seed: u64,
}

/// One sigma in one mode.
#[derive(Clone, Debug, Serialize)]
struct Point {
    sigma: f64,
    /// E L(w + noise) - L(w).
    excess: Estimate,
    /// Of the mean.
    standard_error: f64,
    predicted: f64,
    /// (excess - predicted) / standard error of both.
    deviation: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Measured {
    label: String,
    relu: bool,
    hessian: TraceEstimate,
    gauss_newton: TraceEstimate,
    modes: Vec<(Mode, Vec<Point>)>,
}

pub(super) fn run(
    of: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = of.settings(choices)?;
    let [low, high] = settings.sigmas;
    let checks = [
        (!(low > 0.0 && high >= low && high.is_finite()), "sigmas have to be positive, the smaller first"),
        (settings.passes < 2 || settings.probes < 2, "passes and probes have to be at least 2"),
    ];
    ExperimentError::unless_right(&of.name, &checks)?;
    let gpu = around.gpu;
    let mut measured = Vec::new();
    let mut outcome = Outcome { settings: json!(settings), ..Outcome::default() };
    if let Some(folder) = around.run.clone() {
        let config = RunConfig::resolve(Some(&folder.join("config.toml")), &crate::train::Options::default())?;
        let prepared = Prepared::load(&config)?;
        let arena = load(gpu, &prepared, &folder.join("weights.safetensors"))?;
        measured.push(measure(gpu, &config, &prepared, &arena, &settings, &mut |share| {
            (around.progress)(share, "the given network");
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
                progress((index as f64 + share) / count, &config.model);
            })?);
        }
    }
    outcome.claims = measured.iter().flat_map(|of| claims(of, &settings)).collect();
    outcome.notes.extend(measured.iter().flat_map(|of| notes(of, &settings)));
    outcome.tables = measured.iter().map(table).collect();
    outcome.figures = vec![("smoothed-loss".to_owned(), figure(of, &measured))];
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
    progress: &mut dyn FnMut(f64),
) -> Result<Measured, ExperimentError> {
    let train = prepared.split.train.clone();
    let samples = train.len();
    let data = DeviceData::new(gpu, train, samples.min(512), &config.normalise.moments(&prepared.split.train)?)?;
    let arena = arena.with_noise_scales(gpu, &vec![1.0; arena.layout.spans().len()])?;
    let subject = Subject {
        model: &prepared.model,
        arena: &arena,
        loss: config.loss,
        label_smoothing: 0.0,
        data: data.views(),
        samples,
        capacity: data.capacity(),
        stage: &|first, valid| data.stage(gpu, first, valid),
    };
    let trace = |curvature| {
        let options = TraceOptions { probes: settings.probes, tolerance: 0.0, seed: !settings.seed, curvature };
        hessian_trace(gpu, &subject, options)
    };
    let (hessian, gauss_newton) = (trace(Curvature::Hessian)?, trace(Curvature::GaussNewton)?);
    let loss = NoisyLoss::new(gpu, &subject)?;
    let mut modes = Vec::new();
    for (index, mode) in NOISY.into_iter().enumerate() {
        let mut told = |share: f64| progress((index as f64 + share) / NOISY.len() as f64);
        // Draws of its own for each mode.
        let seed = settings.seed + index as u64;
        modes.push((mode, points(mode, &subject, &loss, &hessian, settings, seed, &mut told)?));
    }
    let relu = config.model.starts_with("mlp") && !config.model.trim_start_matches("mlp:").contains(':');
    Ok(Measured { label: config.model.clone(), relu, hessian, gauss_newton, modes })
}

fn points(
    mode: Mode,
    subject: &Subject<'_>,
    loss: &NoisyLoss<'_>,
    trace: &TraceEstimate,
    settings: &Settings,
    seed: u64,
    progress: &mut dyn FnMut(f64),
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
        let of = mean(&passes);
        let variance = passes.iter().map(|x| (x - of.value).powi(2)).sum::<f64>() / (passes.len() as f64 - 1.0);
        let standard_error = (variance / passes.len() as f64).sqrt();
        let half = full * full / 2.0;
        let predicted = half * trace.trace;
        let error = standard_error.hypot(half * trace.standard_error);
        let deviation = (of.value - predicted) / error;
        points.push(Point { sigma, excess: of, standard_error, predicted, deviation });
        progress((k + 1) as f64 / settings.points as f64);
    }
    Ok(points)
}

/// The points that claims are about.
fn small(of: &[Point], predicted: f64) -> impl Iterator<Item = &Point> {
    of.iter().filter(move |point| point.predicted <= predicted * (1.0 + 1e-9))
}

fn claims(of: &Measured, settings: &Settings) -> Vec<Claim> {
    let kinks = "ReLU's kinks add to the average what its Hessian, 0 at them, does not hold";
    let limit = settings.small * settings.small / 2.0 * of.hessian.trace;
    let claim = |(mode, points): &(Mode, Vec<Point>)| {
        let worst = largest(small(points, limit).map(|point| point.deviation.abs()));
        let statement = format!("{}, {mode}: largest deviation at small sigma, in standard errors", of.label);
        Claim::new(format!("{}.{mode}", of.label), statement, worst, Bar::AtMost(settings.bar))
            .unless(of.relu.then_some(kinks))
    };
    of.modes.iter().map(claim).collect()
}

fn notes(of: &Measured, settings: &Settings) -> Vec<String> {
    let trace = |of: &TraceEstimate| format!("{} ± {}", short(of.trace), short(of.standard_error));
    let mut notes = vec![format!(
        "{}: trace of the Hessian {}, of its Gauss-Newton part {} (± standard error, {} probes).",
        of.label,
        trace(&of.hessian),
        trace(&of.gauss_newton),
        of.hessian.probes
    )];
    for (mode, points) in &of.modes {
        if let Some(broken) = points.iter().find(|point| point.deviation.abs() > settings.bar) {
            notes.push(format!(
                "{}, {mode}: breaks at sigma {}, where the average is {} times the prediction.",
                of.label,
                short(broken.sigma),
                short(broken.excess.value / broken.predicted)
            ));
        }
    }
    notes
}

fn table(of: &Measured) -> Table {
    let row = |mode: Mode, point: &Point| {
        vec![
            mode.to_string(),
            short(point.sigma),
            format!("{:.3e} ± {:.1e}", point.excess.value, point.standard_error),
            format!("{:.3e}", point.predicted),
            format!("{:.3}", point.excess.value / point.predicted),
            format!("{:.2}", point.deviation),
        ]
    };
    let rows = of.modes.iter().flat_map(|(mode, points)| points.iter().map(move |point| row(*mode, point)));
    let headers = ["mode", "sigma", "E L(w + noise) - L(w)", "predicted", "ratio", "deviation / s.e."];
    Table::new(&format!("Smoothed loss, {}", of.label), &headers, rows.collect())
}

fn figure(of: &Definition, measured: &[Measured]) -> Figure {
    let line = |label: &str, points: &[Point], y: fn(&Point, f64) -> f64| {
        let at = |point: &Point| {
            let band = point.excess.interval.map(|end| y(point, end));
            SeriesPoint { x: point.sigma, y: y(point, point.excess.value), band: Some((band[0], band[1])) }
        };
        Series::banded(label, points.iter().map(at).collect())
    };
    let panels = measured.iter().flat_map(|of| {
        let lines = |y: fn(&Point, f64) -> f64| -> Vec<Series> {
            of.modes.iter().map(|(mode, points)| line(mode.name(), points, y)).collect()
        };
        let mut excess = lines(|_, excess| if excess > 0.0 { excess } else { f64::NAN });
        let prediction = |(_, points): &(Mode, Vec<Point>)| {
            Series::line("sigma^2/2 tr H (/ M)", points.iter().map(|point| (point.sigma, point.predicted)))
        };
        excess.extend(of.modes.iter().map(prediction));
        let panel = |title: &str, y_label: &str, y_scale, series| Panel {
            title: format!("{}: {title}", of.label),
            x_label: "sigma".to_owned(),
            y_label: y_label.to_owned(),
            x_scale: AxisScale::Log,
            y_scale,
            series,
            ..Panel::default()
        };
        [
            panel("excess", "E L(w + noise) - L(w)", AxisScale::Log, excess),
            panel("over the prediction", "ratio", AxisScale::Log, lines(|point, excess| excess / point.predicted)),
        ]
    });
    Figure {
        title: of.title.clone(),
        caption: "Loss averaged over the noise less the loss at the clean weights, over the standard deviation of the noise; \
                  bands are 95 % over the draws. Modes all and layer, with M groups, add 1 / M of the penalty at the same sigma."
            .to_owned(),
        panels: panels.collect(),
    }
}
