//! The losses' own Hessian times a tangent: the host side of `shaders/loss_tangent.wgsl`.

use crate::gpu::{Access, Gpu, GpuError, KernelSpec, Launch, View};

use crate::kernels::{AdapterClass, Target, flag, index_u32};

use super::softmax_nll::{LossKernel, LossValues, loss_launch};

pub(super) static LOSS_TANGENT: KernelSpec = KernelSpec {
    entry: "loss_tangent",
    source: concat!(
        include_str!("../../../shaders/loss_tangent.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
        include_str!("../../../shaders/shared/math.wgsl"),
        include_str!("../../../shaders/shared/tree.wgsl"),
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

/// What [`loss_tangent`] launches, for outputs [batch, positions, width].
///
/// # Errors
/// [`GpuError::Grid`] past the target's grid.
pub fn loss_tangent_launch(
    target: &Target,
    loss: LossTangent,
    [batch, positions, width]: [usize; 3],
) -> Result<Launch, GpuError> {
    let constants = [flag("NLL", loss == LossTangent::Nll)];
    loss_launch(target, &LOSS_TANGENT, &constants, [batch * positions, width], 1)
}

/// Plans the tangent of the mean loss' gradient from that of the outputs.
///
/// Shapes: logits, tangent, output all [batch, positions, width].
///
/// # Errors
/// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
pub fn loss_tangent(
    gpu: &Gpu,
    class: AdapterClass,
    loss: LossTangent,
    [logits, tangent, output]: [&View; 3],
    shape: [usize; 3],
) -> Result<LossKernel, GpuError> {
    let entry = LOSS_TANGENT.entry;
    index_u32(entry, &shape)?;
    let [batch, positions, width] = shape;
    for (argument, view) in [("logits", logits), ("tangent", tangent), ("output", output)] {
        view.expect_len(entry, argument, batch * positions * width)?;
    }
    let rows = (batch * positions) as u32;
    let values = LossValues { first: 0, valid: 0, rows, width: width as u32, gradient_scale: 0.0, smoothing: 0.0 };
    let launch = loss_tangent_launch(&Target::with_class(gpu, class), loss, shape)?;
    let terms = if loss == LossTangent::Nll { 1.0 } else { width as f32 };
    let dispatch = gpu.bind(&launch, &[logits, tangent, output], &[])?;
    Ok(LossKernel { dispatch, values, positions: positions as u32, terms })
}
