//! Mean squared error and its gradient: the host side of `shaders/mse.wgsl`.

use crate::gpu::{Access, Gpu, GpuError, KernelSpec, Launch, View};

use super::{
    AdapterClass, LossBuffers, LossKernel, Target, flag,
    softmax_nll::{LossValues, loss_launch, loss_values},
};

pub(super) static MSE: KernelSpec = KernelSpec {
    entry: "mse",
    source: concat!(
        include_str!("../../shaders/mse.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/scaling.wgsl"),
        include_str!("../../shaders/shared/tree.wgsl"),
    ),
    bindings: &[
        ("outputs", Access::Real),
        ("labels", Access::Read),
        ("indices", Access::Index),
        ("targets", Access::Read),
        ("grad_outputs", Access::Real),
        ("row_stats", Access::ReadWrite),
        ("scaling", Access::Read),
    ],
    immediate_bytes: size_of::<LossValues>() as u32,
};

/// What the outputs are compared with.
#[derive(Debug)]
pub enum MseTargets<'a> {
    /// 1 for the label's output, 0 for the others.
    OneHot,
    /// [samples, features]
    Given(&'a View),
}

/// What [`mse`] launches, for outputs [batch, width] against labels (`one_hot`) or given targets.
///
/// # Errors
/// [`GpuError::Grid`] past the target's grid.
pub fn mse_launch(target: &Target, shape: [usize; 2], one_hot: bool, scaled: bool) -> Result<Launch, GpuError> {
    loss_launch(target, &MSE, &[flag("ONE_HOT", one_hot), flag("SCALED", scaled)], shape, 1)
}

/// Plans `mean over batch and features of (outputs - targets)^2` and its gradient.
///
/// Shapes: see [`LossBuffers`]. Source: `torch.nn.MSELoss`, reduction "mean".
///
/// # Errors
/// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
pub fn mse(
    gpu: &Gpu,
    class: AdapterClass,
    buffers: &LossBuffers<'_>,
    targets: &MseTargets<'_>,
    shape: [usize; 2],
) -> Result<LossKernel, GpuError> {
    let values = loss_values(MSE.entry, buffers, shape)?;
    let (one_hot, targets) = match targets {
        MseTargets::OneHot => (true, buffers.labels),
        MseTargets::Given(targets) => {
            targets.expect_len(MSE.entry, "targets", buffers.labels.len() * shape[1])?;
            (false, *targets)
        }
    };
    let launch = mse_launch(&Target::with_class(gpu, class), shape, one_hot, buffers.scaling.is_some())?;
    let unused = gpu.unused(0)?;
    let scaling = buffers.scaling.unwrap_or(&unused);
    let LossBuffers { logits, labels, indices, grad_logits, row_stats, .. } = buffers;
    let views = [logits, labels, indices, targets, grad_logits, row_stats, scaling];
    Ok(LossKernel { dispatch: gpu.bind(&launch, &views, &[])?, values, terms: shape[1] as f32 })
}
