//! The diagonal model theta = u * u - v * v: the host side of `shaders/diagonal_predict.wgsl` and
//! `shaders/diagonal_gradient.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, View};

use super::{WORKGROUP, WORKGROUP_SIZE, index_u32};

pub(super) static DIAGONAL_PREDICT: KernelSpec = KernelSpec {
    entry: "diagonal_predict",
    source: concat!(
        include_str!("../../shaders/diagonal_predict.wgsl"),
        include_str!("../../shaders/shared/index.wgsl")
    ),
    bindings: &[("u", Access::Read), ("v", Access::Read), ("theta", Access::ReadWrite)],
    immediate_bytes: 4,
};

pub(super) static DIAGONAL_GRADIENT: KernelSpec = KernelSpec {
    entry: "diagonal_gradient",
    source: concat!(
        include_str!("../../shaders/diagonal_gradient.wgsl"),
        include_str!("../../shaders/shared/index.wgsl")
    ),
    bindings: &[
        ("u_eff", Access::Read),
        ("v_eff", Access::Read),
        ("slope", Access::Read),
        ("u", Access::Read),
        ("v", Access::Read),
        ("grad_u", Access::ReadWrite),
        ("grad_v", Access::ReadWrite),
        ("sum", Access::ReadWrite),
    ],
    immediate_bytes: 4,
};

fn plan(gpu: &Gpu, spec: &'static KernelSpec, views: &[&View]) -> Result<Dispatch, GpuError> {
    let len = views.first().map_or(0, |view| view.len());
    let count = index_u32(spec.entry, &[len])?;
    for ((argument, _), view) in spec.bindings.iter().zip(views) {
        view.expect_len(spec.entry, argument, len)?;
    }
    let grid = gpu.grid_1d(spec.entry, len, WORKGROUP_SIZE)?;
    gpu.kernel(spec, &[WORKGROUP])?.dispatch(gpu, grid, views, bytemuck::bytes_of(&count))
}

/// Plans `theta = u * u - v * v`; views u, v, theta, all `[count]`.
///
/// # Errors
/// [`GpuError::Length`] if lengths differ.
pub fn diagonal_predict(gpu: &Gpu, views: [&View; 3]) -> Result<Dispatch, GpuError> {
    plan(gpu, &DIAGONAL_PREDICT, &views)
}

/// Plans the gradients of u and v from the slope dR/dtheta, and adds the clean coefficients to a sum; views u_eff, v_eff,
/// slope, u, v, grad_u, grad_v, sum, all `[count]`.
///
/// # Errors
/// [`GpuError::Length`] if lengths differ.
pub fn diagonal_gradient(gpu: &Gpu, views: [&View; 8]) -> Result<Dispatch, GpuError> {
    plan(gpu, &DIAGONAL_GRADIENT, &views)
}
