//! Batch norm by running statistics, taken apart: the normalisation of each channel as a call.

use std::sync::Arc;

use crate::{
    gpu::{GpuError, Launch},
    graph::{Binding, Call, Kernel, LaunchContext, Record, Tangent},
    kernels::{NormShape, channel_normalise},
};

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
