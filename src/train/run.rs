//! The loop over epochs and steps.

use std::time::Instant;

use crate::{
    data::epoch_order,
    gpu::{PendingRead, Profile},
};

use super::{EpochRecord, RunConfig, Scores, StepRecord, TrainError, Trainer, trainer::RING};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All steps done.
    Finished,
    /// Stopped by the caller.
    Interrupted,
    /// The loss of this step was no finite number.
    Diverged {
        /// The first such step.
        step: u64,
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

struct Loop<'a, 'g> {
    trainer: &'a mut Trainer<'g>,
    config: &'a RunConfig,
    observe: &'a mut dyn FnMut(Event) -> Result<Control, TrainError>,
    sent: Vec<Sent>,
    reading: Option<(PendingRead, Vec<Sent>)>,
    diverged: Option<u64>,
    stop: bool,
    total: u64,
}

/// Trains as configured, from the weights the trainer holds; `observe` hears of every step and may fail or stop it.
///
/// # Errors
/// Those of the device and of `observe`.
pub fn run(
    trainer: &mut Trainer<'_>,
    config: &RunConfig,
    mut profile: Option<&mut Profile>,
    observe: &mut dyn FnMut(Event) -> Result<Control, TrainError>,
) -> Result<RunResult, TrainError> {
    let per_epoch = trainer.samples().div_ceil(trainer.step_samples()) as u64;
    let total = config.steps.unwrap_or(config.epochs * per_epoch);
    let epochs = total.div_ceil(per_epoch.max(1));
    let mut of = Loop { trainer, config, observe, sent: Vec::new(), reading: None, diverged: None, stop: false, total };
    let mut records = Vec::new();
    for epoch in 0..epochs {
        records.push(of.epoch(epoch, per_epoch, profile.as_deref_mut())?);
        if of.stop || of.diverged.is_some() {
            break;
        }
    }
    let status = match (of.diverged, of.stop) {
        (Some(step), _) => Status::Diverged { step },
        (None, true) if of.trainer.steps_done() < total => Status::Interrupted,
        _ => Status::Finished,
    };
    Ok(RunResult { epochs: records, status })
}

impl Loop<'_, '_> {
    /// Epochs that schedules run over: those of the configuration, or those that its steps make.
    fn epochs(&self, per_epoch: u64) -> u64 {
        if self.config.steps.is_some() { self.total.div_ceil(per_epoch) } else { self.config.epochs }
    }

    fn epoch(
        &mut self,
        epoch: u64,
        per_epoch: u64,
        mut profile: Option<&mut Profile>,
    ) -> Result<EpochRecord, TrainError> {
        let epochs = self.epochs(per_epoch);
        let (samples, batch) = (self.trainer.samples(), self.trainer.step_samples());
        self.trainer.begin_epoch(epoch, epoch_order(samples, self.config.batch_order()?, self.config.seed, epoch))?;
        let epoch_rate = crate::optim::LearningRate { epochs, ..self.config.learning_rate() }.at(epoch);
        let started = Instant::now();
        let first_step = self.trainer.steps_done();
        self.trainer.perturb(&self.trainer.scheme().at(first_step, epoch, epochs))?;
        let mut trained = 0;
        for first in (0..samples).step_by(batch) {
            let step = self.trainer.steps_done();
            if step == self.total || self.stop || self.diverged.is_some() {
                break;
            }
            let valid = batch.min(samples - first);
            let rate = epoch_rate * self.config.warmup(step);
            let now = self.trainer.scheme().at(step, epoch, epochs);
            // The last step of an epoch writes noise that the evaluation after it overwrites: harmless.
            let next = self.trainer.scheme().at(step + 1, epoch, epochs);
            self.trainer.train_step(first, valid, rate, &next, profile.as_deref_mut())?;
            trained += valid;
            let sigma = if now.ranges.iter().any(|range| range.noisy) { f64::from(now.values.sigma) } else { 0.0 };
            let record = StepRecord { step, epoch, lr: rate, sigma, group: now.group, loss: 0.0 };
            self.sent.push(Sent { record, valid });
            if self.sent.len() >= RING / 2 {
                self.flush()?;
            }
            self.tell(Event::Progress { step: step + 1, total: self.total })?;
        }
        self.flush()?;
        self.settle()?;
        let seconds = started.elapsed().as_secs_f64();
        self.finish_epoch([epoch, epochs], trained as f64 / seconds)
    }

    fn tell(&mut self, event: Event) -> Result<(), TrainError> {
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

    /// Waits for the read on its way and tells its steps.
    fn settle(&mut self) -> Result<(), TrainError> {
        let Some((pending, sent)) = self.reading.take() else { return Ok(()) };
        let sums: Vec<[f32; 2]> = pending.wait(self.trainer.gpu())?;
        for Sent { mut record, valid } in sent {
            record.loss = f64::from(sums[(record.step % RING as u64) as usize][0]) / valid as f64;
            if !record.loss.is_finite() && self.diverged.is_none() {
                self.diverged = Some(record.step);
            }
            let logged = self.config.log_every > 0 && record.step % self.config.log_every == 0;
            if logged || self.diverged == Some(record.step) {
                self.tell(Event::Step(record))?;
            }
        }
        Ok(())
    }

    fn finish_epoch(&mut self, [epoch, epochs]: [u64; 2], samples_per_second: f64) -> Result<EpochRecord, TrainError> {
        self.trainer.recalibrate()?;
        let clean = self.trainer.scores()?;
        let (l1_norm, l2_norm) = self.trainer.norms()?;
        let step = self.trainer.steps_done();
        let noisy = (0..u64::from(self.config.eval_noisy))
            .map(|draw| self.trainer.noisy_scores(&self.trainer.scheme().at(step + draw, epoch, epochs)))
            .collect::<Result<Vec<_>, _>>()?;
        let scaling = self.trainer.gradient_scaling()?;
        let record = EpochRecord {
            epoch: epoch + 1,
            step,
            train_loss: clean.train_loss,
            train_accuracy: clean.train_accuracy,
            test_loss: clean.test_loss,
            test_accuracy: clean.test_accuracy,
            noisy: Scores::mean(&noisy),
            average: self.trainer.average_scores()?,
            loss_scale: scaling.map(|scaling| scaling.loss_scale),
            skipped_steps: scaling.map(|scaling| scaling.skipped_steps),
            l1_norm,
            l2_norm,
            samples_per_second,
        };
        self.tell(Event::Epoch(record))?;
        Ok(record)
    }
}
