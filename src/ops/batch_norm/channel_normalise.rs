//! Batch norm by running statistics, taken apart: the normalisation of each channel as a call, and the host side of
//! `shaders/channel_normalise.wgsl`.

use std::sync::Arc;

use crate::{
    gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, View},
    graph::{Binding, Call, Kernel, LaunchContext, Record, Tangent},
    kernels::{Target, flag},
};

use super::super::norm::NormShape;

/// (input - mean) / standard deviation by running statistics; operands: input, running mean, running variance, output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ChannelNormalise {
    /// How the value lies.
    pub(super) shape: NormShape,
    /// Whether the mean is taken off: not in derivatives.
    pub(super) centre: bool,
}

impl Kernel for ChannelNormalise {
    fn kind(&self) -> &'static str {
        "normalise"
    }

    fn sizes(&self) -> String {
        format!("batch {}", self.shape.batch())
    }

    /// A fixed scale and shift, of which derivatives have the scale.
    fn tangent(&self) -> Tangent<'_> {
        Tangent::Own(Box::new(|pass, name, call| {
            let mut derivative = call.clone();
            derivative.kernel = Arc::new(Self { centre: false, ..*self });
            pass.linear(name, &derivative, &[0])
        }))
    }

    fn flops(&self, call: &Call) -> u64 {
        2 * call.len(3) as u64
    }

    fn launches(&self, call: &Call, context: &LaunchContext) -> Result<Vec<Launch>, GpuError> {
        Ok(vec![self.shape.channel_normalise_launch(&context.target, self.centre, call.adds(3))?])
    }

    fn bind(&self, call: &Call, binding: &Binding<'_>) -> Result<Box<dyn Record>, GpuError> {
        let views = [binding.view(0)?, binding.view(3)?];
        let stats = [binding.view(1)?, binding.view(2)?];
        Ok(Box::new(channel_normalise(binding.gpu, &self.shape, views, stats, self.centre, call.adds(3))?))
    }
}

pub(super) static CHANNEL_NORMALISE: KernelSpec = KernelSpec {
    entry: "channel_normalise",
    source: concat!(
        include_str!("../../../shaders/channel_normalise.wgsl"),
        include_str!("../../../shaders/shared/norm.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
    ),
    bindings: &[
        ("input", Access::ReadWrite),
        ("mean", Access::ReadWrite),
        ("variance", Access::ReadWrite),
        ("output", Access::ReadWrite),
    ],
    immediate_bytes: size_of::<NormShape>() as u32,
};

impl NormShape {
    /// What [`channel_normalise`] launches.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn channel_normalise_launch(
        &self,
        target: &Target,
        centre: bool,
        accumulate: bool,
    ) -> Result<Launch, GpuError> {
        target.launch(&CHANNEL_NORMALISE, &[flag("CENTRE", centre), flag("ACCUMULATE", accumulate)], self.words())
    }
}

/// Plans `output (+)= (input - mean) / sqrt(variance + eps)` by channel; without `centre` the mean is left out.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn channel_normalise(
    gpu: &Gpu,
    shape: &NormShape,
    [input, output]: [&View; 2],
    [mean, variance]: [&View; 2],
    centre: bool,
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    let kernel = CHANNEL_NORMALISE.entry;
    let per_channel = NormShape { per_pixel: 0, ..*shape };
    per_channel.check(kernel, &[("input", input), ("output", output)], &[("mean", mean), ("variance", variance)])?;
    let launch = shape.channel_normalise_launch(&Target::for_device(gpu), centre, accumulate)?;
    gpu.bind(&launch, &[input, mean, variance, output], bytemuck::bytes_of(shape))
}
