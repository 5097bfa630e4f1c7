//! Initialisation of a tensor at random: the host side of `shaders/init_normal.wgsl` and `init_uniform.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, View};

use super::{WORKGROUP, WORKGROUP_SIZE, index_u32};

pub(super) static INIT_NORMAL: KernelSpec = KernelSpec {
    entry: "init_normal",
    source: concat!(
        include_str!("../../shaders/init_normal.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/noise.wgsl"),
        include_str!("../../shaders/shared/philox.wgsl"),
    ),
    bindings: &[("weights", Access::ReadWrite)],
    immediate_bytes: size_of::<Init>() as u32,
};

pub(super) static INIT_UNIFORM: KernelSpec = KernelSpec {
    entry: "init_uniform",
    source: concat!(
        include_str!("../../shaders/init_uniform.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/noise.wgsl"),
        include_str!("../../shaders/shared/philox.wgsl"),
    ),
    bindings: &[("weights", Access::ReadWrite)],
    immediate_bytes: size_of::<Init>() as u32,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Init {
    count: u32,
    tensor: u32,
    seed_low: u32,
    seed_high: u32,
    /// Standard deviation, or bound.
    scale: f32,
    /// Draws before the first.
    first: u32,
}

/// Plans `weights[i] = deviation z`, z standard normal, for one tensor.
///
/// Shapes: `[count]`, all of the tensor or the part of it from element `first` on, a multiple of 64. `tensor` is its number in the
/// model: part of the counter, so that each tensor draws its own.
///
/// # Errors
/// [`GpuError::Shape`] past 2^32 elements, or where the kernel does not compile.
pub fn init_normal(
    gpu: &Gpu,
    weights: &View,
    first: usize,
    tensor: usize,
    seed: u64,
    deviation: f32,
) -> Result<Dispatch, GpuError> {
    init(gpu, (&INIT_NORMAL, 8), (weights, first), (tensor, seed), deviation)
}

/// Plans `weights[i] = bound * (2 u - 1)`, u uniform in [0, 1), for one tensor.
///
/// Shapes: as of [`init_normal`].
///
/// # Errors
/// As [`init_normal`].
pub fn init_uniform(
    gpu: &Gpu,
    weights: &View,
    first: usize,
    tensor: usize,
    seed: u64,
    bound: f32,
) -> Result<Dispatch, GpuError> {
    init(gpu, (&INIT_UNIFORM, 4), (weights, first), (tensor, seed), bound)
}

/// A kernel that makes so many elements of a draw.
fn init(
    gpu: &Gpu,
    (spec, per_draw): (&'static KernelSpec, usize),
    (weights, first): (&View, usize),
    (tensor, seed): (usize, u64),
    scale: f32,
) -> Result<Dispatch, GpuError> {
    let count = index_u32(spec.entry, &[weights.len()])?;
    index_u32(spec.entry, &[first + weights.len()])?;
    let values = Init {
        count,
        tensor: tensor as u32,
        seed_low: seed as u32,
        seed_high: (seed >> 32) as u32,
        scale,
        first: (first / per_draw) as u32,
    };
    let grid = gpu.grid_1d(spec.entry, weights.len().div_ceil(per_draw), WORKGROUP_SIZE)?;
    gpu.dispatch(spec, &[WORKGROUP], grid, &[weights], bytemuck::bytes_of(&values))
}
