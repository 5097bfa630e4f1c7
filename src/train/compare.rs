//! Arms (noise modes, sigmas, learning rates) over seeds.

use crate::{gpu::Gpu, noise::Mode};

use super::{Control, Event, OnNan, Prepare, RunConfig, RunResult, Traces, TrainError, Trainer, run};

/// One arm: a label and a configuration, whose seed is replaced by each seed in turn.
#[derive(Clone, Debug)]
pub struct Arm {
    /// Short, for tables and legends.
    pub label: String,
    /// What is run.
    pub config: RunConfig,
}

impl Arm {
    /// A name for the files of its run with a seed.
    #[must_use]
    pub fn run_name(&self, seed: u64) -> String {
        format!("{}-seed{seed}", self.label.replace([' ', ':', '='], "-").replace('σ', "sigma"))
    }
}

/// Every combination of modes, sigmas and learning rates, of which the configuration gives those that none are given of; mode
/// `none` has no sigma to vary.
#[must_use]
pub fn arm_grid(config: &RunConfig, modes: &[Mode], sigmas: &[f64], lrs: &[f64]) -> Vec<Arm> {
    let sigmas = if sigmas.is_empty() { &[config.sigma] } else { sigmas };
    let lrs = if lrs.is_empty() { &[config.lr] } else { lrs };
    let mut arms = Vec::new();
    for noise in modes {
        let sigmas_of_mode = if *noise == Mode::None { &[0.0] } else { sigmas };
        for sigma in sigmas_of_mode {
            for lr in lrs {
                let mut label = noise.to_string();
                if sigmas.len() > 1 && *noise != Mode::None {
                    label.push_str(&format!(" σ {sigma}"));
                }
                if lrs.len() > 1 {
                    label.push_str(&format!(" lr {lr}"));
                }
                let config = RunConfig { noise: *noise, sigma: *sigma, lr: *lr, ..config.clone() };
                arms.push(Arm { label, config });
            }
        }
    }
    arms
}

/// What a step of an arm costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct StepCost {
    /// Passes over samples, of which each may be over a part of them.
    pub passes: usize,
    /// Gradient evaluations over each sample: [`Compiled::gradient_evaluations`](crate::rules::Compiled::gradient_evaluations).
    pub gradient_evaluations: f64,
    /// Samples of a step, the mean over an epoch.
    pub samples: f64,
}

impl StepCost {
    fn new(trainer: &Trainer<'_>) -> Self {
        let (rule, samples) = (trainer.rule(), trainer.samples());
        let steps = samples.div_ceil(trainer.step_samples());
        let samples = samples as f64 / steps as f64;
        Self { passes: rule.phases().len(), gradient_evaluations: rule.gradient_evaluations(), samples }
    }
}

/// An arm's runs.
#[derive(Clone, Debug)]
pub struct ArmRuns {
    /// The arm.
    pub arm: Arm,
    /// Its training data in a line, as [`Prepared::training_data`](super::Prepared::training_data).
    pub data: String,
    /// The seeds, in order.
    pub seeds: Vec<u64>,
    /// One run a seed.
    pub runs: Vec<RunResult>,
    /// Traces at the end of each run, where they were asked for.
    pub traces: Vec<Traces>,
    /// That of its steps.
    pub cost: StepCost,
}

impl ArmRuns {
    /// Milliseconds a step, the median over the evaluations of all runs, each of the time since the one before; `None` before any.
    #[must_use]
    pub fn step_milliseconds(&self) -> Option<f64> {
        let records = self.runs.iter().flat_map(|run| &run.epochs);
        let times = records.map(|record| 1e3 * self.cost.samples / record.samples_per_second);
        let mut times: Vec<f64> = times.filter(|time| time.is_finite()).collect();
        times.sort_by(f64::total_cmp);
        let middle = times.get(times.len() / 2)?;
        Some(if times.len() % 2 == 1 { *middle } else { f64::midpoint(times[times.len() / 2 - 1], *middle) })
    }
}

/// Measures a trained network.
pub type Measure<'a> = dyn FnMut(&Trainer<'_>) -> Result<Option<Traces>, TrainError> + 'a;

/// Runs every arm with every seed. Data are made once per arm by `prepare`, which is [`Prepared::load`](super::Prepared::load) but for data in memory; `measure` may look at the trained network;
/// `observe` hears of (arm, seed, event).
///
/// # Errors
/// The first error of a run; [`TrainError::Config`] for an arm that would go back to checkpoints.
pub fn compare(
    gpu: &Gpu,
    arms: Vec<Arm>,
    seeds: &[u64],
    prepare: &Prepare<'_>,
    measure: &mut Measure<'_>,
    observe: &mut dyn FnMut(&Arm, u64, Event) -> Result<Control, TrainError>,
) -> Result<Vec<ArmRuns>, TrainError> {
    let mut all = Vec::with_capacity(arms.len());
    let mut stopped = false;
    for arm in arms {
        if arm.config.on_nan == OnNan::HalveSigma {
            let reason = "halve-sigma goes back to a checkpoint, which compared runs do not keep".to_owned();
            return Err(TrainError::Config { key: "on-nan".to_owned(), reason });
        }
        let prepared = prepare(&arm.config)?;
        let data = prepared.training_data();
        let mut arm_runs =
            ArmRuns { arm, data, seeds: Vec::new(), runs: Vec::new(), traces: Vec::new(), cost: StepCost::default() };
        for seed in seeds {
            if stopped {
                break;
            }
            let config = RunConfig { seed: *seed, ..arm_runs.arm.config.clone() };
            let mut trainer = Trainer::new(gpu, &config, &prepared)?;
            arm_runs.cost = StepCost::new(&trainer);
            let result = run(&mut trainer, &config, None, &mut |event| {
                let control = observe(&arm_runs.arm, *seed, event)?;
                stopped |= control == Control::Stop;
                Ok(control)
            })?;
            arm_runs.traces.extend(measure(&trainer)?);
            arm_runs.seeds.push(*seed);
            arm_runs.runs.push(result);
        }
        all.push(arm_runs);
    }
    Ok(all)
}
