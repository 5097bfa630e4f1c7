//! What a run's folder holds.

use std::path::PathBuf;

use jostle::{
    experiments::run_figure,
    nn,
    train::{MetricsFile, Options, RunConfig, TrainError},
};
use pyo3::{prelude::*, types::PyDict};

use crate::{arrays::to_arrays, failure::Failure};

/// The keys of a configuration, as in a file.
#[pyfunction]
pub fn config_keys() -> Vec<String> {
    RunConfig::arguments().iter().filter_map(|key| key.get_long().map(str::to_owned)).collect()
}

/// A configuration's file as JSON, with the defaults of what it does not say.
#[pyfunction]
pub fn read_config(path: PathBuf) -> PyResult<String> {
    let read =
        || -> Result<_, Failure> { Ok(serde_json::to_string(&RunConfig::resolve(Some(&path), &Options::default())?)?) };
    Ok(read()?)
}

/// The tensors of a safetensors file as arrays.
#[pyfunction]
pub fn weights<'py>(py: Python<'py>, path: PathBuf) -> PyResult<Bound<'py, PyDict>> {
    let tensors = py.detach(|| nn::read_tensors(&path)).map_err(|error| Failure::from(TrainError::from(error)))?;
    to_arrays(py, tensors)
}

/// The curves of a run, from its metrics, as SVG.
#[pyfunction]
pub fn run_svg(py: Python<'_>, metrics: PathBuf, title: String) -> PyResult<String> {
    let draw = || -> Result<_, Failure> {
        let (steps, epochs) = MetricsFile::read(&metrics)?;
        Ok(run_figure(&title, &epochs, &steps).to_svg()?)
    };
    Ok(py.detach(draw)?)
}
