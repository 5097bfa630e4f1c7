//! Optimizers with PyTorch's exact update rules, and learning-rate schedules.

mod config;
mod optimizer;
mod schedule;
mod values;

pub use config::{AdjustLr, Decay, OptimizerConfig, OptimizerKind, PosteriorConfig, UpdateUse};
pub use optimizer::Optimizer;
pub use schedule::{LearningRate, LearningRateSchedule, StepRate};
