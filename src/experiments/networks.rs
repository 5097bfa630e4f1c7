//! The paper's neural experiments: noise modes over seeds on image data, curves, traces, and differences with their
//! intervals.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    noise::Grouping,
    report::{MeanSd, Table},
    train::{
        Arm, ArmRuns, Control, DeviceData, Event, MetricsFiles, Prepared, RunConfig, RunResult, Traces, Trainer,
        compare,
    },
};

use super::{
    Bar, Choices, Claim, Definition, Evidence, ExperimentError, Outcome, Surroundings, Verdict,
    arm_figure::arm_figure,
    block_traces,
    comparisons::{Comparison, judge_family},
    noise_arm::NoiseArm,
    statistics::{Estimate, mean, paired_differences},
};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Networks, each trained in every mode.
    models: Vec<String>,
    /// Noise modes, with groups of their own where they have any; differences are to `none`, the first.
    modes: Vec<NoiseArm>,
    /// Runs of each mode, from seed `train.seed` on.
    seeds: u64,
    /// What every run shares: keys of `jostle train`.
    train: RunConfig,
    /// Training samples over which traces are taken, with the proportions of their classes.
    trace_samples: usize,
    /// Probes for each trace.
    trace_probes: u32,
    /// Groups of weights whose shares in the traces are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_groups: Option<Grouping>,
}

/// Largest batch of a trace, and the words of its largest tensor: 128 MiB, which every adapter binds.
const TRACE_BATCH: usize = 512;
const TRACE_WORDS: usize = 1 << 25;

/// What a run was at its end, at the clean weights.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct End {
    test_accuracy: f64,
    test_loss: f64,
    train_accuracy: f64,
    train_loss: f64,
    l1_norm: f64,
    l2_norm: f64,
    hessian: f64,
    gauss_newton: f64,
    /// Brier score and calibration error on the test data, where they were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test_brier: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    test_ece: Option<f64>,
}

impl End {
    /// `None` where the run diverged.
    fn new(run: &RunResult, traces: &Traces) -> Option<Self> {
        let end = run.end()?;
        Some(Self {
            test_accuracy: end.scores.test_accuracy.unwrap_or(f64::NAN),
            test_loss: end.scores.test_loss.unwrap_or(f64::NAN),
            train_accuracy: end.scores.train_accuracy.unwrap_or(f64::NAN),
            train_loss: end.scores.train_loss.unwrap_or(f64::NAN),
            l1_norm: end.l1_norm,
            l2_norm: end.l2_norm,
            hessian: traces.hessian.trace,
            gauss_newton: traces.gauss_newton.trace,
            test_brier: end.quality.map(|quality| quality.brier),
            test_ece: end.quality.map(|quality| quality.ece),
        })
    }
}

/// What was measured of a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct RunMeasurements {
    seed: u64,
    status: String,
    /// `None` where the run diverged.
    end: Option<End>,
    /// Every epoch, and the traces with their errors; no claim is about them.
    #[serde(default)]
    epochs: serde_json::Value,
    #[serde(default)]
    traces: serde_json::Value,
}

/// What was measured of a noise mode.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct ModeMeasurements {
    noise: NoiseArm,
    #[serde(default)]
    config: serde_json::Value,
    /// One a seed, the same seeds in every mode.
    runs: Vec<RunMeasurements>,
}

/// What was measured of a network: all that its claims need.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Measurements {
    model: String,
    /// Differences are to the first.
    arms: Vec<ModeMeasurements>,
}

impl ModeMeasurements {
    fn new((noise, arm): (&NoiseArm, &ArmRuns)) -> Self {
        let run = |(index, run): (usize, &RunResult)| RunMeasurements {
            seed: arm.seeds[index],
            status: format!("{:?}", run.status),
            end: arm.traces.get(index).and_then(|traces| End::new(run, traces)),
            epochs: json!(run.epochs),
            traces: json!(arm.traces.get(index)),
        };
        let runs = arm.runs.iter().enumerate().map(run).collect();
        Self { noise: *noise, config: json!(arm.arm.config), runs }
    }

    /// A quantity of each run; NaN where it diverged.
    fn values(&self, quantity: &Quantity) -> Vec<f64> {
        self.runs.iter().map(|run| run.end.as_ref().map_or(f64::NAN, quantity.value)).collect()
    }

    fn diverged(&self) -> usize {
        self.runs.iter().filter(|run| run.end.is_none()).count()
    }
}

/// A quantity of a run at its end, for tables.
struct Quantity {
    name: &'static str,
    decimals: usize,
    value: fn(&End) -> f64,
}

const QUANTITIES: [Quantity; 10] = [
    Quantity { name: "test accuracy %", decimals: 2, value: |end| 100.0 * end.test_accuracy },
    Quantity { name: "test loss", decimals: 4, value: |end| end.test_loss },
    Quantity { name: "train accuracy %", decimals: 2, value: |end| 100.0 * end.train_accuracy },
    Quantity { name: "train loss", decimals: 4, value: |end| end.train_loss },
    Quantity { name: "l1 norm", decimals: 0, value: |end| end.l1_norm },
    Quantity { name: "l2 norm", decimals: 2, value: |end| end.l2_norm },
    Quantity { name: "Hessian trace", decimals: 1, value: |end| end.hessian },
    Quantity { name: "Gauss-Newton trace", decimals: 1, value: |end| end.gauss_newton },
    Quantity { name: "test Brier", decimals: 4, value: |end| end.test_brier.unwrap_or(f64::NAN) },
    Quantity { name: "test ECE", decimals: 4, value: |end| end.test_ece.unwrap_or(f64::NAN) },
];
/// The quantities that notes are about: measured, not claimed.
const COMPARED: [usize; 2] = [0, 1];
/// The one that the claims are about.
const TRACE: usize = 6;

pub(super) fn run(
    definition: &Definition,
    choices: &Choices,
    around: &mut Surroundings<'_>,
) -> Result<Outcome, ExperimentError> {
    let settings: Settings = definition.settings(choices)?;
    let checks = [
        (settings.models.is_empty(), "models has to name one"),
        (
            settings.modes.first() != Some(&NoiseArm::NONE),
            "modes has to begin with none, which the others are compared with",
        ),
        (settings.modes.len() < 2, "modes has to name a noisy one"),
        (settings.seeds == 0, "seeds has to be at least 1"),
        (settings.trace_probes == 0 || settings.trace_samples == 0, "traces need probes and samples"),
    ];
    ExperimentError::unless_right(&definition.name, &checks)?;
    settings.train.check()?;
    let mut outcome = Outcome { settings: json!(settings), ..Outcome::default() };
    let mut measured = Vec::new();
    for (index, model) in settings.models.iter().enumerate() {
        let arms = train(&settings, model, index, around)?;
        let title = format!("{model} on {}", settings.train.data);
        outcome.figures.push((stem(model), arm_figure(&title, &arms)));
        outcome.figures.extend(block_traces::figure(&title, &arms).map(|figure| (stem(model) + "-groups", figure)));
        let measurements = settings.modes.iter().zip(&arms).map(ModeMeasurements::new).collect();
        let found = Measurements { model: model.clone(), arms: measurements };
        outcome.tables.extend([ends(&found, &title), differences(&found, &title)]);
        outcome.tables.extend(block_traces::tables(&title, &arms));
        measured.push(found);
    }
    let no_noise = (settings.train.sigma == 0.0).then_some("sigma is 0");
    outcome.claims = judge(&measured, Bar::AtMost(0.0)).into_iter().map(|claim| claim.unless(no_noise)).collect();
    outcome.notes = statements(&measured);
    outcome.metrics = json!(measured);
    Ok(outcome)
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
    let prepared = Prepared::load(&config)?;
    let arms: Vec<Arm> = settings.modes.iter().map(|noise| noise.arm(&config, &prepared)).collect();
    let seeds: Vec<u64> = (config.seed..config.seed + settings.seeds).collect();
    let gpu = around.gpu;
    let data = trace_data(settings, &config, prepared, around)?;
    let mut finish = |trainer: &Trainer<'_>| {
        Ok(Some(trainer.grouped_traces(Some(&data), settings.trace_probes, settings.trace_groups)?))
    };
    let runs = (settings.modes.len() * seeds.len()) as f64;
    let mut metrics = MetricsFiles::new(&around.out);
    let share_of_model = 1.0 / settings.models.len() as f64;
    let mut heard = Ok(());
    let found = compare(gpu, arms, &seeds, &Prepared::load, &mut finish, &mut |arm, seed, event| {
        let name = format!("{}-{}-seed{seed}", stem(model), stem(&arm.label));
        let file = metrics.file(&name)?;
        match event {
            Event::Progress { step, total } => {
                let share = (metrics.finished() as f64 + step as f64 / total as f64) / runs;
                heard = (around.progress)((index as f64 + share) * share_of_model, &name);
            }
            Event::Step(record) => file.step(&record)?,
            Event::Epoch(record) => file.epoch(&record)?,
        }
        Ok(if heard.is_ok() { Control::Continue } else { Control::Stop })
    });
    heard?;
    Ok(found?)
}

/// The samples that traces are taken over, normalised as in training and not augmented.
fn trace_data(
    settings: &Settings,
    config: &RunConfig,
    prepared: Prepared,
    around: &Surroundings<'_>,
) -> Result<DeviceData, ExperimentError> {
    let most = prepared.model.graph.batch_within(TRACE_BATCH, TRACE_WORDS);
    let train = prepared.split.train;
    let normalisation = config.normalise.moments(&train)?;
    let samples = settings.trace_samples.min(train.len());
    let subset = train.stratified_subset(samples, config.subset_seed)?;
    Ok(DeviceData::new(around.gpu, subset, samples.min(most), &normalisation)?)
}

/// The quantities that some run has.
fn quantities(measured: &Measurements) -> Vec<&'static Quantity> {
    let has = |q: &&Quantity| measured.arms.iter().flat_map(|arm| arm.values(q)).any(f64::is_finite);
    QUANTITIES.iter().filter(has).collect()
}

fn ends(measured: &Measurements, title: &str) -> Table {
    let shown = quantities(measured);
    let row = |arm: &ModeMeasurements| {
        let quantities = shown.iter().map(|q| MeanSd::new(arm.values(q)).text(q.decimals));
        let head = [arm.noise.to_string(), arm.runs.len().to_string(), arm.diverged().to_string()];
        head.into_iter().chain(quantities).collect()
    };
    let headers: Vec<&str> = ["noise", "seeds", "diverged"].into_iter().chain(shown.iter().map(|q| q.name)).collect();
    let title = format!("{title}: after the last epoch, clean weights, mean ± sd over seeds");
    Table::new(&title, &headers, measured.arms.iter().map(row).collect())
}

/// An arm less another, seed by seed.
fn paired([arm, base]: [&ModeMeasurements; 2], quantity: &Quantity) -> Vec<f64> {
    paired_differences(&arm.values(quantity), &base.values(quantity))
}

fn differences(measured: &Measurements, title: &str) -> Table {
    let shown = quantities(measured);
    let row = |arm: &ModeMeasurements| {
        let cell = |q: &&Quantity| {
            let Estimate { value, interval: [low, high] } = mean(&paired([arm, &measured.arms[0]], q));
            let d = q.decimals;
            format!("{value:+.d$} ({low:+.d$} to {high:+.d$})")
        };
        [arm.noise.to_string()].into_iter().chain(shown.iter().map(cell)).collect()
    };
    let headers: Vec<&str> = ["noise"].into_iter().chain(shown.iter().map(|q| q.name)).collect();
    let title = format!(
        "{title}: difference to no noise, paired over seeds, with 95 % interval (Student's t; exploratory, each interval for \
         itself)"
    );
    Table::new(&title, &headers, measured.arms.iter().skip(1).map(row).collect())
}

/// The comparisons of all noisy arms of a network with none, in some quantities.
fn less_none(network: &Measurements, quantities: &[usize], bar: Bar) -> Vec<Comparison> {
    let pairs = network.arms.iter().skip(1).map(|arm| [arm, &network.arms[0]]);
    pairs.flat_map(|pair| comparisons(&network.model, pair, quantities, bar)).collect()
}

/// The comparisons of arms that differ in their groups alone.
fn regrouped(network: &Measurements, quantities: &[usize], bar: Bar) -> Vec<Comparison> {
    let arms = &network.arms;
    let base = |index: usize| arms[..index].iter().rfind(|base| arms[index].noise.regroups(base.noise));
    let pairs = (0..arms.len()).filter_map(|index| Some([&arms[index], base(index)?]));
    pairs.flat_map(|pair| comparisons(&network.model, pair, quantities, bar)).collect()
}

/// The comparisons of an arm with another.
fn comparisons(model: &str, pair: [&ModeMeasurements; 2], quantities: &[usize], bar: Bar) -> Vec<Comparison> {
    let [arm, base] = pair.map(|measured| measured.noise);
    let comparison = |index: &usize| {
        let quantity = &QUANTITIES[*index];
        let less = if base == NoiseArm::NONE { String::new() } else { format!("-less-{base}") };
        let id = format!("{model}.{arm}{less}.{}", quantity.name.replace(' ', "-"));
        let statement = format!("{model}, noise {arm} less {base}: {}", quantity.name);
        Comparison { id, statement, differences: paired(pair, quantity), bar }
    };
    quantities.iter().map(comparison).collect()
}

/// Which differences are distinguishable from zero: of a family of its own, that no claim is about.
fn statements(measured: &[Measurements]) -> Vec<String> {
    let higher = Bar::AtLeast(0.0);
    let of_network = |network: &Measurements| {
        let mut family = less_none(network, &COMPARED, higher);
        family.extend(regrouped(network, &[&COMPARED[..], &[TRACE]].concat(), higher));
        family
    };
    let family: Vec<Comparison> = measured.iter().flat_map(of_network).collect();
    let count = family.len();
    let statement = |(comparison, claim): (&Comparison, Claim)| {
        let words = match (&claim.measured.evidence, claim.verdict()) {
            (Evidence::Adjusted { .. }, Verdict::Holds) => "higher, significant at 5 %",
            (Evidence::Adjusted { .. }, Verdict::Fails) => "lower, significant at 5 %",
            _ => "not told from 0",
        };
        let seeds = comparison.differences.len();
        format!(
            "{}, paired over {seeds} seeds: {}, {words} (of {count} comparisons: intervals after Bonferroni, p after Holm).",
            claim.statement,
            claim.measured.text()
        )
    };
    family.iter().zip(judge_family(&family)).map(statement).collect()
}

/// What the noise penalises is smaller with it: of all networks and noisy modes one family. A pure function.
pub(super) fn judge(measured: &[Measurements], bar: Bar) -> Vec<Claim> {
    let family: Vec<Comparison> = measured.iter().flat_map(|network| less_none(network, &[TRACE], bar)).collect();
    let arms = measured.iter().flat_map(|network| network.arms.iter().skip(1));
    let claim = |(claim, arm): (Claim, &ModeMeasurements)| {
        let claim = claim.essential().more_by("seeds", arm.runs.len());
        match arm.diverged() {
            0 => claim,
            count => claim.ruled(Verdict::Fails, format!("{count} of {} runs diverged", arm.runs.len())),
        }
    };
    judge_family(&family).into_iter().zip(arms).map(claim).collect()
}
