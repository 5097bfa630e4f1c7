//! A trainer on random samples, step by step: what the benches of a training step share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use crate::{
    data::{Dataset, SampleShape, Samples, Split, Targets},
    gpu::{Family, Gpu, KernelTime, Profile},
    graph::ValueShape,
    nn::Model,
    noise::{Distribution, Mode, NoiseConfig, NoisePart, NoiseScheme, Scale, Scheme, StepNoise, philox},
    ops::Loss,
    rules::Rule,
    schedule::{Clock, Moment},
    train::{Prepared, RunConfig, TrainError, TrainStep, Trainer},
};

use super::{quantile, sorted, stopwatch::warm_up};

/// Steps over which the host's time is a median, if they do not take too long.
const HOST_STEPS: usize = 20;

/// Steps below which a median says nothing.
const MIN_STEPS: usize = 3;

/// Random samples for a model: as many as four batches.
pub(super) fn prepared(model: &Model, batch: usize, loss: Loss) -> Prepared {
    let (input, output) = (model.graph.shape(model.graph.input()), model.graph.shape(model.graph.output()));
    let [channels, height, width] = input.sample_sides();
    let (shape, classes) = (SampleShape { channels, height, width }, model.classes());
    let word = |i: usize, what: u32, stream: u32| philox([i as u32, what, 0, stream], [1, 2])[0];
    let samples = |values: usize, stream: u32| match input {
        ValueShape::Tokens { vocabulary, .. } => {
            Samples::U32((0..values).map(|i| word(i, 0, stream) % vocabulary as u32).collect())
        }
        _ => Samples::U8((0..values).map(|i| word(i, 0, stream) as u8).collect()),
    };
    let targets = |len: usize, stream: u32| {
        let labels = |count: usize| (0..count).map(|i| word(i, 1, stream) % classes as u32).collect();
        match output {
            ValueShape::Sequence { length, .. } => {
                Targets::Tokens { tokens: labels(len * length), length, vocabulary: classes }
            }
            _ => Targets::Classes { labels: labels(len), classes },
        }
    };
    let data = |len: usize, stream: u32| Dataset {
        name: "random".to_owned(),
        samples: samples(len * model.features(), stream),
        targets: targets(len, stream),
        shape,
        full_scale: 255.0,
        published: &[],
    };
    let split = Split { train: data(4 * batch, 0), test: data(1, 1) };
    Prepared { split, validation: None, model: model.clone(), loss: loss.into(), label_noise: None }
}

/// The noise of a run, which can be turned off, so that steps with it and without go through the very same memory: on an H200
/// two copies of one step differed by 2 % by where they lay.
#[derive(Debug)]
struct Switched {
    noisy: Scheme,
    clean: Scheme,
    is_off: Arc<AtomicBool>,
}

impl NoiseScheme for Switched {
    fn at(&self, step: u64, when: Moment) -> StepNoise {
        let scheme = if self.is_off.load(Ordering::Relaxed) { &self.clean } else { &self.noisy };
        scheme.at(step, when)
    }

    fn scales(&self) -> Vec<f32> {
        self.noisy.scales()
    }

    fn groups(&self) -> &[Vec<NoisePart>] {
        self.noisy.groups()
    }

    fn distribution(&self) -> Distribution {
        self.noisy.config().distribution
    }

    fn scale(&self) -> Scale {
        self.noisy.config().scale
    }
}

/// A network in training on samples that lie on the device.
pub(super) struct Runner<'g> {
    pub(super) trainer: Trainer<'g>,
    batch: usize,
    noise_is_off: Arc<AtomicBool>,
}

impl<'g> Runner<'g> {
    /// Builds a trainer and takes its first step; gives the milliseconds of both, in which pipelines compile.
    pub(super) fn start(gpu: &'g Gpu, config: &RunConfig, prepared: &Prepared) -> Result<(Self, f64), TrainError> {
        let started = Instant::now();
        let (layout, tensors) = (prepared.model.graph.layout(), prepared.model.noise_tensors());
        let (noisy, noise_is_off) = (config.noise_config(), Arc::<AtomicBool>::default());
        let clean = NoiseConfig { mode: Mode::None, ..noisy.clone() };
        let scheme = |noise| Scheme::new(noise, &layout, &tensors, config.seed);
        let switched = Switched { noisy: scheme(noisy), clean: scheme(clean), is_off: noise_is_off.clone() };
        let trainer = Trainer::with_rule(gpu, config, prepared, &Rule::noise(switched))?;
        let mut runner = Self { batch: trainer.batch(), trainer, noise_is_off };
        runner.begin()?;
        Ok((runner, started.elapsed().as_secs_f64() * 1e3))
    }

    /// As [`Runner::start`], by the rule that the configuration names.
    pub(super) fn by_rule(gpu: &'g Gpu, config: &RunConfig, prepared: &Prepared) -> Result<Self, TrainError> {
        let trainer = Trainer::new(gpu, config, prepared)?;
        let mut runner = Self { batch: trainer.batch(), trainer, noise_is_off: Arc::default() };
        runner.begin()?;
        Ok(runner)
    }

    fn begin(&mut self) -> Result<(), TrainError> {
        self.trainer.set_clock(Clock::Stopped);
        self.step(None)?;
        Ok(self.trainer.gpu().wait()?)
    }

    /// Steps in which mode `layer` meets each group once; 1 in other modes.
    pub(super) fn cycle(&self, mode: Mode) -> u32 {
        match mode {
            Mode::Layer => self.trainer.scheme().groups().len().max(1) as u32,
            Mode::None | Mode::All | Mode::Model => 1,
        }
    }

    /// Records and submits one step; returns the host's milliseconds.
    pub(super) fn step(&mut self, profile: Option<&mut Profile>) -> Result<f64, TrainError> {
        let started = Instant::now();
        let step = self.trainer.steps_done();
        let first = (step % 4) as usize * self.batch;
        let rate = self.trainer.rate(1e-3);
        self.trainer.train_step(TrainStep { first, valid: self.batch, rate }, profile)?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }

    /// Milliseconds per step over `count` steps submitted one after the other.
    pub(super) fn time(&mut self, count: u32) -> Result<f64, TrainError> {
        self.trainer.gpu().wait()?;
        let started = Instant::now();
        for _ in 0..count {
            self.step(None)?;
        }
        self.trainer.gpu().wait()?;
        Ok(started.elapsed().as_secs_f64() * 1e3 / f64::from(count))
    }

    /// As [`Runner::time`], with the noise of the run or without, after a step in which the weights are made to match.
    pub(super) fn time_with(&mut self, noise: bool, count: u32) -> Result<f64, TrainError> {
        self.noise_is_off.store(!noise, Ordering::Relaxed);
        self.step(None)?;
        self.time(count)
    }

    /// Takes steps until a GPU's clock has risen; one on a software adapter.
    pub(super) fn warm_up(&mut self) -> Result<(), TrainError> {
        let gpu = self.trainer.gpu();
        warm_up(gpu, || self.time(1))
    }

    /// Takes a step in which every kernel is timed. On a GPU it follows one on which the device is busy while the host records
    /// the timed one: with pauses between such steps the clock would fall.
    pub(super) fn timed_step(&mut self, profile: &mut Profile) -> Result<(), TrainError> {
        if self.trainer.gpu().family() != Family::Software {
            self.step(None)?;
        }
        self.step(Some(profile)).map(|_| ())
    }

    /// Time per kernel over so many steps.
    pub(super) fn kernels(&mut self, steps: u32) -> Result<Vec<KernelTime>, TrainError> {
        let mut profile = Profile::new(self.trainer.gpu())?;
        (0..steps).try_for_each(|_| self.timed_step(&mut profile))?;
        Ok(profile.times())
    }

    /// Milliseconds of recording and submitting a step, the device idle before each: the median of a few steps, of which
    /// none begins after `seconds` once there are three.
    pub(super) fn host_ms(&mut self, seconds: f64) -> Result<f64, TrainError> {
        let times = self.repeat(HOST_STEPS, seconds, |runner| {
            runner.trainer.gpu().wait()?;
            runner.step(None)
        })?;
        Ok(quantile(&sorted(times), 0.5))
    }

    /// What `one` gives, `most` times, or until `seconds` have gone by and it was run three times.
    pub(super) fn repeat<T>(
        &mut self,
        most: usize,
        seconds: f64,
        mut one: impl FnMut(&mut Self) -> Result<T, TrainError>,
    ) -> Result<Vec<T>, TrainError> {
        let started = Instant::now();
        let mut results = Vec::new();
        while results.len() < most && (results.len() < MIN_STEPS || started.elapsed().as_secs_f64() < seconds) {
            results.push(one(self)?);
        }
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{gpu::AdapterChoice, kernels::Activation};

    /// Kernels of a step and how often each ran.
    fn dispatches(gpu: &Gpu, mode: Mode, off: bool) -> Vec<(String, u64)> {
        let model = Model::mlp(&[8, 6, 4], Activation::Relu).unwrap_or_else(|error| panic!("{error}"));
        let config = RunConfig { noise: mode, batch: 4, ..RunConfig::default() };
        let data = prepared(&model, config.batch, config.loss);
        let (mut runner, _) = Runner::start(gpu, &config, &data).unwrap_or_else(|error| panic!("{error}"));
        if off {
            runner.time_with(false, 1).unwrap_or_else(|error| panic!("{error}"));
        }
        let mut profile = Profile::new(gpu).unwrap_or_else(|error| panic!("{error}"));
        runner.timed_step(&mut profile).unwrap_or_else(|error| panic!("{error}"));
        profile.times().into_iter().map(|time| (time.kernel, time.count)).collect()
    }

    #[test]
    fn a_step_with_the_noise_turned_off_is_one_of_mode_none() {
        let gpu = Gpu::new(&AdapterChoice::from_environment()).unwrap_or_else(|error| panic!("{error}"));
        let sorted = |mut kernels: Vec<(String, u64)>| {
            kernels.sort();
            kernels
        };
        let none = sorted(dispatches(&gpu, Mode::None, false));
        for mode in [Mode::Layer, Mode::All] {
            assert_eq!(sorted(dispatches(&gpu, mode, true)), none, "{mode}");
        }
        assert_ne!(sorted(dispatches(&gpu, Mode::Layer, false)), none, "noise is in the update's dispatches");
    }
}
