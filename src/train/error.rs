//! What can go wrong with a run.

use std::path::PathBuf;

use crate::{
    analysis::AnalysisError,
    data::DataError,
    gpu::GpuError,
    graph::GraphError,
    nn::{ModelError, WeightsError},
};

use super::{CheckpointError, DeviceDataError};

/// Errors of training; each is one sentence a person can act on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model's description.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model's graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Weights on disk.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A measurement.
    #[error(transparent)]
    Analysis(#[from] AnalysisError),
    /// Model and data do not fit.
    #[error("model {model} takes {expected} inputs, but samples of {data} have {found} ({shape})")]
    Features {
        /// The model.
        model: String,
        /// The data set.
        data: String,
        /// Inputs of the model.
        expected: usize,
        /// Features of a sample.
        found: usize,
        /// channels x height x width
        shape: String,
    },
    /// A text for a model that takes none.
    #[error("model {model} takes {input}, but {data} is a text: a model over tokens begins with an embedding of them")]
    NoTokens {
        /// The model.
        model: String,
        /// The data set.
        data: String,
        /// What the model takes.
        input: String,
    },
    /// More classes than outputs.
    #[error("model {model} has {outputs} outputs, but {data} has {classes} classes")]
    Classes {
        /// The model.
        model: String,
        /// The data set.
        data: String,
        /// Width of the output.
        outputs: usize,
        /// Classes.
        classes: usize,
    },
    /// Outputs of another number than there are targets.
    #[error("model {model} gives {found} outputs a sample, but the targets of {data} are {wanted}")]
    Outputs {
        /// The model.
        model: String,
        /// The data set.
        data: String,
        /// Positions x width of the outputs.
        found: String,
        /// Targets of a sample.
        wanted: String,
    },
    /// Checkpoints.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Metrics that are not those of the run.
    #[error("{}: {reason}", path.display())]
    Metrics {
        /// The file.
        path: PathBuf,
        /// Expected and found.
        reason: String,
    },
    /// A run ended by an error after it had written a checkpoint.
    #[error("{source}; the checkpoint of step {step} stays: go on with --resume {}", run.display())]
    Stopped {
        /// What ended it.
        source: Box<TrainError>,
        /// Steps done in the last checkpoint.
        step: u64,
        /// The run's folder.
        run: PathBuf,
    },
    /// The step's buffers do not fit the adapter or its memory.
    #[error("{model} with batches of {batch} does not fit {adapter}: {reason}; {advice}")]
    Memory {
        /// The model.
        model: String,
        /// Samples of a batch.
        batch: usize,
        /// The adapter.
        adapter: String,
        /// Bytes needed and there.
        reason: String,
        /// The largest batch that fits.
        advice: String,
    },
    /// A configuration that makes no sense.
    #[error("{key}: {reason}")]
    Config {
        /// The key, as in the file and on the command line.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl From<DeviceDataError> for TrainError {
    fn from(error: DeviceDataError) -> Self {
        match error {
            DeviceDataError::Data(error) => error.into(),
            DeviceDataError::Gpu(error) => error.into(),
        }
    }
}
