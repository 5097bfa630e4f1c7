//! What every experiment is given beside its settings.

use std::path::PathBuf;

use crate::gpu::Gpu;

use super::ExperimentError;

/// Where to run, and who hears of the progress.
pub struct Surroundings<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// One's own problem.
    pub problem: Option<PathBuf>,
    /// Folder of a trained network.
    pub run: Option<PathBuf>,
    /// Folder for files beside the report's.
    pub out: PathBuf,
    /// Hears the share that is done, and of what. An error ends the experiment: [`ExperimentError::Stopped`] where nothing went
    /// wrong.
    pub progress: &'a mut dyn FnMut(f64, &str) -> Result<(), ExperimentError>,
}
