//! What a configuration says of values that change over the run: learning rate, momentum and sigma.

use crate::{
    noise::{Mode, NoiseConfig, SigmaSchedule},
    optim::{LearningRate, LearningRateSchedule},
    schedule::{Drops, RunLength, ScheduleUnit},
};

use super::{RunConfig, TrainError};

impl RunConfig {
    /// Steps and epochs of the run, where so many steps make an epoch.
    #[must_use]
    pub fn length(&self, steps_per_epoch: u64) -> RunLength {
        match self.steps {
            Some(steps) => RunLength::of_steps(steps, steps_per_epoch),
            None => RunLength::of_epochs(self.epochs, steps_per_epoch),
        }
    }

    /// Learning rate and momentum.
    #[must_use]
    pub fn learning_rate(&self) -> LearningRate {
        LearningRate {
            initial: self.lr,
            lowest: self.min_lr.unwrap_or_default(),
            momentum: self.optimizer_for(1).rate(self.lr).momentum,
            schedule: self.schedule,
            unit: self.schedule_unit,
            drops: Drops { every: self.milestones_every, milestones: self.milestones.clone(), gamma: self.gamma },
            warmup_steps: self.warmup_steps,
        }
    }

    /// The noise: the rule's own, where it draws some by itself.
    #[must_use]
    pub fn noise_config(&self) -> NoiseConfig {
        if let Some(sigma) = self.unscheduled_sigma() {
            let distribution = self.noise_distribution;
            return NoiseConfig { mode: Mode::Model, sigma, distribution, ..NoiseConfig::default() };
        }
        NoiseConfig {
            mode: self.noise_mode(),
            sigma: self.sigma,
            order: self.noise_order,
            scale: self.noise_scale,
            distribution: self.noise_distribution,
            groups: self.groups,
            schedule: self.noise_schedule,
            schedule_unit: self.schedule_unit,
            drops: Drops {
                every: self.noise_milestones_every,
                milestones: self.noise_milestones.clone(),
                gamma: self.noise_gamma,
            },
            growth: self.noise_growth(),
            off_from_epoch: self.noise_off_epoch,
            off_from_step: self.noise_off_step,
        }
    }

    /// How far sigma rises; published with ARWP.
    fn noise_growth(&self) -> f64 {
        let rises = self.noise_schedule == SigmaSchedule::CosineUp;
        if rises { self.noise_growth.unwrap_or(10.0) } else { 0.0 }
    }

    /// Whether the schedules' values make sense.
    pub(super) fn check_schedules(&self) -> Result<(), TrainError> {
        let wrong = |key: &str, reason: String| Err(TrainError::Config { key: key.to_owned(), reason });
        let multistep = self.schedule == LearningRateSchedule::MultiStep;
        let noise_multistep = self.noise_schedule == SigmaSchedule::MultiStep;
        let lists = [
            ("milestones", &self.milestones, "schedule", multistep),
            ("noise-milestones", &self.noise_milestones, "noise-schedule", noise_multistep),
        ];
        for (key, milestones, schedule, needed) in lists {
            let ascend = milestones.windows(2).all(|pair| pair[0] < pair[1]);
            if !ascend || milestones.first() == Some(&0) {
                return wrong(key, format!("have to be at least 1 and to ascend, found {milestones:?}"));
            }
            if needed && milestones.is_empty() {
                return wrong(key, format!("{schedule} multistep needs at least one, found none"));
            }
        }
        let lowest = self.min_lr.unwrap_or_default();
        if !(0.0..=self.lr).contains(&lowest) {
            return wrong("min-lr", format!("has to be from 0 to lr, {}, found {lowest}", self.lr));
        }
        if lowest != 0.0 && !self.learning_rate().has_lowest() {
            let reason = format!("expected schedule cosine, linear or warmup-cosine, found {}", self.schedule);
            return wrong("min-lr", reason);
        }
        if self.noise_growth.is_some() && self.noise_schedule != SigmaSchedule::CosineUp {
            let reason = format!("expected noise-schedule cosine-up, found {}", self.noise_schedule);
            return wrong("noise-growth", reason);
        }
        if self.noise_growth.is_some_and(|growth| !growth.is_finite() || growth < 0.0) {
            return wrong("noise-growth", format!("has to be 0 or more, found {}", self.noise_growth()));
        }
        if !self.noise_gamma.is_finite() || self.noise_gamma < 0.0 {
            return wrong("noise-gamma", format!("has to be 0 or more, found {}", self.noise_gamma));
        }
        if self.schedule_unit == ScheduleUnit::Step && self.steps.unwrap_or(self.epochs) == 0 {
            let reason = "step needs a number of steps: steps or epochs of at least 1, found 0";
            return wrong("schedule-unit", reason.to_owned());
        }
        match (self.noise_off_epoch, self.noise_off_step) {
            (Some(epoch), Some(step)) => {
                wrong("noise-off-step", format!("expected this or noise-off-epoch, found both, {step} and {epoch}"))
            }
            _ => Ok(()),
        }
    }
}
