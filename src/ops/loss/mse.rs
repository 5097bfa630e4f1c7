//! Mean squared error and its gradient: the host side of `shaders/mse.wgsl`.

use crate::gpu::{Access, Gpu, GpuError, KernelSpec, Launch};

use crate::kernels::{AdapterClass, Target, flag};

use super::softmax_nll::{
    LossBuffers, LossGradient, LossKernel, LossValues, loss_launch, loss_values, positions_constant, windows_constant,
};

pub(super) static MSE: KernelSpec = KernelSpec {
    entry: "mse",
    source: concat!(
        include_str!("../../../shaders/mse.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
        include_str!("../../../shaders/shared/scaling.wgsl"),
        include_str!("../../../shaders/shared/target.wgsl"),
        include_str!("../../../shaders/shared/tree.wgsl"),
    ),
    bindings: &[
        ("outputs", Access::Real),
        ("labels", Access::Read),
        ("indices", Access::Index),
        ("grad_outputs", Access::Real),
        ("row_stats", Access::ReadWrite),
        ("scaling", Access::Read),
    ],
    immediate_bytes: size_of::<LossValues>() as u32,
};

/// What the outputs are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MseTargets {
    /// 1 for the label's output, 0 for the others.
    OneHot,
    /// Numbers, in the place of the labels: [samples, positions, width].
    Given,
}

/// What [`mse`] launches, for outputs [batch, positions, width].
///
/// # Errors
/// [`GpuError::Grid`] past the target's grid.
pub fn mse_launch(
    target: &Target,
    [batch, positions, width]: [usize; 3],
    targets: MseTargets,
    scaled: bool,
) -> Result<Launch, GpuError> {
    let one_hot = flag("ONE_HOT", targets == MseTargets::OneHot);
    let constants = [one_hot, flag("SCALED", scaled), positions_constant(positions)];
    loss_launch(target, &MSE, &constants, [batch * positions, width], 1)
}

/// Plans `mean over rows and width of (outputs - targets)^2` and its gradient.
///
/// Shapes: outputs [batch, positions, width], see [`LossBuffers`]. Source: `torch.nn.MSELoss`, reduction "mean".
///
/// # Errors
/// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
pub fn mse(
    gpu: &Gpu,
    class: AdapterClass,
    buffers: &LossBuffers<'_>,
    targets: MseTargets,
    shape: [usize; 3],
) -> Result<LossKernel, GpuError> {
    let [_, positions, width] = shape;
    let targets_of_sample = if targets == MseTargets::Given { positions * width } else { positions };
    let values = loss_values(MSE.entry, buffers, shape, targets_of_sample)?;
    let mut launch = mse_launch(&Target::with_class(gpu, class), shape, targets, buffers.scaling.is_some())?;
    launch.constants.extend(windows_constant(buffers.windows));
    let LossGradient::Apart(gradient) = buffers.gradient else {
        let shape = format!("{shape:?}");
        return Err(GpuError::Shape { kernel: MSE.entry, shape, reason: "its gradient needs a tensor of its own" });
    };
    let unused = gpu.unused(0)?;
    let scaling = buffers.scaling.unwrap_or(&unused);
    let views = [buffers.logits, buffers.labels, buffers.indices, gradient, buffers.row_stats, scaling];
    let dispatch = gpu.bind(&launch, &views, &[])?;
    Ok(LossKernel { dispatch, values, positions: positions as u32, terms: width as f32 })
}
