//! Whether the values of a configuration make sense.

use crate::{
    ops::Loss,
    optim::{LearningRateSchedule, OptimizerKind},
};

use super::{AUTO_BATCH, RunConfig, TrainError};

impl RunConfig {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming the key.
    pub fn check(&self) -> Result<(), TrainError> {
        let wrong =
            |key: &str, reason: &str| Err(TrainError::Config { key: key.to_owned(), reason: reason.to_owned() });
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let unit = |value: f64| (0.0..1.0).contains(&value);
        if !positive(self.lr) {
            return wrong("lr", "has to be positive");
        }
        self.check_counts()?;
        self.check_schedules()?;
        if !self.sigma.is_finite() || self.sigma < 0.0 {
            return wrong("sigma", "has to be 0 or more");
        }
        if self.batch == 0 || self.accumulate == 0 {
            return wrong("batch, accumulate", "have to be at least 1");
        }
        if ![self.gamma, self.dampening, self.eps].iter().all(|value| value.is_finite()) {
            return wrong("gamma, dampening, eps", "have to be finite");
        }
        if !unit(self.momentum) || !unit(self.beta1) || !unit(self.beta2) {
            return wrong("momentum, beta1, beta2", "have to be in [0, 1)");
        }
        if !self.weight_decay.is_finite() || self.weight_decay < 0.0 {
            return wrong("weight-decay", "has to be 0 or more");
        }
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            return wrong("nesterov", "needs momentum and no dampening, as in PyTorch");
        }
        if self.optimizer == OptimizerKind::ScheduleFree
            && (self.schedule != LearningRateSchedule::Constant || self.warmup_steps > 0)
        {
            return wrong("schedule, warmup-steps", "optimizer schedule-free goes by a constant learning rate");
        }
        if !unit(self.label_smoothing) || (self.label_smoothing > 0.0 && self.loss != Loss::Nll) {
            return wrong("label-smoothing", "has to be in [0, 1), and 0 with any loss but nll");
        }
        if self.clip_norm.is_some_and(|norm| !positive(norm)) {
            return wrong("clip-norm", "has to be positive");
        }
        if !unit(self.label_noise) {
            return wrong("label-noise", &format!("has to be in [0, 1), found {}", self.label_noise));
        }
        if self.ema.is_some_and(|decay| !unit(decay)) {
            return wrong("ema", "has to be in [0, 1)");
        }
        if self.block == Some(0) || self.eval_windows == Some(0) {
            return wrong("block, eval-windows", "have to be at least 1");
        }
        if self.patience.is_some() && self.validation.is_none() {
            return wrong("patience", "needs a part of the training data to choose by: validation");
        }
        if self.patience == Some(0) || self.test_every == Some(0) {
            return wrong("patience, test-every", "have to be at least 1");
        }
        self.check_rule()
    }

    /// Whether counts are within what products of two, and the kernels' 32 bits, take.
    fn check_counts(&self) -> Result<(), TrainError> {
        const MOST: u64 = u32::MAX as u64;
        /// Rows or columns: the kernels add them to those of an image.
        const MOST_PIXELS: u64 = (1 << 15) - 1;
        let counts = [
            ("batch", if self.batch == AUTO_BATCH { 1 } else { self.batch as u64 }, MOST),
            ("accumulate", self.accumulate as u64, MOST),
            ("epochs", self.epochs, MOST),
            ("steps", self.steps.unwrap_or(0), MOST),
            ("crop-padding", self.crop_padding as u64, MOST_PIXELS),
            ("cutout", self.cutout as u64, MOST_PIXELS),
            ("block", self.block.unwrap_or(1) as u64, MOST),
            ("eval-windows", self.eval_windows.unwrap_or(1) as u64, MOST),
        ];
        match counts.into_iter().find(|(_, found, most)| found > most) {
            None => Ok(()),
            Some((key, found, most)) => {
                let reason = format!("has to be at most {most}, found {found}");
                Err(TrainError::Config { key: key.to_owned(), reason })
            }
        }
    }
}
