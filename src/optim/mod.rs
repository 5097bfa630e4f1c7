//! Optimizers with PyTorch's exact update rules, and learning-rate schedules.

mod optimizer;
mod schedule;

pub use optimizer::{Optimizer, OptimizerConfig, OptimizerKind};
pub use schedule::{LearningRate, LearningRateSchedule, StepRate};
