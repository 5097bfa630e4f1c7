//! L2 norm of every filter: the host side of `shaders/filter_norm.wgsl`.

use crate::gpu::{Access, Buffer, Dispatch, Gpu, GpuError, KernelSpec, Recorder};

use super::{Arena, WORKGROUP, WORKGROUP_SIZE};

pub(super) static FILTER_NORM: KernelSpec = KernelSpec {
    entry: "filter_norm",
    source: concat!(include_str!("../../shaders/filter_norm.wgsl"), include_str!("../../shaders/shared/index.wgsl"),),
    bindings: &[("weights", Access::Read), ("filters", Access::Read), ("norms", Access::ReadWrite)],
    immediate_bytes: 4,
};

/// Norms of the clean weights' filters. Where the arena is larger than a binding, one dispatch a tensor.
#[derive(Debug)]
pub struct FilterNorms {
    /// Per tensor (first filter, elements per filter, 0, 0).
    pub by_tensor: Buffer,
    /// One per filter, in the order of the tensors.
    pub norms: Buffer,
    dispatches: Vec<Dispatch>,
}

impl FilterNorms {
    /// # Errors
    /// [`GpuError::TooLarge`] for a tensor past the binding limit, and where the kernel does not compile.
    pub fn new(gpu: &Gpu, arena: &Arena) -> Result<Self, GpuError> {
        let kernel = gpu.kernel(&FILTER_NORM, &[WORKGROUP])?;
        let spans = arena.layout.spans();
        let total: usize = spans.iter().map(|span| span.filters).sum();
        // Each tensor's norms start at an aligned place, because they are bound as a view of their own.
        let mut starts = Vec::with_capacity(spans.len());
        let mut words = 0;
        for span in spans {
            starts.push(words);
            words += crate::gpu::align_words(span.filters);
        }
        let norms = gpu.buffer("filter norms", words.max(total))?;
        let mut by_tensor = Vec::with_capacity(spans.len());
        let mut dispatches = Vec::with_capacity(spans.len());
        for (tensor, (span, start)) in spans.iter().zip(&starts).enumerate() {
            let len = span.len / span.filters.max(1);
            by_tensor.push([*start as u32, len.max(1) as u32, 0, 0]);
            let ranges: Vec<_> = (0..span.filters).map(|filter| [(filter * len) as u32, len as u32]).collect();
            let ranges = gpu.upload("filters", &ranges)?;
            let grid = gpu.grid_1d(FILTER_NORM.entry, span.filters, WORKGROUP_SIZE)?;
            let weights = arena.tensor(&arena.weights, tensor)?;
            let views = [&weights, &ranges.view(), &norms.part(*start, span.filters)?];
            dispatches.push(kernel.dispatch(gpu, grid, &views, bytemuck::bytes_of(&(span.filters as u32)))?);
        }
        Ok(Self { by_tensor: gpu.upload("filters by tensor", &by_tensor)?, norms, dispatches })
    }

    /// Records the norms of the weights as they are.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        for dispatch in &self.dispatches {
            recorder.run(dispatch);
        }
    }
}
