//! Learning rate and momentum over a run.

use std::f64::consts::PI;

use crate::{
    names::named,
    schedule::{Drops, Moment, Progress, ScheduleUnit},
};

named!("schedule",
    /// The course of the learning rate, with `t` steps or epochs done out of T.
    LearningRateSchedule {
        /// Always the same.
        Constant = "constant",
        /// (1 + cos(pi t / T)) / 2: `torch.optim.lr_scheduler.CosineAnnealingLR` with T_max = T.
        Cosine = "cosine",
        /// 1 - t / T: `torch.optim.lr_scheduler.LinearLR` from 1 to 0 in T.
        Linear = "linear",
        /// gamma^floor(t / every): `torch.optim.lr_scheduler.StepLR`.
        Step = "step",
        /// gamma^(milestones reached): `torch.optim.lr_scheduler.MultiStepLR`.
        MultiStep = "multistep",
        /// Up from 1/25 in the first 30 %, then down to 1/250,000, by cosines, momentum the other way between 0.95 and
        /// 0.85: `torch.optim.lr_scheduler.OneCycleLR` with its defaults and the learning rate as `max_lr`.
        OneCycle = "one-cycle",
        /// (t + 1) / (W + 1) in the W steps of the warm-up, then (1 + cos(pi (t - W) / (T - W))) / 2 of the way from the lowest rate to
        /// the highest: `get_lr` of nanoGPT's train.py with `lr_decay_iters` = T.
        WarmupCosine = "warmup-cosine",
    }
);

/// What a schedule says of one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRate {
    /// Step size.
    pub learning_rate: f64,
    /// SGD's momentum, or beta1 of Adam and AdamW.
    pub momentum: f64,
}

/// Learning rate and momentum of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct LearningRate {
    /// At its highest: what the schedule's factor multiplies.
    pub initial: f64,
    /// What it falls to, where the schedule has an end: in [`LearningRateSchedule::Cosine`], [`LearningRateSchedule::Linear`] and
    /// [`LearningRateSchedule::WarmupCosine`] alone may it be other than 0.
    pub lowest: f64,
    /// Momentum or beta1, where the schedule leaves it alone.
    pub momentum: f64,
    /// Its course.
    pub schedule: LearningRateSchedule,
    /// What the schedule counts.
    pub unit: ScheduleUnit,
    /// The drops of [`LearningRateSchedule::Step`] and [`LearningRateSchedule::MultiStep`].
    pub drops: Drops,
    /// Steps over which the rate rises linearly from 0, whatever the schedule; 0 for none. [`LearningRateSchedule::WarmupCosine`]
    /// begins to fall after them, others fall from the start.
    pub warmup_steps: u64,
}

impl LearningRate {
    /// Rate and momentum of a step.
    #[must_use]
    pub fn at(&self, when: Moment) -> StepRate {
        let progress = when.in_unit(self.unit);
        let momentum = match self.schedule {
            LearningRateSchedule::OneCycle => one_cycle::momentum(progress),
            _ => self.momentum,
        };
        // Without a lowest rate these are the bits of initial * factor * warmup.
        let height = self.initial - self.lowest;
        let learning_rate = match self.schedule {
            LearningRateSchedule::WarmupCosine if when.step < self.warmup_steps => {
                self.initial * (when.step + 1) as f64 / (self.warmup_steps + 1) as f64
            }
            LearningRateSchedule::WarmupCosine => self.lowest + self.after_warmup(when) * height,
            _ => (self.lowest + height * self.factor(progress)) * self.warmup(when.step),
        };
        StepRate { learning_rate, momentum }
    }

    /// Whether the schedule falls to a lowest rate that one can choose.
    #[must_use]
    pub fn has_lowest(&self) -> bool {
        use LearningRateSchedule::{Cosine, Linear, WarmupCosine};
        matches!(self.schedule, Cosine | Linear | WarmupCosine)
    }

    /// Whether the momentum changes over the run.
    #[must_use]
    pub fn moves_momentum(&self) -> bool {
        self.schedule == LearningRateSchedule::OneCycle
    }

    fn factor(&self, progress: Progress) -> f64 {
        let Progress { done, total } = progress;
        match self.schedule {
            LearningRateSchedule::Constant | LearningRateSchedule::WarmupCosine => 1.0,
            // In this order of operations, or rates of earlier versions would change in their last bit.
            LearningRateSchedule::Cosine => 0.5 * (1.0 + (PI * done as f64 / total as f64).cos()),
            LearningRateSchedule::Linear => 1.0 - progress.share(),
            LearningRateSchedule::Step => self.drops.regular(done),
            LearningRateSchedule::MultiStep => self.drops.at_milestones(done),
            LearningRateSchedule::OneCycle => one_cycle::factor(progress),
        }
    }

    /// The share of the fall from the end of the warm-up on that is left.
    fn after_warmup(&self, when: Moment) -> f64 {
        let fallen = (when.step - self.warmup_steps) as f64;
        let share = (fallen / when.steps.saturating_sub(self.warmup_steps).max(1) as f64).min(1.0);
        0.5 * (1.0 + (PI * share).cos())
    }

    /// The factor of the first steps, counted from 0: that of `LinearLR` from 1 / steps in steps - 1.
    fn warmup(&self, step: u64) -> f64 {
        if self.warmup_steps == 0 { 1.0 } else { ((step + 1) as f64 / self.warmup_steps as f64).min(1.0) }
    }
}

/// `torch.optim.lr_scheduler.OneCycleLR` with its defaults: two phases, by cosines.
mod one_cycle {
    use std::f64::consts::PI;

    use super::Progress;

    /// Share of the run that the rate rises in.
    const RISE: f64 = 0.3;
    /// The highest rate over the first, and the first over the last.
    const START_DIVISOR: f64 = 25.0;
    const END_DIVISOR: f64 = 1e4;
    const LOWEST_MOMENTUM: f64 = 0.85;
    const HIGHEST_MOMENTUM: f64 = 0.95;

    /// The rate as a factor of the highest.
    pub fn factor(progress: Progress) -> f64 {
        let start = 1.0 / START_DIVISOR;
        phase(progress).between(start, 1.0, start / END_DIVISOR)
    }

    pub fn momentum(progress: Progress) -> f64 {
        phase(progress).between(HIGHEST_MOMENTUM, LOWEST_MOMENTUM, HIGHEST_MOMENTUM)
    }

    /// The share that is done of the rise, or of the fall.
    enum Phase {
        Rise(f64),
        Fall(f64),
    }

    /// The rise ends at `RISE` total - 1, the fall at total - 1, the last step: neither is 0 where 0 is reached.
    fn phase(progress: Progress) -> Phase {
        let (done, total) = (progress.done.min(progress.total - 1) as f64, progress.total as f64);
        let top = RISE * total - 1.0;
        if done <= top { Phase::Rise(done / top) } else { Phase::Fall((done - top) / (total - 1.0 - top)) }
    }

    impl Phase {
        fn between(self, first: f64, top: f64, last: f64) -> f64 {
            let (from, to, share) = match self {
                Self::Rise(share) => (first, top, share),
                Self::Fall(share) => (top, last, share),
            };
            to + (from - to) / 2.0 * ((PI * share).cos() + 1.0)
        }
    }
}
