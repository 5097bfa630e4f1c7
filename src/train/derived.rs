//! What follows from a configuration: the parts of it that others take.

use crate::{
    data::{DataError, Dataset},
    kernels::Augmentation,
    nn::ModelOptions,
    optim::OptimizerConfig,
};

use super::{RunConfig, TrainEval};

/// Windows of a text that an evaluation scores by default.
const EVAL_WINDOWS: usize = 2400;

impl RunConfig {
    /// Whether an evaluation that is not the last of the run, counted from 1, scores the test data too.
    #[must_use]
    pub fn tests_at(&self, evaluation: u64) -> bool {
        match self.test_every {
            Some(every) => evaluation.is_multiple_of(every),
            // The data that a run is chosen by are looked at as it goes, those that it is judged by once.
            None => self.validation.is_none(),
        }
    }

    /// What an evaluation scores of a part of the data: all of it, but of a text its windows by `eval-windows`.
    pub(super) fn scored(&self, data: &Dataset) -> Dataset {
        data.scored_windows(self.eval_windows.unwrap_or(EVAL_WINDOWS), self.subset_seed)
    }

    /// Samples of [`RunConfig::scored_train`].
    pub(super) fn scored_train_len(&self, train: &Dataset) -> Option<usize> {
        let most = if train.windows().is_some() { self.eval_windows.unwrap_or(EVAL_WINDOWS) } else { usize::MAX };
        match self.train_eval {
            TrainEval::All => Some(train.len().min(most)),
            some => some.samples(train.len()),
        }
    }

    /// What an evaluation scores of the training data, if anything.
    ///
    /// # Errors
    /// As [`TrainEval::part`].
    pub(super) fn scored_train(&self, train: &Dataset) -> Result<Option<Dataset>, DataError> {
        match self.train_eval {
            TrainEval::All => Ok(Some(self.scored(train))),
            some => some.part(train, self.subset_seed),
        }
    }

    /// Random changes to the training images.
    #[must_use]
    pub fn augmentation(&self) -> Augmentation {
        Augmentation {
            crop_padding: self.crop_padding,
            reflect: self.crop_reflect,
            flip: self.flip,
            cutout: self.cutout,
            seed: self.seed,
        }
    }

    /// What is chosen of the model beside its description.
    #[must_use]
    pub fn model_options(&self) -> ModelOptions {
        ModelOptions { dropout: self.dropout }
    }

    /// The optimizer.
    #[must_use]
    pub fn optimizer_config(&self) -> OptimizerConfig {
        OptimizerConfig {
            kind: self.optimizer,
            momentum: self.momentum,
            dampening: self.dampening,
            nesterov: self.nesterov,
            weight_decay: self.weight_decay,
            decay: self.decay,
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            adjust_lr: self.adjust_lr,
            ..OptimizerConfig::default()
        }
    }
}
