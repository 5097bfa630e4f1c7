//! The paper's neural experiments: noise modes over seeds on image data, curves, traces, and differences with their
//! intervals.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    noise::Mode,
    report::{MeanSd, Table},
    train::{
        Arm, ArmRuns, Control, DeviceData, EpochRecord, Event, MetricsFiles, Prepared, RunConfig, Status, Traces,
        compare,
    },
};

use super::{
    Bar, Choices, Claim, Definition, ExperimentError, Outcome, Surroundings, arm_figure::arm_figure, outcome::short,
    statistics,
};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Networks, each trained in every mode.
    models: Vec<String>,
    /// Noise modes; differences are to `none`, the first.
    modes: Vec<Mode>,
    /// Runs of each mode, from seed `train.seed` on.
    seeds: u64,
    /// What every run shares: keys of `jostle train`.
    train: RunConfig,
    /// Training samples over which traces are taken, with the proportions of their classes.
    trace_samples: usize,
    /// Probes for each trace.
    trace_probes: u32,
}

/// All arms of one network.
struct Trained {
    model: String,
    arms: Vec<ArmRuns>,
}

/// A quantity of a run at its end, for tables.
struct Quantity {
    name: &'static str,
    decimals: usize,
    of: fn(&EpochRecord, &Traces) -> f64,
}

const QUANTITIES: [Quantity; 8] = [
    Quantity {
        name: "test accuracy %",
        decimals: 2,
        of: |end, _| 100.0 * end.scores.test_accuracy.unwrap_or(f64::NAN),
    },
    Quantity { name: "test loss", decimals: 4, of: |end, _| end.scores.test_loss.unwrap_or(f64::NAN) },
    Quantity {
        name: "train accuracy %",
        decimals: 2,
        of: |end, _| 100.0 * end.scores.train_accuracy.unwrap_or(f64::NAN),
    },
    Quantity { name: "train loss", decimals: 4, of: |end, _| end.scores.train_loss.unwrap_or(f64::NAN) },
    Quantity { name: "l1 norm", decimals: 0, of: |end, _| end.l1_norm },
    Quantity { name: "l2 norm", decimals: 2, of: |end, _| end.l2_norm },
    Quantity { name: "Hessian trace", decimals: 1, of: |_, traces| traces.hessian.trace },
    Quantity { name: "Gauss-Newton trace", decimals: 1, of: |_, traces| traces.gauss_newton.trace },
];
/// The quantities that the statement on significance is about.
const COMPARED: [usize; 3] = [0, 1, 6];
/// The one that the claims are about.
const TRACE: usize = 6;

pub(super) fn run(
    of: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = of.settings(choices)?;
    let checks = [
        (settings.models.is_empty(), "models has to name one"),
        (
            settings.modes.first() != Some(&Mode::None),
            "modes has to begin with none, which the others are held against",
        ),
        (settings.modes.len() < 2, "modes has to name a noisy one"),
        (settings.seeds == 0, "seeds has to be at least 1"),
        (settings.trace_probes == 0 || settings.trace_samples == 0, "traces need probes and samples"),
    ];
    ExperimentError::unless_right(&of.name, &checks)?;
    settings.train.check()?;
    let mut trained = Vec::new();
    for (index, model) in settings.models.iter().enumerate() {
        let arms = train(&settings, model, index, around)?;
        trained.push(Trained { model: model.clone(), arms });
    }
    let title = |of: &Trained| format!("{} on {}", of.model, settings.train.data);
    Ok(Outcome {
        claims: trained.iter().flat_map(|of| claims(of, settings.train.sigma)).collect(),
        notes: trained.iter().flat_map(statements).collect(),
        tables: trained.iter().flat_map(|of| [ends(of, &title(of)), differences(of, &title(of))]).collect(),
        figures: trained.iter().map(|of| (stem(&of.model), arm_figure(&title(of), &of.arms))).collect(),
        metrics: trained.iter().map(metrics).collect(),
        settings: json!(settings),
    })
}

/// A name for files.
fn stem(model: &str) -> String {
    model.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect()
}

/// Trains one network in every mode and with every seed; writes each run's metrics.
fn train(
    settings: &Settings,
    model: &str,
    index: usize,
    around: &mut Surroundings<'_>,
) -> Result<Vec<ArmRuns>, ExperimentError> {
    let config = RunConfig { model: model.to_owned(), ..settings.train.clone() };
    let arms: Vec<Arm> = settings
        .modes
        .iter()
        .map(|mode| Arm { label: mode.to_string(), config: RunConfig { noise: *mode, ..config.clone() } })
        .collect();
    let seeds: Vec<u64> = (config.seed..config.seed + settings.seeds).collect();
    let gpu = around.gpu;
    let data = trace_data(settings, &config, around)?;
    let mut finish =
        |trainer: &crate::train::Trainer<'_>| Ok(Some(trainer.traces(Some(&data), settings.trace_probes)?));
    let runs = (settings.modes.len() * seeds.len()) as f64;
    let mut metrics = MetricsFiles::new(&around.out);
    let share_of_model = 1.0 / settings.models.len() as f64;
    compare(gpu, arms, &seeds, &mut finish, &mut |arm, seed, event| {
        let name = format!("{}-{}-seed{seed}", stem(model), arm.label);
        let file = metrics.of(&name)?;
        match event {
            Event::Progress { step, total } => {
                let share = (metrics.finished() as f64 + step as f64 / total as f64) / runs;
                (around.progress)((index as f64 + share) * share_of_model, &name);
            }
            Event::Step(record) => file.step(&record)?,
            Event::Epoch(record) => file.epoch(&record)?,
        }
        Ok(Control::Continue)
    })
    .map_err(ExperimentError::from)
}

/// The samples that traces are taken over, normalised as in training and not augmented.
fn trace_data(
    settings: &Settings,
    config: &RunConfig,
    around: &Surroundings<'_>,
) -> Result<DeviceData, ExperimentError> {
    let train = Prepared::load(config)?.split.train;
    let normalisation = config.normalise.moments(&train)?;
    let samples = settings.trace_samples.min(train.len());
    let subset = train.stratified_subset(samples, config.subset_seed)?;
    Ok(DeviceData::new(around.gpu, subset, samples.min(512), &normalisation)?)
}

/// A quantity at the end of each run of an arm; NaN where the run diverged.
fn values(arm: &ArmRuns, quantity: &Quantity) -> Vec<f64> {
    let of = |(run, traces): (&crate::train::RunResult, &Traces)| match (run.status, run.epochs.last()) {
        (Status::Diverged { .. }, _) | (_, None) => f64::NAN,
        (_, Some(end)) => (quantity.of)(end, traces),
    };
    arm.runs.iter().zip(&arm.traces).map(of).collect()
}

fn ends(of: &Trained, title: &str) -> Table {
    let row = |arm: &ArmRuns| {
        let quantities = QUANTITIES.iter().map(|q| MeanSd::of(values(arm, q)).text(q.decimals));
        let diverged = arm.runs.iter().filter(|run| matches!(run.status, Status::Diverged { .. })).count();
        let head = [arm.arm.label.clone(), arm.runs.len().to_string(), diverged.to_string()];
        head.into_iter().chain(quantities).collect()
    };
    let headers: Vec<&str> =
        ["noise", "seeds", "diverged"].into_iter().chain(QUANTITIES.iter().map(|q| q.name)).collect();
    let title = format!("{title}: after the last epoch, clean weights, mean ± sd over seeds");
    Table::new(&title, &headers, of.arms.iter().map(row).collect())
}

/// An arm less the first, seed by seed.
fn paired(of: &Trained, arm: &ArmRuns, quantity: &Quantity) -> statistics::Estimate {
    let without = values(&of.arms[0], quantity);
    let differences: Vec<f64> = values(arm, quantity).iter().zip(without).map(|(with, none)| with - none).collect();
    statistics::mean(&differences)
}

fn differences(of: &Trained, title: &str) -> Table {
    let row = |arm: &ArmRuns| {
        let cell = |q: &Quantity| {
            let statistics::Estimate { value, interval: [low, high] } = paired(of, arm, q);
            let d = q.decimals;
            format!("{value:+.d$} ({low:+.d$} to {high:+.d$})")
        };
        [arm.arm.label.clone()].into_iter().chain(QUANTITIES.iter().map(cell)).collect()
    };
    let headers: Vec<&str> = ["noise"].into_iter().chain(QUANTITIES.iter().map(|q| q.name)).collect();
    let title = format!("{title}: difference to no noise, paired over seeds, with 95 % interval (Student's t)");
    Table::new(&title, &headers, of.arms[1..].iter().map(row).collect())
}

/// Which differences are told from zero.
fn statements(of: &Trained) -> Vec<String> {
    let statement = |arm: &ArmRuns| {
        let seeds = arm.runs.len();
        let parts = COMPARED.map(|index| {
            let quantity = &QUANTITIES[index];
            let statistics::Estimate { value, interval: [low, high] } = paired(of, arm, quantity);
            let verdict = match (low > 0.0, high < 0.0) {
                (true, _) => "higher, significant at 5 %",
                (_, true) => "lower, significant at 5 %",
                _ => "not told from 0",
            };
            format!("{} {} ({} to {}; {verdict})", quantity.name, short(value), short(low), short(high))
        });
        format!(
            "{}, noise {} less none, paired over {seeds} seeds, 95 % interval: {}.",
            of.model,
            arm.arm.label,
            parts.join("; ")
        )
    };
    of.arms[1..].iter().map(statement).collect()
}

/// What the noise penalises is smaller with it; few seeds may not tell.
fn claims(of: &Trained, sigma: f64) -> Vec<Claim> {
    let mean = |values: &[f64], keep: &dyn Fn(usize) -> bool| {
        let kept = values.iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, value)| *value);
        kept.clone().sum::<f64>() / kept.count() as f64
    };
    let without = values(&of.arms[0], &QUANTITIES[TRACE]);
    let claim = |arm: &ArmRuns| {
        let with = values(arm, &QUANTITIES[TRACE]);
        let ratio = statistics::jackknife(with.len(), |keep| mean(&with, keep) / mean(&without, keep));
        let statement = format!("{}, noise {}: Hessian trace over that without noise", of.model, arm.arm.label);
        let [low, high] = ratio.interval;
        let unclear = format!("{} seeds do not tell it from 1", with.len());
        let reason = if sigma == 0.0 { Some("sigma is 0") } else { (low < 1.0 && high > 1.0).then_some(&*unclear) };
        Claim::new(format!("{}.{}.trace", of.model, arm.arm.label), statement, ratio.value, Bar::AtMost(1.0))
            .with_interval(ratio.interval)
            .unless(reason)
    };
    of.arms[1..].iter().map(claim).collect()
}

fn metrics(of: &Trained) -> serde_json::Value {
    let run = |arm: &ArmRuns, index: usize| {
        let run = &arm.runs[index];
        json!({
            "seed": arm.seeds[index], "status": format!("{:?}", run.status), "epochs": run.epochs,
            "traces": arm.traces.get(index),
        })
    };
    let arm = |arm: &ArmRuns| {
        let runs: Vec<_> = (0..arm.runs.len()).map(|index| run(arm, index)).collect();
        json!({ "noise": arm.arm.label, "config": arm.arm.config, "runs": runs })
    };
    json!({ "model": of.model, "arms": of.arms.iter().map(arm).collect::<Vec<_>>() })
}
