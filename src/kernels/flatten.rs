//! Images to rows of features and back: the host side of `shaders/flatten.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, View};

use super::{Target, flag, index_u32, padded_channels};

pub(super) static FLATTEN: KernelSpec = KernelSpec {
    entry: "flatten",
    source: concat!(include_str!("../../shaders/flatten.wgsl"), include_str!("../../shaders/shared/index.wgsl")),
    bindings: &[("input", Access::Real), ("output", Access::Real)],
    immediate_bytes: 16,
};

/// What [`flatten`] launches.
pub(crate) fn flatten_launch(
    target: &Target,
    [batch, pixels, channels]: [usize; 3],
    back: bool,
    accumulate: bool,
) -> Result<Launch, GpuError> {
    let per_pixel = if back { padded_channels(channels) } else { channels };
    let constants = [flag("BACK", back), flag("ACCUMULATE", accumulate)];
    target.launch(&FLATTEN, &constants, batch * pixels * per_pixel)
}

/// Plans the rows [batch, channels * pixels] of images [batch, pixels, padded channels], or with `back` the images of rows.
///
/// # Errors
/// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
pub fn flatten(
    gpu: &Gpu,
    [input, output]: [&View; 2],
    [batch, pixels, channels]: [usize; 3],
    back: bool,
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    let kernel = FLATTEN.entry;
    let stride = padded_channels(channels);
    index_u32(kernel, &[batch, pixels, stride])?;
    let (image, rows) = if back { (output, input) } else { (input, output) };
    image.expect_len(kernel, "image", batch * pixels * stride)?;
    rows.expect_len(kernel, "rows", batch * pixels * channels)?;
    let launch = flatten_launch(&Target::for_device(gpu), [batch, pixels, channels], back, accumulate)?;
    let immediates = [batch, pixels, channels, stride].map(|side| side as u32);
    gpu.bind(&launch, &[input, output], bytemuck::cast_slice(&immediates))
}
