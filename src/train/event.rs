//! What a run tells as it goes, and how it ends.

use super::{Best, EpochRecord, StepRecord};

/// What the loop tells as it goes.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "passed on, not kept")]
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
    /// The network was evaluated, after an epoch or within one.
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

/// What was not finite in a run that diverged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The loss.
    Loss,
    /// The weights after the step, which are looked at for checkpoints.
    Weights,
    /// The gradients of this step and of every one after it, so that no update was made.
    Gradients,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Status {
    /// All steps done, or the validation loss waited for in vain.
    Finished,
    /// Stopped by the caller.
    Interrupted,
    /// Something was not finite.
    Diverged {
        /// The first such step.
        step: u64,
        /// Its noisy group in mode `layer`.
        group: Option<usize>,
        /// Standard deviation of its noise.
        sigma: f64,
        /// What it was.
        broken: Broken,
    },
}

/// What a run leaves beside its weights.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// One record an evaluation.
    pub epochs: Vec<EpochRecord>,
    /// How it ended.
    pub status: Status,
    /// The evaluation with the lowest validation loss; without a validation split the last is the best there is.
    pub best: Option<Best>,
    /// Whether it ended because the validation loss was waited for in vain.
    pub stopped_early: bool,
}

impl RunResult {
    /// Whether something was not finite.
    #[must_use]
    pub fn diverged(&self) -> bool {
        matches!(self.status, Status::Diverged { .. })
    }

    /// The last evaluation; `None` where the run diverged, as what one scored before is not its end.
    #[must_use]
    pub fn end(&self) -> Option<&EpochRecord> {
        self.epochs.last().filter(|_| !self.diverged())
    }
}
