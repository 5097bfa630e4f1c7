//! Batch norm, fused with a residual sum and an activation: the host side of `shaders/batch_norm_*.wgsl`.

mod forward;
mod gradient;
mod shape;

pub use forward::{BatchNorm, BatchNormViews};
pub use gradient::{BatchNormGradient, BatchNormGradientViews};
pub use shape::{BatchNormGeometry, BatchNormLaunch, BatchNormShape, BatchNormVariant};

pub(super) use forward::{BATCH_NORM_APPLY, BATCH_NORM_FINISH};
pub(super) use gradient::{BATCH_NORM_GRADIENT, BATCH_NORM_GRADIENT_FINISH};

use crate::gpu::{Access, Dispatch, Gpu, GpuError, Grid, KernelSpec, View};

use super::{Activation, Constant, flag};

pub(super) static BATCH_NORM_MOMENTS: KernelSpec = KernelSpec {
    entry: "batch_norm_moments",
    source: concat!(
        include_str!("../../../shaders/batch_norm_moments.wgsl"),
        include_str!("../../../shaders/shared/moments.wgsl"),
        include_str!("../../../shaders/shared/index.wgsl"),
        include_str!("../../../shaders/shared/activation.wgsl"),
        include_str!("../../../shaders/shared/math.wgsl"),
    ),
    bindings: &[
        ("x", Access::Real),
        ("grad", Access::Real),
        ("saved", Access::Real),
        ("table", Access::ReadWrite),
        ("partials", Access::ReadWrite),
    ],
    immediate_bytes: 16,
};

/// Plans the first step of either pass; `gradient` is that of the backward pass, with the activation that it undoes.
fn moments(
    gpu: &Gpu,
    (shape, variant): (BatchNormShape, BatchNormVariant),
    launch: BatchNormLaunch,
    gradient: Option<Activation>,
    views: [&View; 5],
) -> Result<Dispatch, GpuError> {
    let constants = [
        ("WORKGROUP_SIZE", launch.threads as f64),
        ("QUAD_LANES", shape.geometry(variant).quad_lanes as f64),
        flag("GRADIENT", gradient.is_some()),
        ("ACTIVATION", f64::from(gradient.unwrap_or(Activation::Identity).code())),
    ];
    gpu.dispatch(&BATCH_NORM_MOMENTS, &constants, grid(gpu, launch)?, &views, &[])
}

/// The first step's immediates.
fn moments_values(shape: BatchNormShape, variant: BatchNormVariant, rows: usize) -> [u32; 4] {
    let of = shape.geometry(variant);
    [rows, shape.quads(), of.rows_per_chunk(), of.chunks].map(|size| size as u32)
}

/// The override that carries a finish's workgroup.
fn lanes(launch: BatchNormLaunch) -> Constant {
    ("LANES", launch.threads as f64)
}

fn grid(gpu: &Gpu, launch: BatchNormLaunch) -> Result<Grid, GpuError> {
    gpu.grid_1d(launch.kernel, launch.workgroups, 1)
}
