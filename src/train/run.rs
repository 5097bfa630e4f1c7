//! The loop over epochs and steps.

use std::time::Instant;

use crate::{
    data::epoch_order,
    gpu::{PendingRead, Profile},
    optim::LearningRate,
    schedule::RunLength,
};

use super::{
    CheckpointError, EpochRecord, OnNan, Position, Precision, RunConfig, Scores, StepRecord, TrainError, Trainer,
    checkpoint::Keeper, trainer::RING,
};

/// What the loop tells as it goes.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A step was submitted; of so many.
    Progress {
        /// Steps submitted.
        step: u64,
        /// Steps of the run.
        total: u64,
    },
    /// A step's metrics are back.
    Step(StepRecord),
    /// An epoch is done.
    Epoch(EpochRecord),
}

/// What the loop should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// End after this step, as if it were the last.
    Stop,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Status {
    /// All steps done.
    Finished,
    /// Stopped by the caller.
    Interrupted,
    /// The loss of this step was no finite number, or the weights after it, which are looked at for checkpoints.
    Diverged {
        /// The first such step.
        step: u64,
        /// Its noisy group in mode `layer`.
        group: Option<usize>,
        /// Standard deviation of its noise.
        sigma: f64,
    },
}

/// What a run leaves beside its weights.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// One record an epoch.
    pub epochs: Vec<EpochRecord>,
    /// How it ended.
    pub status: Status,
}

/// A step whose loss is still on the device.
#[derive(Clone, Copy, Debug)]
struct Sent {
    record: StepRecord,
    valid: usize,
}

struct Loop<'a, 'g, 'k> {
    trainer: &'a mut Trainer<'g>,
    config: &'a RunConfig,
    observe: &'a mut dyn FnMut(Event) -> Result<Control, TrainError>,
    keeper: Option<&'a mut Keeper<'k>>,
    sent: Vec<Sent>,
    reading: Option<(PendingRead, Vec<Sent>)>,
    /// The step whose loss, or the weights after it, ends the run.
    diverged: Option<StepRecord>,
    /// The step submitted last.
    last: Option<StepRecord>,
    /// Losses of the epoch under way that are finite, and the first that is not.
    finite: u64,
    broken: Option<StepRecord>,
    stop: bool,
    total: u64,
    per_epoch: u64,
    length: RunLength,
    rate: LearningRate,
}

/// Trains as configured, from the weights and the step that the trainer holds; `observe` hears of every step and may fail or
/// stop it.
///
/// # Errors
/// Those of the device and of `observe`.
pub fn run(
    trainer: &mut Trainer<'_>,
    config: &RunConfig,
    profile: Option<&mut Profile>,
    observe: &mut dyn FnMut(Event) -> Result<Control, TrainError>,
) -> Result<RunResult, TrainError> {
    run_kept(trainer, config, profile, None, observe)
}

/// As [`run`], with a keeper that writes metrics and checkpoints.
pub(super) fn run_kept<'a, 'k>(
    trainer: &'a mut Trainer<'_>,
    config: &'a RunConfig,
    mut profile: Option<&mut Profile>,
    keeper: Option<&'a mut Keeper<'k>>,
    observe: &'a mut dyn FnMut(Event) -> Result<Control, TrainError>,
) -> Result<RunResult, TrainError> {
    let length = config.length(steps_per_epoch(trainer));
    let (total, per_epoch) = (length.steps, length.steps_per_epoch);
    let first = trainer.steps_done() / per_epoch;
    let mut of = Loop {
        trainer,
        config,
        observe,
        keeper,
        sent: Vec::new(),
        reading: None,
        diverged: None,
        last: None,
        finite: 0,
        broken: None,
        stop: false,
        total,
        per_epoch,
        length,
        rate: config.learning_rate(),
    };
    let mut records = Vec::new();
    for epoch in first..total.div_ceil(per_epoch) {
        records.push(of.epoch(epoch, profile.as_deref_mut())?);
        if of.stop || of.diverged.is_some() {
            break;
        }
    }
    let status = match (of.diverged, of.stop) {
        (Some(StepRecord { step, group, sigma, .. }), _) => Status::Diverged { step, group, sigma },
        (None, true) if of.trainer.steps_done() < total => Status::Interrupted,
        _ => Status::Finished,
    };
    Ok(RunResult { epochs: records, status })
}

/// Steps of an epoch.
pub(super) fn steps_per_epoch(trainer: &Trainer<'_>) -> u64 {
    (trainer.samples().div_ceil(trainer.step_samples()) as u64).max(1)
}

impl Loop<'_, '_, '_> {
    /// Steps done of the epoch under way.
    fn step_of_epoch(&self) -> u64 {
        self.trainer.steps_done() % self.per_epoch
    }

    /// An epoch, or what is left of it where the trainer goes on within one; evaluation included.
    fn epoch(&mut self, epoch: u64, profile: Option<&mut Profile>) -> Result<EpochRecord, TrainError> {
        let order = epoch_order(self.trainer.samples(), self.config.batch_order()?, self.config.seed, epoch);
        self.trainer.begin_epoch(epoch, order)?;
        (self.finite, self.broken) = (0, None);
        let started = Instant::now();
        let trained = self.train(epoch, profile)?;
        self.drain()?;
        let seconds = started.elapsed().as_secs_f64();
        if self.finite == 0 && self.diverged.is_none() {
            self.diverged = self.broken;
        }
        // Before the evaluation, which may estimate batch norms anew: a run that goes on within the epoch has not done so.
        if self.step_of_epoch() > 0 {
            self.save(epoch)?;
        }
        let record = self.finish_epoch(epoch, trained as f64 / seconds)?;
        let best = self.keeper.as_mut().is_some_and(|keeper| keeper.is_best(&record));
        let last = self.stop || self.trainer.steps_done() >= self.total;
        if self.step_of_epoch() == 0 && (best || last || self.is_due()) {
            self.save(epoch + 1)?;
        }
        Ok(record)
    }

    /// The steps of an epoch; returns the samples trained on.
    fn train(&mut self, epoch: u64, mut profile: Option<&mut Profile>) -> Result<usize, TrainError> {
        let (samples, batch) = (self.trainer.samples(), self.trainer.step_samples());
        let done = self.step_of_epoch();
        // Within an epoch the noisy weights are part of what was restored.
        if done == 0 {
            let step = self.trainer.steps_done();
            self.trainer.perturb(&self.trainer.scheme().at(step, self.length.moment(step)))?;
        }
        let mut trained = 0;
        for first in (0..samples).step_by(batch).skip(done as usize) {
            let step = self.trainer.steps_done();
            if step == self.total || self.stop || self.diverged.is_some() {
                break;
            }
            let valid = batch.min(samples - first);
            let rate = self.rate.at(self.length.moment(step));
            let now = self.trainer.scheme().at(step, self.length.moment(step));
            // The last step of an epoch writes noise that the evaluation after it overwrites: harmless.
            let next = self.trainer.scheme().at(step + 1, self.length.moment(step + 1));
            self.trainer.train_step(first, valid, rate, &next, profile.as_deref_mut())?;
            trained += valid;
            let record =
                StepRecord { step, epoch, lr: rate.learning_rate, sigma: now.sigma(), group: now.group, loss: 0.0 };
            self.sent.push(Sent { record, valid });
            self.last = Some(record);
            if self.sent.len() >= RING / 2 {
                self.flush()?;
            }
            self.tell(Event::Progress { step: step + 1, total: self.total })?;
            if self.is_due() && self.step_of_epoch() > 0 && step + 1 < self.total {
                self.save(epoch)?;
            }
        }
        Ok(trained)
    }

    fn is_due(&self) -> bool {
        self.keeper.as_ref().is_some_and(|keeper| keeper.is_due(self.trainer.steps_done()))
    }

    /// Writes a checkpoint of what was done so far, unless a loss of it was no finite number: the last one before that stays.
    fn save(&mut self, epoch: u64) -> Result<(), TrainError> {
        self.drain()?;
        let Some(keeper) = self.keeper.as_mut().filter(|_| self.diverged.is_none()) else { return Ok(()) };
        let step = self.trainer.steps_done();
        let next = self.trainer.scheme().at(step, self.length.moment(step));
        let step_of_epoch = step % self.per_epoch;
        let position = Position { step, epoch, step_of_epoch, sigma: next.sigma(), group: next.group };
        match keeper.save(self.trainer, position) {
            Err(TrainError::Checkpoint(CheckpointError::NotFinite { tensor, .. })) => {
                log::warn!("{tensor} is not finite after step {step}");
                self.diverged = self.last;
                Ok(())
            }
            saved => saved,
        }
    }

    fn tell(&mut self, event: Event) -> Result<(), TrainError> {
        if let Some(keeper) = self.keeper.as_mut() {
            keeper.record(&event)?;
        }
        if (self.observe)(event)? == Control::Stop {
            self.stop = true;
        }
        Ok(())
    }

    /// Starts reading the steps sent since the last flush, and tells those of the read before.
    fn flush(&mut self) -> Result<(), TrainError> {
        self.settle()?;
        if !self.sent.is_empty() {
            self.reading = Some((self.trainer.read_metrics()?, std::mem::take(&mut self.sent)));
        }
        Ok(())
    }

    /// Tells every step sent so far.
    fn drain(&mut self) -> Result<(), TrainError> {
        self.flush()?;
        self.settle()
    }

    /// Waits for the read on its way and tells its steps.
    fn settle(&mut self) -> Result<(), TrainError> {
        let Some((pending, sent)) = self.reading.take() else { return Ok(()) };
        let sums: Vec<[f32; 2]> = pending.wait(self.trainer.gpu())?;
        for Sent { mut record, valid } in sent {
            record.loss = f64::from(sums[(record.step % RING as u64) as usize][0]) / valid as f64;
            let broken = !record.loss.is_finite();
            if broken {
                self.broken = self.broken.or(Some(record));
            } else {
                self.finite += 1;
            }
            if broken && self.config.on_nan != OnNan::Skip {
                self.diverged = self.diverged.or(Some(record));
            }
            let logged = self.config.log_every > 0 && record.step % self.config.log_every == 0;
            if logged || (broken && self.diverged.is_none_or(|first| first.step == record.step)) {
                self.tell(Event::Step(record))?;
            }
        }
        Ok(())
    }

    fn finish_epoch(&mut self, epoch: u64, samples_per_second: f64) -> Result<EpochRecord, TrainError> {
        self.trainer.recalibrate()?;
        let clean = self.trainer.scores()?;
        let (l1_norm, l2_norm) = self.trainer.norms()?;
        let step = self.trainer.steps_done();
        // As strong as at the last step done.
        let last = self.length.moment(step.saturating_sub(1));
        let noisy = (0..u64::from(self.config.eval_noisy))
            .map(|draw| self.trainer.noisy_scores(&self.trainer.scheme().at(step + draw, last)))
            .collect::<Result<Vec<_>, _>>()?;
        let scaling = if self.trainer.skips() { Some(self.trainer.scaling()?) } else { None };
        let mixed = self.config.precision == Precision::F16;
        let record = EpochRecord {
            epoch: epoch + 1,
            step,
            train_loss: clean.train_loss,
            train_accuracy: clean.train_accuracy,
            test_loss: clean.test_loss,
            test_accuracy: clean.test_accuracy,
            noisy: Scores::mean(&noisy),
            average: self.trainer.average_scores()?,
            loss_scale: scaling.filter(|_| mixed).map(|scaling| scaling.loss_scale),
            skipped_steps: scaling.map(|scaling| scaling.skipped_steps),
            l1_norm,
            l2_norm,
            samples_per_second,
        };
        self.tell(Event::Epoch(record))?;
        Ok(record)
    }
}
