//! A batch of tokens from the resident samples: the host side of `shaders/gather_tokens.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, Recorder, View};

use super::{Target, index_u32};

pub(super) static GATHER_TOKENS: KernelSpec = KernelSpec {
    entry: "gather_tokens",
    source: concat!(include_str!("../../shaders/gather_tokens.wgsl"), include_str!("../../shaders/shared/index.wgsl"),),
    bindings: &[("samples", Access::Read), ("indices", Access::Index), ("output", Access::ReadWrite)],
    immediate_bytes: 20,
};

/// The planned gather of one batch size.
#[derive(Debug)]
pub struct GatherTokens {
    dispatch: Dispatch,
    batch: u32,
    length: u32,
    stride: u32,
}

impl GatherTokens {
    /// Its dispatch.
    pub(crate) fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// What the gather of a batch of texts of `length` tokens launches.
    pub(crate) fn launch(target: &Target, batch: usize, length: usize) -> Result<Launch, GpuError> {
        target.launch(&GATHER_TOKENS, &[], batch * length)
    }

    /// Plans a gather; shapes: samples [samples, length], or with `windows` one text of which indices are tokens, indices
    /// `[positions]`, output [batch, length], all u32.
    ///
    /// # Errors
    /// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
    pub fn new(
        gpu: &Gpu,
        [samples, indices, output]: [&View; 3],
        [batch, length]: [usize; 2],
        windows: bool,
    ) -> Result<Self, GpuError> {
        let kernel = GATHER_TOKENS.entry;
        output.expect_len(kernel, "output", batch * length)?;
        index_u32(kernel, &[samples.len()])?;
        index_u32(kernel, &[batch, length])?;
        let launch = Self::launch(&Target::for_device(gpu), batch, length)?;
        let dispatch = gpu.bind(&launch, &[samples, indices, output], &[])?;
        let stride = if windows { 1 } else { length as u32 };
        Ok(Self { dispatch, batch: batch as u32, length: length as u32, stride })
    }

    /// Records the batch of `valid` samples from position `first` on.
    pub fn record(&self, recorder: &mut Recorder<'_>, first: u32, valid: u32) {
        recorder.run_with(&self.dispatch, bytemuck::cast_slice(&[first, valid, self.batch, self.length, self.stride]));
    }
}
