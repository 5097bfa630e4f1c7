//! Optimizers with PyTorch's exact update rules, and learning-rate schedules.

mod optimizer;
mod schedule;

pub use optimizer::{Decay, Optimizer, OptimizerConfig, OptimizerKind};
pub use schedule::{LearningRate, LearningRateSchedule, StepRate};
