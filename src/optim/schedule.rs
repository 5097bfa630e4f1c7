//! Learning rate over the epochs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The shape of the schedule; rates change between epochs, as in the published loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LearningRateSchedule {
    /// Always the same.
    #[default]
    Constant,
    /// (1 + cos(pi epoch / epochs)) / 2: `torch.optim.lr_scheduler.CosineAnnealingLR` with T_max = epochs.
    Cosine,
    /// gamma^floor(epoch / step_epochs): `torch.optim.lr_scheduler.StepLR`.
    Step,
}

impl fmt::Display for LearningRateSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Constant => "constant",
            Self::Cosine => "cosine",
            Self::Step => "step",
        })
    }
}

impl FromStr for LearningRateSchedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Constant, Self::Cosine, Self::Step]
            .into_iter()
            .find(|schedule| schedule.to_string() == text)
            .ok_or_else(|| format!("unknown schedule {text:?}, expected one of constant, cosine, step"))
    }
}

/// A learning rate over a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    /// At the start.
    pub initial: f64,
    /// Its course.
    pub schedule: LearningRateSchedule,
    /// Epochs of the run.
    pub epochs: u64,
    /// Epochs between the drops of [`LearningRateSchedule::Step`].
    pub step_epochs: u64,
    /// Factor of each drop.
    pub gamma: f64,
}

impl LearningRate {
    /// The rate of an epoch, counted from 0.
    #[must_use]
    pub fn at(&self, epoch: u64) -> f64 {
        let factor = match self.schedule {
            LearningRateSchedule::Constant => 1.0,
            LearningRateSchedule::Cosine => {
                0.5 * (1.0 + (std::f64::consts::PI * epoch as f64 / self.epochs.max(1) as f64).cos())
            }
            LearningRateSchedule::Step => self.gamma.powf((epoch / self.step_epochs.max(1)) as f64),
        };
        self.initial * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_follow_pytorch() {
        let rate = LearningRate {
            initial: 0.1,
            schedule: LearningRateSchedule::Cosine,
            epochs: 4,
            step_epochs: 2,
            gamma: 0.1,
        };
        // torch.optim.lr_scheduler.CosineAnnealingLR(T_max=4), base 0.1
        let expected = [0.1, 0.085_355_339_059_327_38, 0.05, 0.014_644_660_940_672_627];
        for (epoch, expected) in expected.into_iter().enumerate() {
            assert!((rate.at(epoch as u64) - expected).abs() < 1e-15);
        }
        let step = LearningRate { schedule: LearningRateSchedule::Step, ..rate };
        assert_eq!([0, 1, 2, 3].map(|epoch| step.at(epoch)), [0.1, 0.1, 0.1 * 0.1, 0.1 * 0.1]);
    }
}
