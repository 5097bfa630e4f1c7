//! A training step with and without noise, in one process, taking turns.

use std::time::Instant;

use serde::Serialize;

use crate::{
    gpu::{Gpu, KernelTime, Profile},
    graph::{PlanMode, Schedule},
    kernels::AdapterClass,
    nn::Model,
    noise::Mode,
    train::{Precision, RunConfig, TrainError},
};

use super::{
    median_error, quantile,
    runner::{Runner, prepared},
    sorted,
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

/// Rounds below which a median says nothing.
const MIN_ROUNDS: u32 = 3;

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
        let rounds = self.rounds.max(1);
        // A multiple of the groups, so that mode `layer` meets each of them equally often in every round.
        let groups = match self.config.noise {
            Mode::Layer => runner.trainer.scheme().groups().len().max(1) as u32,
            Mode::None | Mode::All | Mode::Model => 1,
        };
        let each = self.steps.div_ceil(rounds).next_multiple_of(groups);
        let (mut noisy_ms, mut clean_ms, mut costs) = (Vec::new(), Vec::new(), Vec::new());
        let started = Instant::now();
        for round in 0..rounds {
            if round >= MIN_ROUNDS && started.elapsed().as_secs_f64() > self.seconds {
                break;
            }
            // The order alternates too, so that a drifting clock favours neither.
            let (n, c) = if round % 2 == 0 {
                let n = runner.time_with(true, each)?;
                (n, runner.time_with(false, each)?)
            } else {
                let c = runner.time_with(false, each)?;
                (runner.time_with(true, each)?, c)
            };
            noisy_ms.push(n);
            clean_ms.push(c);
            costs.push(100.0 * (n / c - 1.0));
        }
        runner.time_with(true, 1)?;
        let host_ms = runner.host_ms(self.seconds / 10.0)?;
        let kernels = self.kernels(gpu, &mut runner)?;
        let (class, element) = (AdapterClass::for_device(gpu), self.config.precision.element());
        let schedule = Schedule::suited(&model.graph, batch, PlanMode::Train, self.config.loss, element, gpu)?;
        let schedule = schedule.with_deferred_sums(class)?;
        let bytes = schedule.bytes(class)
            + self.config.optimizer_config().work(model.graph.layout().words(), self.config.precision.element()).bytes;
        let (noisy_ms, clean_ms, costs) = (sorted(noisy_ms), sorted(clean_ms), sorted(costs));
        let median_ms = quantile(&noisy_ms, 0.5);
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
            clean_median_ms: quantile(&clean_ms, 0.5),
            noise_cost_percent: quantile(&costs, 0.5),
            noise_cost_error: median_error(&costs),
            rounds: costs.len() as u32,
            host_ms,
            first_step_ms,
            first_step_after_start_ms,
            kernels,
        })
    }

    fn kernels(&self, gpu: &Gpu, runner: &mut Runner<'_>) -> Result<Option<Vec<KernelTime>>, TrainError> {
        if !self.profile {
            return Ok(None);
        }
        let mut profile = Profile::new(gpu)?;
        for _ in 0..self.steps {
            runner.timed_step(&mut profile)?;
        }
        Ok(Some(profile.times()))
    }
}
