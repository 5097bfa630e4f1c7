//! A run that survives: written down as it goes, and resumed after whatever ended it.

use std::{
    cell::LazyCell,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    durable,
    gpu::{Gpu, GpuError, Profile},
    noise::{NoiseConfig, Point},
    tensorboard::Value,
};

use super::{
    AUTO_BATCH, CheckpointError, Control, EpochRecord, Event, KeepOptions, Manifest, MetricsFile, OnNan, Options,
    Prepare, Prepared, RunConfig, RunResult, Status, StepRecord, TrainError, Trainer,
    checkpoint::{self, CheckpointFolder, Differences, Identity, Keeper, RunLock, Stored, newest},
    event_file::EventFile,
    journal::Journal,
    run::{run_kept, steps_per_epoch},
    vocabulary_file,
};

/// What a run does where the device is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnDeviceLost {
    /// It ends; the last checkpoint stays.
    #[default]
    Stop,
    /// It opens the device anew and resumes from the last checkpoint.
    Retry,
}

/// How a run is kept; changes nothing of its course.
#[derive(Clone, Copy, Debug, Default, PartialEq, clap::Args)]
pub struct SupervisorOptions {
    /// When checkpoints are written.
    #[command(flatten)]
    pub keep: KeepOptions,
    /// Where the device is lost (driver reset, watchdog): stop, or retry from the last checkpoint
    #[arg(long, value_name = "WHAT", default_value = "stop")]
    pub on_device_lost: OnDeviceLost,
}

/// Losses of the device without a new checkpoint between them, after which a run gives up.
const FRUITLESS_RETRIES: u32 = 3;

/// Times the noise is halved before a run gives up: to a thousandth.
const HALVINGS: u32 = 10;

/// The file in a run's folder that says what is run.
pub(super) const CONFIG: &str = "config.toml";

/// What a supervisor says as it goes.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "passed on, not kept")]
pub enum Message<'a> {
    /// The loop's.
    Event(Event),
    /// Something that was survived or passed over, in a sentence.
    Notice(&'a str),
}

/// Hears of everything, and may stop the run.
pub type Observe<'a> = dyn FnMut(Message<'_>) -> Result<Control, TrainError> + 'a;

/// What is done with the trained network before it goes.
pub type Finish<'a, T> = dyn FnMut(&Trainer<'_>, &RunResult, Option<Profile>) -> Result<T, TrainError> + 'a;

/// A run in a folder that it keeps other processes out of: its configuration as it is run in `config.toml`, its metrics in
/// `metrics.jsonl`, its checkpoints in `checkpoints/`, and beside them TensorBoard's events where asked for.
#[derive(Debug)]
pub struct Supervisor {
    run: PathBuf,
    folder: CheckpointFolder,
    options: SupervisorOptions,
    config: RunConfig,
    prepared: Prepared,
    /// The checkpoint to begin from.
    from: Option<(Stored, Manifest)>,
    /// Whether that may be one of another run.
    force: bool,
    /// Whether it is this run's own, written or compared already.
    own: bool,
    /// Whether the device was ever there.
    opened: bool,
    _lock: RunLock,
}

/// How an attempt ended.
enum Attempt<T> {
    Done(RunResult, T),
    /// The loss was not finite, and the noise is to be halved.
    Halve {
        step: u64,
    },
}

impl Supervisor {
    /// A new run in a folder that is there; checkpoints of an earlier one go.
    ///
    /// # Errors
    /// [`CheckpointError::Locked`], those of the file system, and those of [`Prepared::load`].
    pub fn new(run: &Path, config: RunConfig, options: SupervisorOptions) -> Result<Self, TrainError> {
        let prepared = Prepared::load(&config)?;
        Self::with_prepared(run, config, prepared, options)
    }

    /// As [`Supervisor::new`], of data and a model that are there already.
    ///
    /// # Errors
    /// As [`Supervisor::new`].
    pub fn with_prepared(
        run: &Path,
        config: RunConfig,
        prepared: Prepared,
        options: SupervisorOptions,
    ) -> Result<Self, TrainError> {
        let lock = RunLock::take(run)?;
        let folder = CheckpointFolder::in_run(run);
        folder.clear()?;
        let supervisor = Self {
            run: run.to_owned(),
            folder,
            options,
            config,
            prepared,
            from: None,
            force: false,
            own: true,
            opened: false,
            _lock: lock,
        };
        supervisor.write_config()?;
        Ok(supervisor)
    }

    /// Resumes the run in a folder from its newest checkpoint that is whole, with its configuration but for the options
    /// given in `changes`; `notify` hears of checkpoints that are not.
    ///
    /// With `force` it resumes though configuration, model or data are others than the checkpoint's.
    ///
    /// # Errors
    /// [`CheckpointError::None`], [`CheckpointError::Damaged`], [`CheckpointError::Locked`], those of [`Prepared::load`].
    pub fn resume(
        run: &Path,
        changes: &Options,
        options: SupervisorOptions,
        force: bool,
        notify: &mut dyn FnMut(&str),
    ) -> Result<Self, TrainError> {
        Self::resume_with(run, changes, options, force, &Prepared::load, notify)
    }

    /// As [`Supervisor::resume`], with `prepare` to make data and model of the configuration.
    ///
    /// # Errors
    /// As [`Supervisor::resume`], and those of `prepare`.
    pub fn resume_with(
        run: &Path,
        changes: &Options,
        options: SupervisorOptions,
        force: bool,
        prepare: &Prepare<'_>,
        notify: &mut dyn FnMut(&str),
    ) -> Result<Self, TrainError> {
        let folder = CheckpointFolder::in_run(run);
        let none = || CheckpointError::None { folder: folder.root().to_owned() };
        if folder.list()?.is_empty() {
            return Err(none().into());
        }
        let lock = RunLock::take(run)?;
        let from = newest(&folder, notify)?.ok_or_else(none)?;
        let config = from.1.config.with(changes)?;
        let prepared = prepare(&config)?;
        let (run, from) = (run.to_owned(), Some(from));
        Ok(Self { run, folder, options, config, prepared, from, force, own: false, opened: false, _lock: lock })
    }

    /// Writes down what is run now: as it was asked for, with the batch that fits, or with the noise halved.
    fn write_config(&self) -> Result<(), TrainError> {
        let path = self.run.join(CONFIG);
        let config = |reason: String| TrainError::Config { key: "configuration".to_owned(), reason };
        let text = toml::to_string(&self.config).map_err(|error| config(error.to_string()))?;
        durable::write_file(&path, text.as_bytes()).map_err(|source| TrainError::Io { path, source })?;
        vocabulary_file::write(&self.run, &self.prepared)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Data and model.
    #[must_use]
    pub fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// Steps done in the newest checkpoint that is whole.
    #[must_use]
    pub fn newest_step(&self) -> Option<u64> {
        let (_, manifest) = newest(&self.folder, &mut |_| ()).ok().flatten()?;
        Some(manifest.position.step)
    }

    /// The rows of the metrics so far.
    ///
    /// # Errors
    /// As [`MetricsFile::read`].
    pub fn metrics(&self) -> Result<(Vec<StepRecord>, Vec<EpochRecord>), TrainError> {
        MetricsFile::read(&Journal::metrics_path(&self.run))
    }

    /// Appends a picture of the run, which has ended, to its events if it has some: a PNG of so many pixels.
    ///
    /// # Errors
    /// [`TrainError::Io`].
    pub fn add_picture(&self, tag: &str, step: u64, size: (u32, u32), png: &[u8]) -> Result<(), TrainError> {
        if !self.config.tensorboard {
            return Ok(());
        }
        EventFile::picture(&self.run, tag, step, Value::Image { width: size.0, height: size.1, png })
    }

    /// Runs to the end. `open` opens the device, again after it was lost; `finish` sees the trained network.
    ///
    /// # Errors
    /// Those of the device, the files, `observe` and `finish`; [`TrainError::Stopped`] where there is a checkpoint to resume from.
    pub fn run<T>(
        &mut self,
        open: &dyn Fn() -> Result<Gpu, TrainError>,
        profiled: bool,
        observe: &mut Observe<'_>,
        finish: &mut Finish<'_, T>,
    ) -> Result<(RunResult, T), TrainError> {
        let (mut fruitless, mut reached, mut halvings) = (0, None, 0);
        loop {
            let error = match self.try_once(open, profiled, halvings < HALVINGS, observe, finish) {
                Ok(Attempt::Done(result, value)) => return Ok((result, value)),
                Ok(Attempt::Halve { step }) => {
                    halvings += 1;
                    self.config.sigma /= 2.0;
                    let sigma = self.config.sigma;
                    tell(observe, &format!("the loss of step {step} is not finite: sigma is now {sigma:e}"))?;
                    None
                }
                Err(error) => Some(error),
            };
            if let Some(error) = error {
                let newest = self.newest_step();
                fruitless = if newest == reached { fruitless + 1 } else { 1 };
                reached = newest;
                if !self.retries(&error) || fruitless > FRUITLESS_RETRIES {
                    return Err(self.stopped(error, newest));
                }
                tell(observe, &format!("{error}; trying again"))?;
                std::thread::sleep(Duration::from_secs(u64::from(fruitless)));
            }
            self.from = newest(&self.folder, &mut |text| log::warn!("{text}"))?;
        }
    }

    /// Whether a run is tried again after an error: the device was lost, or has not come back yet.
    fn retries(&self, error: &TrainError) -> bool {
        let TrainError::Gpu(error) = error else { return false };
        let gone = matches!(error, GpuError::NoAdapter | GpuError::RequestDevice { .. }) && self.opened;
        self.options.on_device_lost == OnDeviceLost::Retry && (gone || matches!(error, GpuError::DeviceLost { .. }))
    }

    fn try_once<T>(
        &mut self,
        open: &dyn Fn() -> Result<Gpu, TrainError>,
        profiled: bool,
        may_halve: bool,
        observe: &mut Observe<'_>,
        finish: &mut Finish<'_, T>,
    ) -> Result<Attempt<T>, TrainError> {
        let gpu = open()?;
        self.opened = true;
        self.attempt(&gpu, profiled, may_halve, observe, finish)
            .map_err(|error| gpu.lost().map_or(error, TrainError::Gpu))
    }

    /// An error with the checkpoint that stays, but where the checkpoint itself is what is wrong.
    fn stopped(&self, error: TrainError, newest: Option<u64>) -> TrainError {
        match (error, newest) {
            (error @ TrainError::Checkpoint(CheckpointError::Foreign { .. }), _) | (error, None) => error,
            (error, Some(step)) => TrainError::Stopped { source: Box::new(error), step, run: self.run.clone() },
        }
    }

    fn attempt<T>(
        &mut self,
        gpu: &Gpu,
        profiled: bool,
        may_halve: bool,
        observe: &mut Observe<'_>,
        finish: &mut Finish<'_, T>,
    ) -> Result<Attempt<T>, TrainError> {
        let adapter = format!("{}, {}", gpu.adapter_name(), gpu.driver());
        let identity = LazyCell::new(|| Identity::new(&self.prepared, adapter));
        let from = self.from.take();
        if let Some((stored, manifest)) = &from {
            if !self.own {
                self.compare(stored, manifest, &identity, observe)?;
                self.own = true;
            }
            tell(observe, &format!("resuming after step {} from {}", manifest.position.step, stored.path.display()))?;
        }
        // The weights that a run began from are no longer needed, and may be gone.
        let init = self.config.init.clone().filter(|_| from.is_none());
        let mut trainer = Trainer::new(gpu, &RunConfig { init, ..self.config.clone() }, &self.prepared)?;
        if self.config.batch == AUTO_BATCH {
            self.config.batch = trainer.batch();
            tell(observe, &format!("batches of {} samples are the largest that fit", trainer.batch()))?;
        }
        self.write_config()?;
        let journal = match &from {
            Some((stored, manifest)) => {
                restore(&mut trainer, stored, manifest, &self.config)?;
                Journal::resume(&self.run, &self.config, manifest)?
            }
            None => Journal::begin(&self.run, &self.config)?,
        };
        let manifest = from.as_ref().map(|(_, manifest)| manifest);
        let mut keeper = Keeper::new(&self.folder, self.options.keep, (&self.config, &identity), journal, manifest)?;
        let mut profile = profiled.then(|| Profile::new(gpu)).transpose()?;
        let mut heard = |event| observe(Message::Event(event));
        let result = run_kept(&mut trainer, &self.config, profile.as_mut(), Some(&mut keeper), &mut heard)?;
        match result.status {
            Status::Diverged { step, sigma, .. }
                if sigma > 0.0 && may_halve && self.config.on_nan == OnNan::HalveSigma =>
            {
                Ok(Attempt::Halve { step })
            }
            _ => finish(&trainer, &result, profile).map(|value| Attempt::Done(result, value)),
        }
    }

    /// Checks the checkpoint to begin from against what is at hand.
    fn compare(
        &self,
        stored: &Stored,
        manifest: &Manifest,
        identity: &Identity,
        observe: &mut Observe<'_>,
    ) -> Result<(), TrainError> {
        let Differences { refused, notices } = checkpoint::differences(manifest, &self.config, identity);
        if !refused.is_empty() && !self.force {
            return Err(CheckpointError::Foreign { path: stored.path.clone(), differences: refused }.into());
        }
        for difference in &refused {
            tell(observe, &format!("ignored by --force: {difference}"))?;
        }
        notices.iter().try_for_each(|notice| tell(observe, notice))
    }
}

fn tell(observe: &mut Observe<'_>, notice: &str) -> Result<(), TrainError> {
    // Whether to stop is asked again at the next step.
    observe(Message::Notice(notice)).map(|_| ())
}

/// Where a step begins by a configuration.
fn start(trainer: &Trainer<'_>, config: &RunConfig, step: u64) -> Result<Point, TrainError> {
    Ok(config.rule_for(&trainer.model)?.start(step, config.length(steps_per_epoch(trainer)).moment(step)))
}

/// Puts a trainer of a configuration where a checkpoint stands.
fn restore(
    trainer: &mut Trainer<'_>,
    stored: &Stored,
    manifest: &Manifest,
    config: &RunConfig,
) -> Result<(), TrainError> {
    let position = &manifest.position;
    let per_epoch = steps_per_epoch(trainer);
    let expected = [position.step / per_epoch, position.step % per_epoch];
    if [position.epoch, position.step_of_epoch] != expected {
        let reason = format!(
            "step {} is step {} of epoch {}, expected step {} of epoch {} with {per_epoch} steps an epoch",
            position.step, position.step_of_epoch, position.epoch, expected[1], expected[0]
        );
        return Err(CheckpointError::Content { path: stored.path.join(checkpoint::MANIFEST), reason }.into());
    }
    // With the noise halved, or another asked for, what the checkpoint holds is not what the next step needs.
    let [then, now] = [start(trainer, &manifest.config, position.step)?, start(trainer, config, position.step)?];
    let kind = |config: &RunConfig| {
        let NoiseConfig { scale, distribution, groups, .. } = config.noise_config();
        (scale, distribution, groups)
    };
    let same = then == now && kind(&manifest.config) == kind(config);
    checkpoint::restore(trainer, stored, manifest, same.then_some(now))
}
