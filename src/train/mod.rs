//! Training: configuration, the loop, evaluation, metrics, and arms compared over seeds.

mod batch;
mod calibrate;
mod checkpoint;
mod compare;
mod config;
mod device_data;
mod error;
mod evaluate;
mod footprint;
mod normalise;
mod on_nan;
mod options;
mod precision;
mod prepared;
mod record;
mod run;
mod supervisor;
mod trainer;

pub use batch::AUTO_BATCH;
pub(crate) use checkpoint::parse_sums;
pub use checkpoint::{CheckpointError, Interval, KeepOptions, Manifest, Position, newest_checkpoint};
pub use compare::{Arm, ArmRuns, Finish, Traces, compare};
pub use config::RunConfig;
pub use device_data::DeviceData;
pub use error::TrainError;
pub use evaluate::Evaluator;
pub use footprint::Footprint;
pub use normalise::Normalise;
pub use on_nan::OnNan;
pub use options::Options;
pub use precision::Precision;
pub use prepared::Prepared;
pub use record::{EpochRecord, Evaluation, MetricsFile, MetricsFiles, Scores, StepRecord};
pub use run::{Control, Event, RunResult, Status, run};
pub use supervisor::{OnDeviceLost, Supervisor, SupervisorOptions, Told};
pub use trainer::Trainer;
