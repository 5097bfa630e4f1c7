//! A training step with and without noise, in one process, taking turns.

use std::time::Instant;

use serde::Serialize;

use crate::{
    data::{Dataset, SampleShape, Split},
    gpu::{Gpu, KernelTime, Profile},
    graph::{Mode as PlanMode, Schedule, ValueShape},
    nn::Model,
    noise::{Mode, philox},
    train::{Prepared, RunConfig, TrainError, Trainer},
};

use super::{median_error, quantile, sorted};

/// What to time: the model, batch, optimizer and noise of `config`, on random samples that lie on the device.
#[derive(Clone, Debug)]
pub struct StepBench {
    /// The run; its data are not used.
    pub config: RunConfig,
    /// Timed steps of each kind.
    pub steps: u32,
    /// Rounds over which noisy and clean steps alternate; the shorter they are, the less a drifting clock weighs.
    pub rounds: u32,
    /// No further round begins after this long, once there are three.
    pub seconds: f64,
    /// Whether to time every kernel as well, in steps of their own.
    pub profile: bool,
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
    /// Time per kernel, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernels: Option<Vec<KernelTime>>,
}

/// Rounds below which a median says nothing.
const MIN_ROUNDS: u32 = 3;

/// Random samples for a model: as many as four batches.
fn prepared(model: &Model, batch: usize) -> Prepared {
    let shape = match model.graph.shape(model.graph.input()) {
        ValueShape::Features(width) => SampleShape { channels: 1, height: 1, width },
        ValueShape::Image { channels, height, width } => SampleShape { channels, height, width },
    };
    let data = |len: usize, stream: u32| Dataset {
        name: "random".to_owned(),
        pixels: (0..len * model.features()).map(|i| philox([i as u32, 0, 0, stream], [1, 2])[0] as u8).collect(),
        labels: (0..len).map(|i| philox([i as u32, 1, 0, stream], [1, 2])[0] % model.classes() as u32).collect(),
        shape,
        classes: model.classes(),
        full_scale: 255.0,
        published: &[],
    };
    Prepared { split: Split { train: data(4 * batch, 0), test: data(1, 1) }, model: model.clone() }
}

struct Runner<'g> {
    trainer: Trainer<'g>,
    batch: usize,
}

impl Runner<'_> {
    /// Records and submits one step; returns the host's milliseconds.
    fn step(&mut self, profile: Option<&mut Profile>) -> Result<f64, TrainError> {
        let started = Instant::now();
        let step = self.trainer.steps_done();
        let next = self.trainer.scheme().at(step + 1, 0, 1);
        self.trainer.train_step((step % 4) as usize * self.batch, self.batch, 1e-3, &next, profile)?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }

    /// Milliseconds per step over `count` steps submitted one after the other.
    fn time(&mut self, count: u32) -> Result<f64, TrainError> {
        self.trainer.gpu().wait()?;
        let started = Instant::now();
        for _ in 0..count {
            self.step(None)?;
        }
        self.trainer.gpu().wait()?;
        Ok(started.elapsed().as_secs_f64() * 1e3 / f64::from(count))
    }
}

impl StepBench {
    /// Measures.
    ///
    /// # Errors
    /// Those of the device.
    pub fn run(&self, gpu: &Gpu) -> Result<StepReport, TrainError> {
        let model: Model = self.config.model.parse()?;
        let batch = self.config.batch;
        let prepared = prepared(&model, batch);
        let started = Instant::now();
        let mut noisy = Runner { trainer: Trainer::new(gpu, &self.config, &prepared)?, batch };
        noisy.step(None)?;
        gpu.wait()?;
        let first_step_ms = started.elapsed().as_secs_f64() * 1e3;
        let clean_config = RunConfig { noise: Mode::None, ..self.config.clone() };
        let mut clean = Runner { trainer: Trainer::new(gpu, &clean_config, &prepared)?, batch };
        clean.time(2)?;
        noisy.time(2)?;
        let rounds = self.rounds.max(1);
        // A multiple of the groups, so that mode `layer` meets each of them equally often in every round.
        let groups = match self.config.noise {
            Mode::Layer => noisy.trainer.scheme().groups().len().max(1) as u32,
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
                let n = noisy.time(each)?;
                (n, clean.time(each)?)
            } else {
                let c = clean.time(each)?;
                (noisy.time(each)?, c)
            };
            noisy_ms.push(n);
            clean_ms.push(c);
            costs.push(100.0 * (n / c - 1.0));
        }
        let mut host = Vec::new();
        for _ in 0..20 {
            gpu.wait()?;
            host.push(noisy.step(None)?);
        }
        let kernels = self.kernels(gpu, &mut noisy)?;
        let schedule = Schedule::stored(&model.graph, batch, PlanMode::Train, self.config.precision.element())?;
        let words = model.graph.layout().words() as u64;
        // The update reads grads, state and weights and writes state, weights and weights_eff.
        let update_bytes = words * 4 * (4 + 2 * noisy.trainer.optimizer_state_arenas() as u64);
        let (noisy_ms, clean_ms, costs) = (sorted(noisy_ms), sorted(clean_ms), sorted(costs));
        let median_ms = quantile(&noisy_ms, 0.5);
        Ok(StepReport {
            adapter: gpu.adapter_name().to_owned(),
            model: self.config.model.clone(),
            batch,
            noise: self.config.noise,
            median_ms,
            p10_ms: quantile(&noisy_ms, 0.1),
            p90_ms: quantile(&noisy_ms, 0.9),
            samples_per_second: batch as f64 / median_ms * 1e3,
            gflops: schedule.flops() as f64 / median_ms * 1e-6,
            gigabytes_per_second: (schedule.bytes() + update_bytes) as f64 / median_ms * 1e-6,
            clean_median_ms: quantile(&clean_ms, 0.5),
            noise_cost_percent: quantile(&costs, 0.5),
            noise_cost_error: median_error(&costs),
            rounds: costs.len() as u32,
            host_ms: quantile(&sorted(host), 0.5),
            first_step_ms,
            kernels,
        })
    }

    fn kernels(&self, gpu: &Gpu, of: &mut Runner<'_>) -> Result<Option<Vec<KernelTime>>, TrainError> {
        if !self.profile {
            return Ok(None);
        }
        let mut profile = Profile::new(gpu)?;
        for _ in 0..self.steps {
            of.step(Some(&mut profile))?;
        }
        Ok(Some(profile.times()))
    }
}
