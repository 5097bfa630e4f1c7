//! What an adapter can do at most, as kernels: the host side of `shaders/peak_flops.wgsl`, `stream.wgsl` and `empty.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, Grid, KernelSpec, View};

use super::{WORKGROUP, WORKGROUP_SIZE, flag, index_u32};

pub(super) static PEAK_FLOPS: KernelSpec = KernelSpec {
    entry: "peak_flops",
    source: concat!(include_str!("../../shaders/peak_flops.wgsl"), include_str!("../../shaders/shared/index.wgsl"),),
    bindings: &[("output", Access::Real)],
    immediate_bytes: size_of::<Chain>() as u32,
};

pub(super) static STREAM: KernelSpec = KernelSpec {
    entry: "stream",
    source: concat!(include_str!("../../shaders/stream.wgsl"), include_str!("../../shaders/shared/index.wgsl")),
    bindings: &[("a", Access::ReadWrite), ("b", Access::ReadWrite), ("output", Access::ReadWrite)],
    immediate_bytes: size_of::<StreamValues>() as u32,
};

pub(super) static EMPTY: KernelSpec = KernelSpec {
    entry: "empty",
    source: include_str!("../../shaders/empty.wgsl"),
    bindings: &[("output", Access::ReadWrite)],
    immediate_bytes: 0,
};

#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Chain {
    count: u32,
    rounds: u32,
    scale: f32,
    shift: f32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct StreamValues {
    count: u32,
    per_invocation: u32,
    scale: f32,
}

/// Operations of a round of `shaders/peak_flops.wgsl`: 2 chains of vec4s, 32 multiply-adds each.
const FLOPS_PER_ROUND: u64 = 2 * 4 * 32 * 2;

/// Plans chains of multiply-adds in every invocation, one for each element of `output`, and counts their operations;
/// `fused` asks for them by name.
///
/// Shapes: `output` `[count]`; its elements' type is that of the arithmetic.
///
/// # Errors
/// [`GpuError::Shape`] or [`GpuError::Grid`] past the adapter's indices.
pub fn peak_flops(gpu: &Gpu, output: &View, rounds: u32, fused: bool) -> Result<(Dispatch, u64), GpuError> {
    let count = index_u32(PEAK_FLOPS.entry, &[output.len()])?;
    let grid = gpu.grid_1d(PEAK_FLOPS.entry, output.len(), WORKGROUP_SIZE)?;
    let chain = Chain { count, rounds, scale: 0.5, shift: 0.25 };
    let constants = [WORKGROUP, flag("FUSED", fused)];
    let dispatch = gpu.dispatch(&PEAK_FLOPS, &constants, grid, &[output], bytemuck::bytes_of(&chain))?;
    Ok((dispatch, u64::from(count) * u64::from(rounds) * FLOPS_PER_ROUND))
}

/// A way through memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamKernel {
    /// Sums, of which little is written.
    Read,
    /// One tensor to another.
    Copy,
    /// output = a + scale b
    Triad,
}

impl std::fmt::Display for StreamKernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Copy => "copy",
            Self::Triad => "triad",
        })
    }
}

impl StreamKernel {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Read, Self::Copy, Self::Triad];

    /// vec4s of a, b and output out of `total`.
    fn vec4s(self, total: usize) -> [usize; 3] {
        match self {
            Self::Read => {
                let count = total / (Self::READS + 1);
                [count * Self::READS, 0, count]
            }
            Self::Copy => [total / 2, 0, total / 2],
            Self::Triad => [total / 3; 3],
        }
    }

    /// Values that go into a sum.
    const READS: usize = 16;
}

/// Plans one way through the start of `views` (a, b and output), `bytes` in all; returns the bytes read and written too.
///
/// # Errors
/// [`GpuError::Length`] where a view is too short.
pub fn stream(gpu: &Gpu, way: StreamKernel, views: [&View; 3], bytes: u64) -> Result<(Dispatch, u64), GpuError> {
    let kernel = STREAM.entry;
    let parts = way.vec4s((bytes / 16) as usize);
    for ((argument, _), (view, vec4s)) in STREAM.bindings.iter().zip(views.iter().zip(parts)) {
        if view.len() < 4 * vec4s {
            return Err(GpuError::Length { kernel, argument, expected: 4 * vec4s, found: view.len() });
        }
    }
    let [_, _, count] = parts;
    let values = StreamValues {
        count: index_u32(kernel, &[count, 4])? / 4,
        per_invocation: StreamKernel::READS as u32,
        scale: 0.5,
    };
    let operands = match way {
        StreamKernel::Read => 0.0,
        StreamKernel::Copy => 1.0,
        StreamKernel::Triad => 2.0,
    };
    let grid = gpu.grid_1d(kernel, count, WORKGROUP_SIZE)?;
    let constants = [WORKGROUP, ("OPERANDS", operands)];
    let dispatch = gpu.dispatch(&STREAM, &constants, grid, &views, bytemuck::bytes_of(&values))?;
    Ok((dispatch, 16 * parts.iter().sum::<usize>() as u64))
}

/// Plans a dispatch that does nothing but wait for the one before it.
///
/// # Errors
/// [`GpuError::Shader`] if the adapter's compiler refuses it.
pub fn empty(gpu: &Gpu, output: &View) -> Result<Dispatch, GpuError> {
    gpu.dispatch(&EMPTY, &[], Grid([1; 3]), &[output], &[])
}
