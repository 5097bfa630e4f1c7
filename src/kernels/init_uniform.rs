//! Uniform initialisation of a tensor: the host side of `shaders/init_uniform.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, View};

use super::{WORKGROUP, WORKGROUP_SIZE, index_u32};

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
    bound: f32,
    first: u32,
}

/// Plans `weights[i] = bound * (2 u - 1)` for one tensor.
///
/// Shapes: `[count]`, all of the tensor or the part of it from element `first` on, a multiple of 64. `tensor` is its number in the
/// model: part of the counter, so that each tensor draws its own.
///
/// # Errors
/// [`GpuError::Shape`] past 2^32 elements, or where the kernel does not compile.
pub fn init_uniform(
    gpu: &Gpu,
    weights: &View,
    first: usize,
    tensor: usize,
    seed: u64,
    bound: f32,
) -> Result<Dispatch, GpuError> {
    let count = index_u32(INIT_UNIFORM.entry, &[weights.len()])?;
    index_u32(INIT_UNIFORM.entry, &[first + weights.len()])?;
    let values = Init {
        count,
        tensor: tensor as u32,
        seed_low: seed as u32,
        seed_high: (seed >> 32) as u32,
        bound,
        first: (first / 4) as u32,
    };
    let grid = gpu.grid_1d(INIT_UNIFORM.entry, weights.len().div_ceil(4), WORKGROUP_SIZE)?;
    gpu.dispatch(&INIT_UNIFORM, &[WORKGROUP], grid, &[weights], bytemuck::bytes_of(&values))
}
