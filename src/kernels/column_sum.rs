//! Sum over the batch: the host side of `shaders/column_sum.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, View};

use super::{WORKGROUP, WORKGROUP_SIZE, flag, index_u32};

pub(super) static COLUMN_SUM: KernelSpec = KernelSpec {
    entry: "column_sum",
    source: concat!(include_str!("../../shaders/column_sum.wgsl"), include_str!("../../shaders/shared/index.wgsl"),),
    bindings: &[("input", Access::Real), ("output", Access::ReadWrite)],
    immediate_bytes: 12,
};

pub(super) static CHUNK_SUM: KernelSpec = KernelSpec {
    entry: "chunk_sum",
    source: concat!(include_str!("../../shaders/chunk_sum.wgsl"), include_str!("../../shaders/shared/index.wgsl"),),
    bindings: &[("input", Access::Real), ("output", Access::ReadWrite)],
    immediate_bytes: 12,
};

/// Columns are few and long, as the losses' rows are.
const COLUMNS_PER_WORKGROUP: usize = 32;

/// Plans `output[c] (+)= sum_row input[row, c]`, the gradient of a bias.
///
/// Shapes: `input` [rows, stride], of which the first `columns` count, `output` [columns].
///
/// # Errors
/// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
pub fn column_sum(
    gpu: &Gpu,
    input: &View,
    output: &View,
    [rows, columns, stride]: [usize; 3],
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    index_u32(COLUMN_SUM.entry, &[rows, stride])?;
    input.expect_len(COLUMN_SUM.entry, "input", rows * stride)?;
    output.expect_len(COLUMN_SUM.entry, "output", columns)?;
    let constants = [("WORKGROUP_SIZE", COLUMNS_PER_WORKGROUP as f64), flag("ACCUMULATE", accumulate)];
    let grid = gpu.grid_1d(COLUMN_SUM.entry, columns, COLUMNS_PER_WORKGROUP)?;
    let immediates = [rows, columns, stride].map(|size| size as u32);
    gpu.dispatch(&COLUMN_SUM, &constants, grid, &[input, output], bytemuck::cast_slice(&immediates))
}

/// Plans `output[chunk, c] = sum of the chunk's rows of input[row, c]`: the first stage of a sum over many rows.
///
/// Shapes: `input` [rows, columns] with `columns` a multiple of 4, `output` [ceil(rows / rows_per_chunk), columns].
///
/// # Errors
/// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
pub fn chunk_sum(
    gpu: &Gpu,
    input: &View,
    output: &View,
    [rows, columns, rows_per_chunk]: [usize; 3],
) -> Result<Dispatch, GpuError> {
    let kernel = CHUNK_SUM.entry;
    if !columns.is_multiple_of(4) || rows_per_chunk == 0 {
        let shape = format!("{rows} x {columns} by {rows_per_chunk}");
        return Err(GpuError::Shape { kernel, shape, reason: "columns have to be whole vec4s" });
    }
    index_u32(kernel, &[rows, columns])?;
    let chunks = rows.div_ceil(rows_per_chunk);
    input.expect_len(kernel, "input", rows * columns)?;
    output.expect_len(kernel, "output", chunks * columns)?;
    let grid = gpu.grid_1d(kernel, chunks * columns / 4, WORKGROUP_SIZE)?;
    let immediates = [rows, columns / 4, rows_per_chunk].map(|size| size as u32);
    gpu.dispatch(&CHUNK_SUM, &[WORKGROUP], grid, &[input, output], bytemuck::cast_slice(&immediates))
}
