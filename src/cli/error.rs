//! Errors of the command line and their exit codes.

use std::path::PathBuf;

use jostle::{
    analysis::AnalysisError,
    data::DataError,
    estimate::DescriptionError,
    experiments::ExperimentError,
    gpu::GpuError,
    graph::GraphError,
    nn::{ModelError, WeightsError},
    report::ReportError,
    train::{DeviceDataError, TrainError},
};

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// The loss of some run was not finite.
    Diverged,
    /// Ctrl-C; what was reached is saved.
    Interrupted,
    /// Some claim of an experiment fails.
    Refuted,
    /// An essential claim of an experiment is inconclusive, or no claim applies.
    Undecided,
    /// A test failed on an adapter, or did not run.
    Incorrect,
    /// Some stage that was asked for was not done in full.
    Incomplete,
}

impl Exit {
    /// The process' exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Incorrect => 1,
            Self::Incomplete => 2,
            Self::Diverged => 4,
            Self::Refuted => 5,
            Self::Undecided => 6,
            Self::Interrupted => 130,
        }
    }
}

/// One sentence a person can act on.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A run.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// An experiment.
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    /// A figure or report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A GPU that cannot be planned for.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// The file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder that holds a run already.
    #[error("{} holds a run already: give another --out, or --overwrite; `jostle train --resume` resumes one", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// Options that make no sense together.
    #[error("{0}")]
    Usage(String),
    /// Output that cannot be written as JSON.
    #[error("writing JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Errors of the library reach us through [`TrainError`], which knows them all.
macro_rules! through_train_error {
    ($($error:ty),+) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::Train(error.into())
            }
        })+
    };
}

through_train_error!(GpuError, DataError, DeviceDataError, ModelError, GraphError, WeightsError, AnalysisError);

impl CliError {
    /// The process' exit code.
    pub fn exit(&self) -> u8 {
        match self {
            Self::Usage(_)
            | Self::Description(_)
            | Self::Train(
                TrainError::Config { .. } | TrainError::Model(_) | TrainError::Data(DataError::UnknownSource { .. }),
            )
            | Self::Experiment(ExperimentError::Unknown { .. } | ExperimentError::Settings { .. }) => 2,
            Self::Train(TrainError::Gpu(
                GpuError::NoAdapter
                | GpuError::NoMatch { .. }
                | GpuError::MissingFeature { .. }
                | GpuError::RequestDevice { .. },
            )) => 3,
            _ => 1,
        }
    }
}
