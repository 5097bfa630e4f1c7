//! An exponential moving average of an arena: the host side of `shaders/moving_average.wgsl`.

use crate::gpu::{Access, Buffer, Dispatch, Gpu, GpuError, KernelSpec, Recorder};

use super::{WORKGROUP, WORKGROUP_SIZE, arena_parts};

pub(super) static MOVING_AVERAGE: KernelSpec = KernelSpec {
    entry: "moving_average",
    source: concat!(include_str!("../../shaders/moving_average.wgsl"), include_str!("../../shaders/shared/index.wgsl")),
    bindings: &[("input", Access::Read), ("average", Access::ReadWrite)],
    immediate_bytes: 8,
};

/// A planned moving average.
#[derive(Debug)]
pub struct MovingAverage(Vec<Dispatch>);

impl MovingAverage {
    /// Plans `average = decay average + (1 - decay) input` over two buffers of one length, a multiple of 4.
    ///
    /// # Errors
    /// [`GpuError::Length`] for buffers of different lengths, and where the kernel does not compile.
    pub fn new(gpu: &Gpu, input: &Buffer, average: &Buffer, decay: f64) -> Result<Self, GpuError> {
        let entry = MOVING_AVERAGE.entry;
        average.view().expect_len(entry, "average", input.len())?;
        let kernel = gpu.kernel(&MOVING_AVERAGE, &[WORKGROUP])?;
        let dispatches = arena_parts(gpu.limits(), input.len()).map(|(start, words)| {
            let grid = gpu.grid_1d(entry, words / 4, WORKGROUP_SIZE)?;
            let values = [(words / 4) as u32, ((1.0 - decay) as f32).to_bits()];
            let views = [&input.part(start, words)?, &average.part(start, words)?];
            kernel.dispatch(gpu, grid, &views, bytemuck::cast_slice(&values))
        });
        dispatches.collect::<Result<_, _>>().map(Self)
    }

    /// Records one step of the average.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        for dispatch in &self.0 {
            recorder.run(dispatch);
        }
    }
}
