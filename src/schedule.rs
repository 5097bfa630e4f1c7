//! Where in a run a step stands, and how values fall over it: what the schedules of learning rate and noise share.

use serde::{Deserialize, Serialize};

use crate::names::named;

named!("schedule unit",
    /// What schedules count.
    ScheduleUnit {
        /// Epochs: values change between epochs, as in the published loop.
        Epoch = "epoch",
        /// Steps: values change between steps.
        Step = "step",
    }
);

/// The length of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLength {
    /// Steps of the run.
    pub steps: u64,
    /// Epochs that these steps make, the last of them perhaps in part.
    pub epochs: u64,
    /// Steps of an epoch, at least 1.
    pub steps_per_epoch: u64,
}

impl RunLength {
    /// Of whole epochs.
    #[must_use]
    pub fn of_epochs(epochs: u64, steps_per_epoch: u64) -> Self {
        let steps_per_epoch = steps_per_epoch.max(1);
        Self { steps: epochs.saturating_mul(steps_per_epoch), epochs, steps_per_epoch }
    }

    /// Of so many steps.
    #[must_use]
    pub fn of_steps(steps: u64, steps_per_epoch: u64) -> Self {
        let steps_per_epoch = steps_per_epoch.max(1);
        Self { steps, epochs: steps.div_ceil(steps_per_epoch), steps_per_epoch }
    }

    /// Where a step stands, counted from 0.
    #[must_use]
    pub fn moment(&self, step: u64) -> Moment {
        Moment { step, epoch: step / self.steps_per_epoch, steps: self.steps, epochs: self.epochs }
    }
}

/// What tells where in a run a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// A run of this length.
    Run(RunLength),
    /// It stands at the start, whatever the step: for what has no schedule, such as a bench.
    Stopped,
}

impl Clock {
    /// Where a step stands, counted from 0.
    #[must_use]
    pub fn moment(&self, step: u64) -> Moment {
        match self {
            Self::Run(length) => length.moment(step),
            Self::Stopped => Moment::START,
        }
    }
}

/// Where in a run a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The step, counted from 0.
    pub step: u64,
    /// Its epoch, counted from 0.
    pub epoch: u64,
    /// Steps of the run.
    pub steps: u64,
    /// Epochs of the run.
    pub epochs: u64,
}

impl Moment {
    /// The start, where every schedule has its full value: for what has no schedule.
    pub const START: Self = Self { step: 0, epoch: 0, steps: 1, epochs: 1 };

    /// How far the run is, in a unit.
    #[must_use]
    pub fn in_unit(&self, unit: ScheduleUnit) -> Progress {
        match unit {
            ScheduleUnit::Epoch => Progress { done: self.epoch, total: self.epochs.max(1) },
            ScheduleUnit::Step => Progress { done: self.step, total: self.steps.max(1) },
        }
    }
}

/// Steps or epochs that are done, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Done.
    pub done: u64,
    /// Of the run, at least 1.
    pub total: u64,
}

impl Progress {
    /// The share that is done, 1 past the end.
    #[must_use]
    pub fn share(&self) -> f64 {
        (self.done as f64 / self.total as f64).min(1.0)
    }
}

/// Where a value drops, and to which share of itself; counted in a [`ScheduleUnit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Drops {
    /// Between two drops of schedule `step`; 0 counts as 1.
    pub every: u64,
    /// The drops of schedule `multistep`, ascending.
    pub milestones: Vec<u64>,
    /// Factor of each drop.
    pub gamma: f64,
}

impl Default for Drops {
    fn default() -> Self {
        Self { every: 30, milestones: Vec::new(), gamma: 0.1 }
    }
}

impl Drops {
    /// gamma^floor(done / every): `torch.optim.lr_scheduler.StepLR`.
    #[must_use]
    pub fn regular(&self, done: u64) -> f64 {
        self.gamma.powf((done / self.every.max(1)) as f64)
    }

    /// gamma^(milestones reached): `torch.optim.lr_scheduler.MultiStepLR`, which drops at its milestones, not after them.
    #[must_use]
    pub fn at_milestones(&self, done: u64) -> f64 {
        let reached = self.milestones.iter().filter(|milestone| **milestone <= done).count();
        self.gamma.powf(reached as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_make_epochs_and_epochs_make_steps() {
        assert_eq!(RunLength::of_steps(30, 13), RunLength { steps: 30, epochs: 3, steps_per_epoch: 13 });
        assert_eq!(RunLength::of_epochs(3, 13), RunLength { steps: 39, epochs: 3, steps_per_epoch: 13 });
        let length = RunLength::of_steps(30, 13);
        assert_eq!(length.moment(25), Moment { step: 25, epoch: 1, steps: 30, epochs: 3 });
        assert_eq!(length.moment(26).in_unit(ScheduleUnit::Epoch), Progress { done: 2, total: 3 });
        assert_eq!(length.moment(26).in_unit(ScheduleUnit::Step), Progress { done: 26, total: 30 });
        // Nothing to divide by where there is nothing to do.
        assert_eq!(RunLength::of_epochs(0, 0).moment(0).in_unit(ScheduleUnit::Step).share(), 0.0);
    }

    #[test]
    fn values_drop_at_a_milestone_and_not_after_it() {
        let drops = Drops { every: 3, milestones: vec![2, 5], gamma: 0.5 };
        assert_eq!([0, 1, 2, 4, 5, 9].map(|done| drops.at_milestones(done)), [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
        assert_eq!([0, 2, 3, 5, 6].map(|done| drops.regular(done)), [1.0, 1.0, 0.5, 0.5, 0.25]);
    }
}
