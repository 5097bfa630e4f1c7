//! What is measured: all that the claims need.

use serde::{Deserialize, Serialize};

use crate::train::EpochRecord;

/// What a run was at its end, at the clean weights.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct End {
    pub(super) test_accuracy: f64,
    pub(super) test_loss: f64,
    pub(super) brier: f64,
    pub(super) ece: f64,
    pub(super) train_loss: f64,
    /// Of the Hessian of the training loss.
    pub(super) trace: f64,
    pub(super) largest_eigenvalue: f64,
}

/// Of the training loss at the end of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sharpness {
    pub(super) trace: f64,
    pub(super) largest_eigenvalue: f64,
}

impl End {
    pub(super) fn new(end: &EpochRecord, sharpness: Sharpness) -> Self {
        let known = |value: Option<f64>| value.unwrap_or(f64::NAN);
        Self {
            test_accuracy: known(end.scores.test_accuracy),
            test_loss: known(end.scores.test_loss),
            brier: known(end.quality.map(|quality| quality.brier)),
            ece: known(end.quality.map(|quality| quality.ece)),
            train_loss: known(end.scores.train_loss),
            trace: sharpness.trace,
            largest_eigenvalue: sharpness.largest_eigenvalue,
        }
    }
}

/// What was measured of a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Run {
    pub(super) seed: u64,
    /// `None` where it diverged.
    pub(super) end: Option<End>,
    /// Every evaluation; no claim is about them.
    #[serde(default)]
    pub(super) epochs: serde_json::Value,
}

/// What was measured of an arm.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct ArmMeasurements {
    pub(super) arm: String,
    /// Keys of its own, in a line.
    pub(super) own: String,
    #[serde(default)]
    pub(super) config: serde_json::Value,
    /// The median over all evaluations.
    pub(super) step_milliseconds: f64,
    pub(super) gradient_evaluations: f64,
    pub(super) passes: usize,
    /// One a seed, the same seeds in every arm.
    pub(super) runs: Vec<Run>,
}

/// What was measured: all that the claims need.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Measurements {
    pub(super) data: String,
    pub(super) model: String,
    /// Share of the training labels that were replaced.
    pub(super) label_noise: f64,
    /// The first is plain training.
    pub(super) arms: Vec<ArmMeasurements>,
}

/// A quantity of a run at its end.
pub(super) struct Quantity {
    pub(super) name: &'static str,
    pub(super) decimals: usize,
    value: fn(&End) -> f64,
}

pub(super) const TEST_ACCURACY: Quantity =
    Quantity { name: "test accuracy %", decimals: 2, value: |end| 100.0 * end.test_accuracy };
pub(super) const TEST_LOSS: Quantity = Quantity { name: "test loss", decimals: 4, value: |end| end.test_loss };
pub(super) const BRIER: Quantity = Quantity { name: "test Brier", decimals: 4, value: |end| end.brier };
pub(super) const ECE: Quantity = Quantity { name: "test ECE", decimals: 4, value: |end| end.ece };
pub(super) const TRAIN_LOSS: Quantity = Quantity { name: "train loss", decimals: 4, value: |end| end.train_loss };
pub(super) const TRACE: Quantity = Quantity { name: "Hessian trace", decimals: 1, value: |end| end.trace };
pub(super) const EIGENVALUE: Quantity =
    Quantity { name: "largest eigenvalue", decimals: 2, value: |end| end.largest_eigenvalue };

impl ArmMeasurements {
    /// A quantity of each run; NaN where it diverged.
    pub(super) fn values(&self, quantity: &Quantity) -> Vec<f64> {
        self.runs.iter().map(|run| run.end.as_ref().map_or(f64::NAN, quantity.value)).collect()
    }

    pub(super) fn diverged(&self) -> usize {
        self.runs.iter().filter(|run| run.end.is_none()).count()
    }
}
