//! The loop over epochs and steps.

use std::time::{Duration, Instant};

use crate::{
    gpu::Profile,
    optim::LearningRate,
    schedule::{Clock, RunLength},
};

use super::{
    Best, Broken, CheckpointError, Control, EpochRecord, Event, OnNan, Position, Precision, RunConfig, RunResult,
    Scored, Scores, Status, StepRecord, TrainError, TrainStep, Trainer, checkpoint::Keeper, losses::Losses,
};

/// The step that ends a run, with what was not finite.
#[derive(Clone, Copy, Debug)]
struct Diverged {
    record: StepRecord,
    broken: Broken,
}

/// Samples trained on since the evaluation before, and the time that took.
#[derive(Debug)]
struct Pace {
    since: Instant,
    /// Time since then that was spent otherwise.
    aside: Duration,
    samples: usize,
}

impl Pace {
    fn start() -> Self {
        Self { since: Instant::now(), aside: Duration::ZERO, samples: 0 }
    }

    fn samples_per_second(&self) -> f64 {
        self.samples as f64 / self.since.elapsed().saturating_sub(self.aside).as_secs_f64()
    }
}

/// Steps without an update or without a finite loss, and an epoch of them at least, after which a run is going nowhere.
const STEPS_IN_VAIN: u64 = 32;

/// Steps since the end of an epoch, which may have been in vain.
#[derive(Debug, Default)]
struct Stretch {
    /// The first.
    first: Option<StepRecord>,
    /// Whether a loss was finite.
    finite: bool,
    /// Updates made before.
    applied: u64,
}

struct Loop<'a, 'g, 'k> {
    trainer: &'a mut Trainer<'g>,
    config: &'a RunConfig,
    observe: &'a mut dyn FnMut(Event) -> Result<Control, TrainError>,
    keeper: Option<&'a mut Keeper<'k>>,
    losses: Losses,
    /// The step whose loss, or the weights after it, ends the run.
    diverged: Option<Diverged>,
    /// The step submitted last.
    last: Option<StepRecord>,
    stretch: Stretch,
    /// Steps done at the evaluation before, which a resumed run may have been through already.
    evaluated: Option<u64>,
    best: Option<Best>,
    records: Vec<EpochRecord>,
    pace: Pace,
    stop: bool,
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
    trainer.set_clock(Clock::Run(length));
    let done = trainer.steps_done();
    let mut run = Loop {
        best: keeper.as_ref().and_then(|keeper| keeper.best()),
        trainer,
        config,
        observe,
        keeper,
        losses: Losses::default(),
        diverged: None,
        last: None,
        stretch: Stretch::default(),
        evaluated: config.eval_every.due(done, per_epoch).map(|_| done),
        records: Vec::new(),
        pace: Pace::start(),
        stop: false,
        length,
        rate: config.learning_rate(),
    };
    // Where nothing is left to do but an evaluation, it is that of the epoch before.
    run.begin(done.saturating_sub(1) / per_epoch)?;
    for epoch in done / per_epoch..total.div_ceil(per_epoch) {
        if run.is_over() {
            break;
        }
        run.epoch(epoch, profile.as_deref_mut())?;
    }
    run.end()?;
    let status = match (run.diverged, run.stop) {
        (Some(Diverged { record: StepRecord { step, group, sigma, .. }, broken }), _) => {
            Status::Diverged { step, group, sigma, broken }
        }
        (None, true) if run.trainer.steps_done() < total && !run.is_stale() => Status::Interrupted,
        _ => Status::Finished,
    };
    let stopped_early = status == Status::Finished && run.is_stale() && run.trainer.steps_done() < total;
    Ok(RunResult { epochs: run.records, status, best: run.best, stopped_early })
}

/// Steps of an epoch.
pub(super) fn steps_per_epoch(trainer: &Trainer<'_>) -> u64 {
    (trainer.samples().div_ceil(trainer.step_samples()) as u64).max(1)
}

impl Loop<'_, '_, '_> {
    /// Steps done of the epoch under way.
    fn step_of_epoch(&self) -> u64 {
        self.trainer.steps_done() % self.length.steps_per_epoch
    }

    /// Whether the validation loss was waited for in vain.
    fn is_stale(&self) -> bool {
        self.best.is_some_and(|best| best.is_stale(self.config.patience))
    }

    /// Whether no further step is to be taken.
    fn is_over(&self) -> bool {
        self.stop || self.diverged.is_some() || self.is_stale() || self.trainer.steps_done() >= self.length.steps
    }

    fn begin(&mut self, epoch: u64) -> Result<(), TrainError> {
        let places = self.trainer.places(self.config.batch_order, self.config.seed, epoch);
        Ok(self.trainer.begin_epoch(epoch, places)?)
    }

    /// An epoch, or what is left of it where the trainer resumes within one.
    fn epoch(&mut self, epoch: u64, mut profile: Option<&mut Profile>) -> Result<(), TrainError> {
        self.begin(epoch)?;
        let done = self.step_of_epoch();
        let (samples, batch) = (self.trainer.samples(), self.trainer.step_samples());
        for first in (0..samples).step_by(batch).skip(done as usize) {
            if self.is_over() {
                break;
            }
            let step = self.trainer.steps_done();
            let valid = batch.min(samples - first);
            let rate = self.rate.at(self.length.moment(step));
            let noise = self.trainer.noise(step);
            let record = StepRecord {
                step,
                epoch,
                lr: rate.learning_rate,
                momentum: self.rate.moves_momentum().then_some(rate.momentum),
                sigma: noise.sigma(),
                group: noise.group,
                loss: 0.0,
                slope: None,
            };
            self.trainer.train_step(TrainStep { first, valid, rate }, profile.as_deref_mut())?;
            self.sent(record, valid)?;
        }
        Ok(())
    }

    /// After a step was submitted: what is due.
    fn sent(&mut self, record: StepRecord, valid: usize) -> Result<(), TrainError> {
        self.pace.samples += valid;
        self.stretch.first = self.stretch.first.or(Some(record));
        self.last = Some(record);
        let known = self.losses.push(self.trainer, record, valid)?;
        self.hear(known)?;
        let step = self.trainer.steps_done();
        self.tell(Event::Progress { step, total: self.length.steps })?;
        if self.step_of_epoch() == 0 {
            self.end_epoch()?;
            self.take_weights()?;
            self.write_weights()?;
        }
        let before = self.best;
        if let Some(number) = self.config.eval_every.due(step, self.length.steps_per_epoch) {
            self.evaluate(Some(number))?;
        }
        let better = self.best.is_some_and(|best| best.step == step) && before != self.best;
        if better || (self.keeper.as_ref().is_some_and(|keeper| keeper.is_due(step)) && step < self.length.steps) {
            self.save()?;
        }
        Ok(())
    }

    /// What the end of an epoch, or of its part, shows: whether anything was learnt.
    fn end_epoch(&mut self) -> Result<(), TrainError> {
        self.drain()?;
        if !self.trainer.skips() || self.diverged.is_some() {
            return Ok(());
        }
        let (scaling, step) = (self.trainer.scaling()?, self.trainer.steps_done());
        let applied = step.saturating_sub(u64::from(scaling.skipped_steps));
        let finite = self.stretch.finite;
        let Some(first) = self.stretch.first.filter(|_| !finite || applied == self.stretch.applied) else {
            self.stretch = Stretch { applied, ..Stretch::default() };
            return Ok(());
        };
        // While the loss scale falls there is hope for gradients; a run at its end has none left.
        let in_vain =
            step - first.step >= self.length.steps_per_epoch.max(STEPS_IN_VAIN) && (scaling.is_lowest() || !finite);
        let whole = (applied == 0 || first.step == 0) && self.is_over() && !self.stop;
        if in_vain || whole {
            self.diverge(Some(first), if finite { Broken::Gradients } else { Broken::Loss });
        }
        Ok(())
    }

    /// Takes the weights after an epoch into what the rule keeps of them, unless they may not be finite.
    fn take_weights(&mut self) -> Result<(), TrainError> {
        let epochs = self.trainer.steps_done() / self.length.steps_per_epoch;
        if self.diverged.is_none() && !self.trainer.take_weights(epochs)? {
            self.diverge(self.last, Broken::Weights);
        }
        Ok(())
    }

    /// After the last step: a checkpoint of it and an evaluation, if it had none.
    fn end(&mut self) -> Result<(), TrainError> {
        let step = self.trainer.steps_done();
        self.end_epoch()?;
        // Before an evaluation that is not due, which may estimate batch norms anew: a resumed run has not had it.
        self.save()?;
        // After the checkpoint likewise: within an epoch a resumed run has written none.
        if self.step_of_epoch() != 0 {
            self.write_weights()?;
        }
        if self.evaluated != Some(step) && step > 0 && self.length.steps > 0 {
            self.evaluate(None)?;
        }
        Ok(())
    }

    /// Ends the run with this step, if it is one and nothing has ended it before.
    fn diverge(&mut self, record: Option<StepRecord>, broken: Broken) {
        self.diverged = self.diverged.or(record.map(|record| Diverged { record, broken }));
    }

    /// Writes a checkpoint of what was done so far, unless a loss of it was not finite: the last one before that stays.
    fn save(&mut self) -> Result<(), TrainError> {
        self.drain()?;
        let next = self.trainer.noise(self.trainer.steps_done());
        let epoch = self.trainer.steps_done() / self.length.steps_per_epoch;
        let Some(keeper) = self.keeper.as_mut().filter(|_| self.diverged.is_none()) else { return Ok(()) };
        let started = Instant::now();
        let step = self.trainer.steps_done();
        let step_of_epoch = step % self.length.steps_per_epoch;
        let position = Position { step, epoch, step_of_epoch, sigma: next.sigma(), group: next.group };
        let saved = keeper.save(self.trainer, position, self.best);
        self.pace.aside += started.elapsed();
        match saved {
            Err(TrainError::Checkpoint(CheckpointError::NotFinite { tensor, .. })) => {
                log::warn!("{tensor} is not finite after step {step}");
                self.diverge(self.last, Broken::Weights);
                Ok(())
            }
            saved => saved,
        }
    }

    /// Writes down how the weights are, unless they may not be finite.
    fn write_weights(&mut self) -> Result<(), TrainError> {
        let Some(keeper) = self.keeper.as_mut().filter(|_| self.diverged.is_none()) else { return Ok(()) };
        let started = Instant::now();
        keeper.weights(self.trainer)?;
        self.pace.aside += started.elapsed();
        Ok(())
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

    /// Hears of every step submitted so far.
    fn drain(&mut self) -> Result<(), TrainError> {
        let known = self.losses.drain(self.trainer)?;
        self.hear(known)
    }

    /// Tells steps whose losses are known.
    fn hear(&mut self, known: Vec<StepRecord>) -> Result<(), TrainError> {
        for record in known {
            if let (Some(slope), Some(keeper)) = (record.slope, self.keeper.as_mut()) {
                keeper.slope(slope)?;
            }
            let broken = !record.loss.is_finite();
            self.stretch.finite |= !broken;
            if self.config.on_nan != OnNan::Skip {
                self.diverge(broken.then_some(record), Broken::Loss);
            }
            let first = self.diverged.is_none_or(|diverged| diverged.record.step == record.step);
            let logged = self.config.log_every > 0 && record.step % self.config.log_every == 0;
            if logged || (broken && first) {
                self.tell(Event::Step(record))?;
            }
        }
        Ok(())
    }

    /// Scores the network: the evaluation of this number, or one that is not due at the end of a run.
    fn evaluate(&mut self, number: Option<u64>) -> Result<(), TrainError> {
        self.drain()?;
        let samples_per_second = self.pace.samples_per_second();
        let step = self.trainer.steps_done();
        let epoch = step.saturating_sub(1) / self.length.steps_per_epoch;
        self.trainer.recalibrate()?;
        let mut scores = self.trainer.scores(false)?;
        // An evaluation that is not due, at a stop, is not one that patience counts.
        let counts = self.diverged.is_none() && (number.is_some() || step >= self.length.steps);
        if let Some(loss) = scores.validation_loss.filter(|_| counts) {
            self.best = Best::after(self.best, step, loss);
        }
        // A run that was stopped resumes as if it had not been: what is due is scored as it would have been.
        let last = step >= self.length.steps || self.is_stale() || self.diverged.is_some();
        let test = last || number.map_or(self.config.validation.is_none(), |number| self.config.tests_at(number));
        let tested = test.then(|| self.trainer.score_test()).transpose()?;
        if let Some(Scored { evaluation, .. }) = tested {
            scores = scores.with_test(evaluation);
        }
        let (l1_norm, l2_norm) = self.trainer.norms()?;
        // As strong as at the last step done.
        let before = self.length.moment(step.saturating_sub(1));
        let noisy = (0..u64::from(self.config.eval_noisy))
            .map(|draw| self.trainer.noisy_scores(test, &self.trainer.scheme().at(step + draw, before)))
            .collect::<Result<Vec<_>, _>>()?;
        let scaling = if self.trainer.skips() { Some(self.trainer.scaling()?) } else { None };
        let mixed = self.config.precision == Precision::F16;
        let record = EpochRecord {
            epoch: epoch + 1,
            step,
            scores,
            noisy: Scores::mean(&noisy),
            average: self.trainer.average_scores(test)?,
            quality: tested.and_then(|tested| tested.quality),
            loss_scale: scaling.filter(|_| mixed).map(|scaling| scaling.loss_scale),
            skipped_steps: scaling.map(|scaling| scaling.skipped_steps),
            l1_norm,
            l2_norm,
            samples_per_second,
        };
        self.evaluated = Some(step);
        self.records.push(record);
        self.tell(Event::Epoch(record))?;
        self.pace = Pace::start();
        Ok(())
    }
}
