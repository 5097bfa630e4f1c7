//! A batch from the resident bytes: the host side of `shaders/gather.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Recorder, View};

use super::{WORKGROUP, WORKGROUP_SIZE, index_u32};

pub(super) static GATHER: KernelSpec = KernelSpec {
    entry: "gather",
    source: concat!(include_str!("../../shaders/gather.wgsl"), include_str!("../../shaders/shared/index.wgsl")),
    bindings: &[("pixels", Access::Read), ("indices", Access::Read), ("output", Access::ReadWrite)],
    immediate_bytes: size_of::<BatchValues>() as u32,
};

/// Which samples, and how bytes become inputs.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub struct BatchValues {
    /// First position in the order of the epoch.
    pub first: u32,
    /// Rows that hold a sample; the rest is 0.
    pub valid: u32,
    /// batch * features
    pub count: u32,
    /// Features of a sample.
    pub features: u32,
    /// input = byte * scale + shift
    pub scale: f32,
    /// See `scale`.
    pub shift: f32,
}

/// The planned gather of one batch size from one data set.
#[derive(Debug)]
pub struct Gather {
    dispatch: Dispatch,
    values: BatchValues,
}

impl Gather {
    /// Shapes: `pixels` [samples * features] bytes in words, `indices` [samples], `output` [batch * features].
    ///
    /// # Errors
    /// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
    pub fn new(
        gpu: &Gpu,
        [pixels, indices, output]: [&View; 3],
        [batch, features]: [usize; 2],
        [scale, shift]: [f32; 2],
    ) -> Result<Self, GpuError> {
        output.expect_len(GATHER.entry, "output", batch * features)?;
        index_u32(GATHER.entry, &[pixels.len(), 4])?;
        let count = index_u32(GATHER.entry, &[batch, features])?;
        let values = BatchValues { first: 0, valid: 0, count, features: features as u32, scale, shift };
        let grid = gpu.grid_1d(GATHER.entry, count as usize, WORKGROUP_SIZE)?;
        let kernel = gpu.kernel(&GATHER, &[WORKGROUP])?;
        Ok(Self { dispatch: kernel.dispatch(gpu, grid, &[pixels, indices, output], &[])?, values })
    }

    /// Records the batch of `valid` samples from position `first` on.
    pub fn record(&self, recorder: &mut Recorder<'_>, first: u32, valid: u32) {
        let values = BatchValues { first, valid, ..self.values };
        recorder.run_with(&self.dispatch, bytemuck::bytes_of(&values));
    }
}
