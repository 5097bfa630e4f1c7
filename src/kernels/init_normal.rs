//! Normal initialisation of a tensor: the host side of `shaders/init_normal.wgsl`.

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

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Init {
    count: u32,
    tensor: u32,
    seed_low: u32,
    seed_high: u32,
    deviation: f32,
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
    let count = index_u32(INIT_NORMAL.entry, &[weights.len()])?;
    index_u32(INIT_NORMAL.entry, &[first + weights.len()])?;
    let values = Init {
        count,
        tensor: tensor as u32,
        seed_low: seed as u32,
        seed_high: (seed >> 32) as u32,
        deviation,
        first: (first / 8) as u32,
    };
    let grid = gpu.grid_1d(INIT_NORMAL.entry, weights.len().div_ceil(8), WORKGROUP_SIZE)?;
    gpu.dispatch(&INIT_NORMAL, &[WORKGROUP], grid, &[weights], bytemuck::bytes_of(&values))
}
