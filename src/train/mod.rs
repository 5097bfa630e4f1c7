//! Training: configuration, the loop, evaluation, metrics, and arms compared over seeds.

mod compare;
mod config;
mod device_data;
mod error;
mod evaluate;
mod footprint;
mod record;
mod run;
mod trainer;

pub use compare::{Arm, ArmRuns, Finish, compare};
pub use config::{Options, RunConfig};
pub use device_data::DeviceData;
pub use error::TrainError;
pub use evaluate::Evaluator;
pub use footprint::Footprint;
pub use record::{EpochRecord, Evaluation, MetricsFile, StepRecord};
pub use run::{Control, Event, RunResult, Status, run};
pub use trainer::{Prepared, Trainer};
