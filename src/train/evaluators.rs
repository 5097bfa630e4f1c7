//! The parts of the data that a network in training is scored on.

use crate::{data::Dataset, gpu::Gpu, kernels::Arena};

use super::{Evaluator, Prepared, RunConfig, TrainError};

/// The parts of the data, each with the plan that scores a network on it.
#[derive(Debug)]
pub(super) struct Evaluators {
    /// The training data or a part of them; `None` where they are not scored.
    pub(super) train: Option<Evaluator>,
    pub(super) validation: Option<Evaluator>,
    pub(super) test: Evaluator,
}

impl Evaluators {
    pub(super) fn new(
        gpu: &Gpu,
        arena: &Arena,
        config: &RunConfig,
        prepared: &Prepared,
        normalisation: &[[f32; 2]],
    ) -> Result<Self, TrainError> {
        let evaluator =
            |data: Dataset| Evaluator::new(gpu, &prepared.model, arena, data, normalisation, prepared.loss.clone());
        Ok(Self {
            train: config.scored_train(&prepared.split.train)?.map(evaluator).transpose()?,
            validation: prepared.validation.clone().map(evaluator).transpose()?,
            test: evaluator(prepared.split.test.clone())?,
        })
    }
}
