//! `jostle._jostle`: what the package `jostle` calls. Records and results go to Python as JSON, numbers whole to the bit; arrays
//! as arrays. Everything that takes time runs without the GIL.

mod arrays;
mod comparing;
mod drawing;
mod failure;
mod folder;
mod measuring;
mod settings;
mod training;
mod watch;

use pyo3::prelude::*;

use failure::Failure;

/// The adapters of this machine, as JSON.
#[pyfunction]
fn adapters(py: Python<'_>) -> PyResult<String> {
    let list = || -> Result<String, Failure> {
        match jostle::gpu::list_adapters() {
            none if none.is_empty() => Err(jostle::gpu::GpuError::NoAdapter.into()),
            found => Ok(serde_json::to_string(&found)?),
        }
    };
    Ok(py.detach(list)?)
}

/// The program `jostle`: runs a command line, whose first word is the program's name, and returns its exit code.
#[pyfunction]
fn program(py: Python<'_>, words: Vec<std::ffi::OsString>) -> u8 {
    py.detach(|| jostle::cli::main(words))
}

/// The functions that the package calls.
#[pymodule]
mod _jostle {
    #[pymodule_export]
    use super::{
        adapters,
        comparing::{compare, experiment, experiments},
        drawing::draw,
        folder::{config_keys, read_config, run_svg, weights},
        measuring::{evaluate, hessian, noise},
        program,
        training::train,
    };

    /// Warnings of wgpu and of the engine go to stderr, as the program's.
    #[pymodule_init]
    fn init(_module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        let filter = env_logger::Env::default().default_filter_or("error");
        // Where there is a logger already, it goes on.
        let _ = env_logger::Builder::from_env(filter).try_init();
        Ok(())
    }
}
