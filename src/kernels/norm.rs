//! Norms within a sample, affine parameters, and batch norm by running statistics taken apart: the host side of
//! `shaders/group_normalise*.wgsl`, `shaders/affine*.wgsl` and `shaders/channel_normalise.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, View};

use super::{Constant, WORKGROUP, WORKGROUP_SIZE, flag, index_u32};

macro_rules! norm_source {
    ($file:literal) => {
        concat!(
            include_str!(concat!("../../shaders/", $file, ".wgsl")),
            include_str!("../../shaders/shared/norm.wgsl"),
            include_str!("../../shaders/shared/index.wgsl"),
        )
    };
}

pub(super) static AFFINE: KernelSpec = KernelSpec {
    entry: "affine",
    source: norm_source!("affine"),
    bindings: &[("input", Access::Real), ("scale", Access::Real), ("shift", Access::Real), ("output", Access::Real)],
    immediate_bytes: size_of::<NormShape>() as u32,
};

pub(super) static AFFINE_GRADIENT: KernelSpec = KernelSpec {
    entry: "affine_gradient",
    source: norm_source!("affine_gradient"),
    bindings: &[
        ("grad", Access::Real),
        ("input", Access::Real),
        ("grad_scale", Access::ReadWrite),
        ("grad_shift", Access::ReadWrite),
    ],
    immediate_bytes: size_of::<NormShape>() as u32,
};

pub(super) static CHANNEL_NORMALISE: KernelSpec = KernelSpec {
    entry: "channel_normalise",
    source: norm_source!("channel_normalise"),
    bindings: &[
        ("input", Access::ReadWrite),
        ("mean", Access::ReadWrite),
        ("variance", Access::ReadWrite),
        ("output", Access::ReadWrite),
    ],
    immediate_bytes: size_of::<NormShape>() as u32,
};

pub(super) static GROUP_NORMALISE: KernelSpec = KernelSpec {
    entry: "group_normalise",
    source: norm_source!("group_normalise"),
    bindings: &[("input", Access::Real), ("output", Access::Real), ("inv_std", Access::ReadWrite)],
    immediate_bytes: size_of::<NormShape>() as u32,
};

pub(super) static GROUP_NORMALISE_GRADIENT: KernelSpec = KernelSpec {
    entry: "group_normalise_gradient",
    source: norm_source!("group_normalise_gradient"),
    bindings: &[
        ("grad", Access::Real),
        ("xhat", Access::Real),
        ("inv_std", Access::ReadWrite),
        ("output", Access::Real),
    ],
    immediate_bytes: size_of::<NormShape>() as u32,
};

pub(super) static GROUP_NORMALISE_CURVATURE: KernelSpec = KernelSpec {
    entry: "group_normalise_curvature",
    source: norm_source!("group_normalise_curvature"),
    bindings: &[
        ("grad", Access::ReadWrite),
        ("xhat", Access::ReadWrite),
        ("x_tangent", Access::ReadWrite),
        ("xhat_tangent", Access::ReadWrite),
        ("inv_std", Access::ReadWrite),
        ("output", Access::ReadWrite),
    ],
    immediate_bytes: size_of::<NormShape>() as u32,
};

/// Groups and parameters are few and their sums long.
const SUM_WORKGROUP: usize = 8;
const SUM_WORKGROUP_CONSTANT: Constant = ("WORKGROUP_SIZE", SUM_WORKGROUP as f64);

/// How a norm sees a value [batch, pixels, stride]: the first `channels` of `stride` are in use.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct NormShape {
    batch: u32,
    pixels: u32,
    channels: u32,
    stride: u32,
    groups: u32,
    per_pixel: u32,
    eps: f32,
}

impl NormShape {
    /// A value [batch, pixels, stride] in `groups` groups of channels; `per_pixel` says that affine parameters are
    /// [channels, pixels] and not [channels].
    ///
    /// # Errors
    /// [`GpuError::Shape`] for an empty side or groups that do not divide the channels.
    pub fn new(
        [batch, pixels, channels, stride]: [usize; 4],
        groups: usize,
        per_pixel: bool,
        eps: f32,
    ) -> Result<Self, GpuError> {
        let kernel = AFFINE.entry;
        let wrong = |reason| {
            let shape = format!("{batch} x {pixels} x {channels} of {stride} in {groups} groups");
            Err(GpuError::Shape { kernel, shape, reason })
        };
        if batch == 0 || pixels == 0 || channels == 0 || groups == 0 || stride < channels {
            return wrong("a side is empty");
        }
        if !channels.is_multiple_of(groups) {
            return wrong("groups do not divide the channels");
        }
        index_u32(kernel, &[batch, pixels, stride])?;
        let [batch, pixels, channels, stride] = [batch, pixels, channels, stride].map(|side| side as u32);
        Ok(Self { batch, pixels, channels, stride, groups: groups as u32, per_pixel: u32::from(per_pixel), eps })
    }

    fn words(&self) -> usize {
        self.batch as usize * self.pixels as usize * self.stride as usize
    }

    fn params(&self) -> usize {
        self.channels as usize * if self.per_pixel == 1 { self.pixels as usize } else { 1 }
    }

    /// Groups of all samples: words of the standard deviations' inverses.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.batch as usize * self.groups as usize
    }

    fn check(
        &self,
        kernel: &'static str,
        values: &[(&'static str, &View)],
        params: &[(&'static str, &View)],
    ) -> Result<(), GpuError> {
        values.iter().try_for_each(|(name, view)| view.expect_len(kernel, name, self.words()))?;
        params.iter().try_for_each(|(name, view)| view.expect_len(kernel, name, self.params()))
    }
}

/// Plans `output (+)= input scale [+ shift]`.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn affine(
    gpu: &Gpu,
    shape: &NormShape,
    [input, output]: [&View; 2],
    scale: &View,
    shift: Option<&View>,
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    let kernel = AFFINE.entry;
    shape.check(kernel, &[("input", input), ("output", output)], &[("scale", scale)])?;
    shift.map_or(Ok(()), |shift| shift.expect_len(kernel, "shift", shape.params()))?;
    let unused = gpu.unused(0)?;
    let constants = [WORKGROUP, flag("SHIFT", shift.is_some()), flag("ACCUMULATE", accumulate)];
    let grid = gpu.grid_1d(kernel, shape.words(), WORKGROUP_SIZE)?;
    let views = [input, scale, shift.unwrap_or(&unused), output];
    gpu.dispatch(&AFFINE, &constants, grid, &views, bytemuck::bytes_of(shape))
}

/// Plans `grad_scale (+)= sum grad input` and, where given, `grad_shift (+)= sum grad`.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn affine_gradient(
    gpu: &Gpu,
    shape: &NormShape,
    [grad, input]: [&View; 2],
    grad_scale: &View,
    grad_shift: Option<&View>,
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    let kernel = AFFINE_GRADIENT.entry;
    shape.check(kernel, &[("grad", grad), ("input", input)], &[("grad_scale", grad_scale)])?;
    grad_shift.map_or(Ok(()), |shift| shift.expect_len(kernel, "grad_shift", shape.params()))?;
    let unused = gpu.unused(0)?;
    let constants = [SUM_WORKGROUP_CONSTANT, flag("SHIFT", grad_shift.is_some()), flag("ACCUMULATE", accumulate)];
    let grid = gpu.grid_1d(kernel, shape.params(), SUM_WORKGROUP)?;
    let views = [grad, input, grad_scale, grad_shift.unwrap_or(&unused)];
    gpu.dispatch(&AFFINE_GRADIENT, &constants, grid, &views, bytemuck::bytes_of(shape))
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
    let of = NormShape { per_pixel: 0, ..*shape };
    of.check(kernel, &[("input", input), ("output", output)], &[("mean", mean), ("variance", variance)])?;
    let constants = [WORKGROUP, flag("CENTRE", centre), flag("ACCUMULATE", accumulate)];
    let grid = gpu.grid_1d(kernel, shape.words(), WORKGROUP_SIZE)?;
    let views = [input, mean, variance, output];
    gpu.dispatch(&CHANNEL_NORMALISE, &constants, grid, &views, bytemuck::bytes_of(shape))
}

/// Plans `output = (input - mean) inv_std` over the groups of each sample; `inv_std` [batch, groups] is kept for backward.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn group_normalise(
    gpu: &Gpu,
    shape: &NormShape,
    [input, output]: [&View; 2],
    inv_std: &View,
) -> Result<Dispatch, GpuError> {
    let kernel = GROUP_NORMALISE.entry;
    shape.check(kernel, &[("input", input), ("output", output)], &[])?;
    inv_std.expect_len(kernel, "inv_std", shape.group_count())?;
    let grid = gpu.grid_1d(kernel, shape.group_count(), SUM_WORKGROUP)?;
    let views = [input, output, inv_std];
    gpu.dispatch(&GROUP_NORMALISE, &[SUM_WORKGROUP_CONSTANT], grid, &views, bytemuck::bytes_of(shape))
}

/// Plans the derivative of [`group_normalise`], whose output was `xhat`, applied to `grad`.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn group_normalise_gradient(
    gpu: &Gpu,
    shape: &NormShape,
    [grad, xhat, output]: [&View; 3],
    inv_std: &View,
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    let kernel = GROUP_NORMALISE_GRADIENT.entry;
    shape.check(kernel, &[("grad", grad), ("xhat", xhat), ("output", output)], &[])?;
    inv_std.expect_len(kernel, "inv_std", shape.group_count())?;
    let constants = [SUM_WORKGROUP_CONSTANT, flag("ACCUMULATE", accumulate)];
    let grid = gpu.grid_1d(kernel, shape.group_count(), SUM_WORKGROUP)?;
    let views = [grad, xhat, inv_std, output];
    gpu.dispatch(&GROUP_NORMALISE_GRADIENT, &constants, grid, &views, bytemuck::bytes_of(shape))
}

/// Plans the tangent of [`group_normalise_gradient`] at a fixed `grad`, added to `output`.
///
/// # Errors
/// [`GpuError::Length`] for lengths that do not fit.
pub fn group_normalise_curvature(
    gpu: &Gpu,
    shape: &NormShape,
    [grad, xhat, x_tangent, xhat_tangent, output]: [&View; 5],
    inv_std: &View,
) -> Result<Dispatch, GpuError> {
    let kernel = GROUP_NORMALISE_CURVATURE.entry;
    let of = [("grad", grad), ("xhat", xhat), ("x_tangent", x_tangent), ("xhat_tangent", xhat_tangent)];
    shape.check(kernel, &of, &[])?;
    output.expect_len(kernel, "output", shape.words())?;
    inv_std.expect_len(kernel, "inv_std", shape.group_count())?;
    let grid = gpu.grid_1d(kernel, shape.group_count(), SUM_WORKGROUP)?;
    let views = [grad, xhat, x_tangent, xhat_tangent, inv_std, output];
    let constants = [SUM_WORKGROUP_CONSTANT];
    gpu.dispatch(&GROUP_NORMALISE_CURVATURE, &constants, grid, &views, bytemuck::bytes_of(shape))
}
