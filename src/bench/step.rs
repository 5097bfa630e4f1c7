//! A training step with and without noise, in one process, taking turns.

use std::time::Instant;

use serde::Serialize;

use crate::{
    gpu::{Gpu, KernelTime},
    graph::{PlanMode, Schedule},
    kernels::AdapterClass,
    nn::Model,
    noise::Mode,
    train::{Precision, RunConfig, TrainError},
};

use super::{
    quantile,
    runner::{Runner, prepared},
    turns::{Rounds, Turns},
};

/// What to time: the model, batch, optimizer and noise of `config`, on random samples that lie on the device.
#[derive(Clone, Debug)]
pub struct StepBench {
    /// The run; its data are not used, nor its model but for the report.
    pub config: RunConfig,
    /// The model of the step.
    pub model: Model,
    /// Timed steps of each kind.
    pub steps: u32,
    /// Rounds over which noisy and clean steps alternate; the shorter they are, the less a drifting clock weighs.
    pub rounds: u32,
    /// No further round begins after this long, once there are three.
    pub seconds: f64,
    /// Whether to time every kernel as well, in steps of their own.
    pub profile: bool,
    /// When the process began.
    pub process_start: Instant,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// The adapter.
    pub adapter: String,
    /// The model.
    pub model: String,
    /// Samples a step.
    pub batch: usize,
    /// How activations and effective weights are stored.
    pub precision: Precision,
    /// The noise mode.
    pub noise: Mode,
    /// Milliseconds from one step's end to the next's, median.
    pub median_ms: f64,
    /// First decile.
    pub p10_ms: f64,
    /// Last decile.
    pub p90_ms: f64,
    /// Batch over median.
    pub samples_per_second: f64,
    /// Floating-point operations of the products over the median.
    pub gflops: f64,
    /// Bytes of every operand of every dispatch, each counted once a dispatch, over the median.
    pub gigabytes_per_second: f64,
    /// The same step without noise.
    pub clean_median_ms: f64,
    /// Median over paired rounds of (noisy / clean - 1), in per cent.
    pub noise_cost_percent: f64,
    /// Standard error of that median, from the rounds' interquartile range as if they were normal.
    pub noise_cost_error: f64,
    /// Rounds that were run.
    pub rounds: u32,
    /// Recording and submitting a step on the host, median, with the device idle before each.
    pub host_ms: f64,
    /// From building the trainer to the end of the first step: pipelines compile here.
    pub first_step_ms: f64,
    /// From the start of the process to the end of the first step: opening the device and making samples count too.
    pub first_step_after_start_ms: f64,
    /// Time per kernel, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernels: Option<Vec<KernelTime>>,
}

/// The contenders, in order.
const NOISY: usize = 0;
const CLEAN: usize = 1;

impl StepBench {
    /// Measures.
    ///
    /// # Errors
    /// Those of the device.
    pub fn run(&self, gpu: &Gpu) -> Result<StepReport, TrainError> {
        let model = &self.model;
        let batch = self.config.batch;
        let prepared = prepared(model, batch, self.config.loss);
        let (mut runner, first_step_ms) = Runner::start(gpu, &self.config, &prepared)?;
        let first_step_after_start_ms = self.process_start.elapsed().as_secs_f64() * 1e3;
        runner.time_with(false, 2)?;
        runner.time_with(true, 2)?;
        let each = self.steps.div_ceil(self.rounds.max(1)).next_multiple_of(runner.cycle(self.config.noise));
        let rounds = Rounds { most: self.rounds, seconds: self.seconds };
        let turns = Turns::take(2, rounds, |number| runner.time_with(number == NOISY, each))?;
        runner.time_with(true, 1)?;
        let host_ms = runner.host_ms(self.seconds / 10.0)?;
        let kernels = self.profile.then(|| runner.kernels(self.steps)).transpose()?;
        let (class, element) = (AdapterClass::for_device(gpu), self.config.precision.element());
        let schedule = Schedule::suited(&model.graph, batch, PlanMode::Train, self.config.loss, element, gpu)?;
        let schedule = schedule.with_deferred_sums(class)?;
        let bytes = schedule.bytes(class)
            + self.config.optimizer_config().work(model.graph.layout().words(), self.config.precision.element()).bytes;
        let noisy_ms = turns.sorted(NOISY);
        let median_ms = quantile(&noisy_ms, 0.5);
        let (ratio, ratio_error) = turns.ratio(NOISY, CLEAN);
        Ok(StepReport {
            adapter: gpu.adapter_name().to_owned(),
            model: self.config.model.clone(),
            batch,
            precision: self.config.precision,
            noise: self.config.noise,
            median_ms,
            p10_ms: quantile(&noisy_ms, 0.1),
            p90_ms: quantile(&noisy_ms, 0.9),
            samples_per_second: batch as f64 / median_ms * 1e3,
            gflops: schedule.flops() as f64 / median_ms * 1e-6,
            gigabytes_per_second: bytes as f64 / median_ms * 1e-6,
            clean_median_ms: turns.median(CLEAN),
            noise_cost_percent: 100.0 * (ratio - 1.0),
            noise_cost_error: 100.0 * ratio_error,
            rounds: turns.rounds(),
            host_ms,
            first_step_ms,
            first_step_after_start_ms,
            kernels,
        })
    }
}
