//! Clipping of a gradient by its norm: the host side of `shaders/clip_factor.wgsl` and `shaders/clip_scale.wgsl`.

use crate::gpu::{Access, Buffer, Dispatch, Gpu, GpuError, Grid, KernelSpec, Recorder};

use super::{Norms, WORKGROUP, WORKGROUP_SIZE, arena_parts};

pub(super) static CLIP_FACTOR: KernelSpec = KernelSpec {
    entry: "clip_factor",
    source: include_str!("../../shaders/clip_factor.wgsl"),
    bindings: &[("partials", Access::Read), ("factor", Access::ReadWrite)],
    immediate_bytes: 8,
};

pub(super) static CLIP_SCALE: KernelSpec = KernelSpec {
    entry: "clip_scale",
    source: concat!(include_str!("../../shaders/clip_scale.wgsl"), include_str!("../../shaders/shared/index.wgsl")),
    bindings: &[("grads", Access::ReadWrite), ("factor", Access::Read)],
    immediate_bytes: 4,
};

/// The planned clipping of one arena of gradients.
#[derive(Debug)]
pub struct Clip {
    norms: Norms,
    factor: Dispatch,
    scales: Vec<Dispatch>,
}

impl Clip {
    /// Plans `grads *= min(1, limit / (norm of grads + 1e-6))`, the norm over the whole arena; its padding has to be 0.
    ///
    /// Source: `torch.nn.utils.clip_grad_norm_`.
    ///
    /// # Errors
    /// As [`Gpu::buffer`], and where a kernel does not compile.
    pub fn new(gpu: &Gpu, grads: &Buffer, limit: f32) -> Result<Self, GpuError> {
        let norms = Norms::new(gpu, grads)?;
        let factor = gpu.buffer("clip factor", 1)?.view();
        let partials = norms.partials();
        let values = [(partials.len() / 2) as u32, limit.to_bits()];
        let kernel = gpu.kernel(&CLIP_FACTOR, &[])?;
        let of = kernel.dispatch(gpu, Grid([1, 1, 1]), &[&partials, &factor], bytemuck::cast_slice(&values))?;
        let kernel = gpu.kernel(&CLIP_SCALE, &[WORKGROUP])?;
        let scales = arena_parts(gpu, grads.len())
            .map(|(start, words)| {
                let grid = gpu.grid_1d(CLIP_SCALE.entry, words / 4, WORKGROUP_SIZE)?;
                let count = [(words / 4) as u32];
                kernel.dispatch(gpu, grid, &[&grads.part(start, words)?, &factor], bytemuck::cast_slice(&count))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { norms, factor: of, scales })
    }

    /// Records the clipping of what the arena holds.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        self.norms.record(recorder);
        recorder.run(&self.factor);
        for scale in &self.scales {
            recorder.run(scale);
        }
    }
}
