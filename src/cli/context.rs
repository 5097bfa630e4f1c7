//! What every subcommand may use.

use std::time::Instant;

use jostle::{
    gpu::{AdapterChoice, Gpu, GpuError, cache_folder},
    train::Options,
};

/// What every subcommand may use.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) adapter: AdapterChoice,
    pub(super) json: bool,
    /// What is given of a run's configuration: of those keys that the subcommand takes.
    pub(super) options: Options,
    /// When the command line was read, which is when the process began.
    pub(super) started: Instant,
}

impl Context {
    pub(super) fn gpu(&self) -> Result<Gpu, GpuError> {
        let gpu = match cache_folder() {
            Some(folder) => Gpu::with_cache(&self.adapter, &folder)?,
            None => Gpu::new(&self.adapter)?,
        };
        log::info!("adapter {}, {}", gpu.adapter_name(), gpu.driver());
        Ok(gpu)
    }
}
