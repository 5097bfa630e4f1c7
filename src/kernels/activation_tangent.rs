//! The tangent of an activation's derivative: the host side of `shaders/activation_tangent.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, View};

use super::{Activation, Target, flag, index_u32};

pub(super) static ACTIVATION_TANGENT: KernelSpec = KernelSpec {
    entry: "activation_tangent",
    source: concat!(
        include_str!("../../shaders/activation_tangent.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: &[
        ("left", Access::ReadWrite),
        ("left_tangent", Access::ReadWrite),
        ("saved", Access::ReadWrite),
        ("saved_tangent", Access::ReadWrite),
        ("output", Access::ReadWrite),
    ],
    immediate_bytes: 4,
};

/// What [`activation_tangent`] launches.
pub(crate) fn activation_tangent_launch(
    target: &Target,
    activation: Activation,
    count: usize,
    accumulate: bool,
) -> Result<Launch, GpuError> {
    let constants = [("ACTIVATION", f64::from(activation.code())), flag("ACCUMULATE", accumulate)];
    target.launch(&ACTIVATION_TANGENT, &constants, count)
}

/// Plans the tangent of `left activation'(saved)`: `output (+)= left_tangent activation'(saved) + left saved_tangent
/// activation''(saved)`, saved being what forward saved.
///
/// Shapes: left, left_tangent, saved, saved_tangent and output `[count]`.
///
/// # Errors
/// [`GpuError::Length`] if lengths differ.
pub fn activation_tangent(
    gpu: &Gpu,
    activation: Activation,
    views: [&View; 5],
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    let spec = &ACTIVATION_TANGENT;
    let len = views[4].len();
    let count = index_u32(spec.entry, &[len])?;
    for (view, (argument, _)) in views.iter().zip(spec.bindings) {
        view.expect_len(spec.entry, argument, len)?;
    }
    let launch = activation_tangent_launch(&Target::for_device(gpu), activation, len, accumulate)?;
    gpu.bind(&launch, &views, bytemuck::bytes_of(&count))
}
