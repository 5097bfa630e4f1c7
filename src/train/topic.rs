//! What keys are about: the headings of a command's help.

/// Which samples there are, with which labels and at which scale.
pub const DATA: &str = "Data";
/// Random changes to training images.
pub const AUGMENTATION: &str = "Augmentation";
/// The network and what it minimises.
pub const MODEL: &str = "Model and loss";
/// What a step does with weights, noise and gradients, beside plain descent.
pub const RULE: &str = "Rule";
/// The noise of a step.
pub const NOISE: &str = "Noise";
/// How sigma changes over a run.
pub const SIGMA_SCHEDULE: &str = "Noise over the run";
/// The update of a step, but for its size.
pub const OPTIMIZER: &str = "Optimizer";
/// The size of a step, over a run.
pub const LEARNING_RATE: &str = "Learning rate";
/// Length, batches and beginning of a run.
pub const RUN: &str = "Run";
/// When and on what a run is scored.
pub const EVALUATION: &str = "Evaluation";
