//! The losses' own Hessian times a tangent: the host side of `shaders/loss_tangent.wgsl`.

use crate::gpu::{Access, Gpu, GpuError, KernelSpec, Launch, View};

use super::{
    AdapterClass, LossKernel, Target, flag, index_u32,
    softmax_nll::{LossValues, loss_launch},
};

pub(super) static LOSS_TANGENT: KernelSpec = KernelSpec {
    entry: "loss_tangent",
    source: concat!(
        include_str!("../../shaders/loss_tangent.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
        include_str!("../../shaders/shared/tree.wgsl"),
    ),
    bindings: &[("logits", Access::ReadWrite), ("tangent", Access::ReadWrite), ("output", Access::ReadWrite)],
    immediate_bytes: size_of::<LossValues>() as u32,
};

/// The loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossTangent {
    /// Negative log likelihood of a softmax.
    Nll,
    /// Mean squared error.
    Mse,
}

/// What [`loss_tangent`] launches, for outputs [batch, width].
///
/// # Errors
/// [`GpuError::Grid`] past the target's grid.
pub fn loss_tangent_launch(target: &Target, loss: LossTangent, shape: [usize; 2]) -> Result<Launch, GpuError> {
    loss_launch(target, &LOSS_TANGENT, &[flag("NLL", loss == LossTangent::Nll)], shape, 1)
}

/// Plans the tangent of the mean loss' gradient from that of the outputs.
///
/// Shapes: logits, tangent, output all [batch, classes].
///
/// # Errors
/// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
pub fn loss_tangent(
    gpu: &Gpu,
    class: AdapterClass,
    loss: LossTangent,
    [logits, tangent, output]: [&View; 3],
    [batch, classes]: [usize; 2],
) -> Result<LossKernel, GpuError> {
    let entry = LOSS_TANGENT.entry;
    index_u32(entry, &[batch, classes])?;
    for (argument, view) in [("logits", logits), ("tangent", tangent), ("output", output)] {
        view.expect_len(entry, argument, batch * classes)?;
    }
    let (batch_rows, width) = (batch as u32, classes as u32);
    let values = LossValues { first: 0, valid: 0, batch: batch_rows, width, gradient_scale: 0.0, smoothing: 0.0 };
    let launch = loss_tangent_launch(&Target::with_class(gpu, class), loss, [batch, classes])?;
    let terms = if loss == LossTangent::Nll { 1.0 } else { classes as f32 };
    Ok(LossKernel { dispatch: gpu.bind(&launch, &[logits, tangent, output], &[])?, values, terms })
}
