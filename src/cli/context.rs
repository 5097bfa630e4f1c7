//! What every subcommand may use.

use std::time::Instant;

use jostle::{
    gpu::{AdapterChoice, Gpu, GpuError},
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
        let gpu = Gpu::with_caches(&self.adapter)?;
        log::info!("adapter {}, {}", gpu.adapter_name(), gpu.driver());
        Ok(gpu)
    }
}
