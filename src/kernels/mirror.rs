//! The network's weights on the other side of the clean ones: the host side of `shaders/mirror.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Recorder};

use super::{Arena, Target, arena_parts};

pub(super) static MIRROR: KernelSpec = KernelSpec {
    entry: "mirror",
    source: concat!(include_str!("../../shaders/mirror.wgsl"), include_str!("../../shaders/shared/index.wgsl")),
    bindings: &[("weights", Access::Read), ("weights_eff", Access::Real)],
    immediate_bytes: 4,
};

/// A planned reflection of the network's weights in the clean ones.
#[derive(Debug)]
pub struct Mirror(Vec<Dispatch>);

impl Mirror {
    /// Plans `weights_eff = 2 weights - weights_eff`, in place: a draw that was added is subtracted, but for the rounding of its sum.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the adapter's grid, and where the kernel does not compile.
    pub fn new(gpu: &Gpu, arena: &Arena) -> Result<Self, GpuError> {
        let parts = arena_parts(gpu.limits(), arena.layout.words()).map(|(start, words)| {
            let launch = Target::for_device(gpu).launch(&MIRROR, &[], words / 4)?;
            let views = [&arena.weights.part(start, words)?, &arena.effective_part(start, words)?];
            gpu.bind(&launch, &views, bytemuck::bytes_of(&((words / 4) as u32)))
        });
        parts.collect::<Result<_, _>>().map(Self)
    }

    /// Records it.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        self.0.iter().for_each(|dispatch| recorder.run(dispatch));
    }
}
