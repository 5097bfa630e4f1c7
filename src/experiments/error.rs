//! What can go wrong with an experiment.

use std::path::PathBuf;

use crate::{
    analysis::AnalysisError,
    data::DataError,
    gpu::GpuError,
    graph::GraphError,
    nn::WeightsError,
    report::ReportError,
    train::{DeviceDataError, TrainError},
};

use super::convex::ConvexError;

/// An experiment that cannot be run or written down.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// Whoever hears of the progress wants no more of it.
    #[error("stopped before all was measured")]
    Stopped,
    /// A name that no experiment has.
    #[error("no experiment is called {found:?}; there are {known}")]
    Unknown {
        /// The name given.
        found: String,
        /// The names there are.
        known: String,
    },
    /// Settings that cannot be read.
    #[error("settings of {experiment}: {reason}")]
    Settings {
        /// The experiment.
        experiment: String,
        /// What is wrong.
        reason: String,
    },
    /// A problem file that holds something else than it should.
    #[error("{}: {reason}", path.display())]
    Problem {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A size that the adapter cannot hold.
    #[error("{what} needs {bytes} bytes, and {adapter} binds at most {limit}")]
    TooLarge {
        /// What does not fit.
        what: String,
        /// Bytes it takes.
        bytes: u64,
        /// The adapter's limit.
        limit: u64,
        /// The adapter.
        adapter: String,
    },
    /// A convex solver.
    #[error("the convex solver: {0}")]
    Convex(#[from] ConvexError),
    /// The device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// A network's graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A measurement.
    #[error(transparent)]
    Analysis(#[from] AnalysisError),
    /// A training run.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A data set.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Weights or coefficients.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A figure or report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Results that cannot be written as JSON.
    #[error("writing JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<DeviceDataError> for ExperimentError {
    fn from(error: DeviceDataError) -> Self {
        TrainError::from(error).into()
    }
}

impl ExperimentError {
    /// The first of (whether wrong, what has to be) that is wrong.
    ///
    /// # Errors
    /// [`ExperimentError::Settings`] with it.
    pub(super) fn unless_right(experiment: &str, checks: &[(bool, &str)]) -> Result<(), Self> {
        match checks.iter().find(|(wrong, _)| *wrong) {
            None => Ok(()),
            Some((_, reason)) => {
                Err(Self::Settings { experiment: experiment.to_owned(), reason: (*reason).to_owned() })
            }
        }
    }
}
