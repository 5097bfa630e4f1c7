//! Errors of the engine as Python's exceptions.

use jostle::{data::DataError, experiments::ExperimentError, gpu::GpuError, report::ReportError, train::TrainError};
use pyo3::{exceptions::PyRuntimeError, prelude::*};

/// An exception of `jostle._errors`, by its name.
#[derive(Debug)]
pub struct Failure {
    class: &'static str,
    sentence: String,
}

impl Failure {
    /// A configuration, or an argument, that makes no sense.
    pub fn config(sentence: impl Into<String>) -> Self {
        Self { class: "ConfigError", sentence: sentence.into() }
    }
}

/// The class that the program's exit codes tell apart.
fn class(error: &TrainError) -> &'static str {
    match error {
        TrainError::Stopped { source, .. } => class(source),
        TrainError::Config { .. } | TrainError::Model(_) | TrainError::Data(DataError::UnknownSource { .. }) => {
            "ConfigError"
        }
        TrainError::Data(_) | TrainError::Features { .. } | TrainError::Classes { .. } | TrainError::Outputs { .. } => {
            "DataError"
        }
        TrainError::Gpu(error) => class_of_device(error),
        _ => "JostleError",
    }
}

fn class_of_device(error: &GpuError) -> &'static str {
    match error {
        GpuError::NoAdapter
        | GpuError::NoMatch { .. }
        | GpuError::MissingFeature { .. }
        | GpuError::RequestDevice { .. } => "AdapterError",
        _ => "JostleError",
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Self {
        Self { class: class(&error), sentence: error.to_string() }
    }
}

impl From<GpuError> for Failure {
    fn from(error: GpuError) -> Self {
        TrainError::from(error).into()
    }
}

impl From<ExperimentError> for Failure {
    fn from(error: ExperimentError) -> Self {
        let class = match &error {
            ExperimentError::Unknown { .. } | ExperimentError::Settings { .. } => "ConfigError",
            ExperimentError::Train(error) => class(error),
            ExperimentError::Gpu(error) => class_of_device(error),
            _ => "JostleError",
        };
        Self { class, sentence: error.to_string() }
    }
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        Self { class: "JostleError", sentence: error.to_string() }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self { class: "JostleError", sentence: format!("writing JSON: {error}") }
    }
}

impl From<Failure> for PyErr {
    fn from(Failure { class, sentence }: Failure) -> Self {
        Python::attach(|py| {
            let raised = py.import("jostle._errors").and_then(|errors| errors.getattr(class)?.call1((&sentence,)));
            match raised {
                Ok(exception) => Self::from_value(exception),
                // Where the package is not whole, the sentence still reaches whoever asked.
                Err(_) => PyRuntimeError::new_err(sentence),
            }
        })
    }
}
