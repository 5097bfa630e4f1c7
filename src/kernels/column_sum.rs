//! Sum over the batch: the host side of `shaders/column_sum.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, View};

use super::{flag, index_u32};

pub(super) static COLUMN_SUM: KernelSpec = KernelSpec {
    entry: "column_sum",
    source: concat!(include_str!("../../shaders/column_sum.wgsl"), include_str!("../../shaders/shared/index.wgsl"),),
    bindings: &[("input", Access::ReadWrite), ("output", Access::ReadWrite)],
    immediate_bytes: 8,
};

/// Columns are few and long, as the losses' rows are.
const COLUMNS_PER_WORKGROUP: usize = 32;

/// Plans `output[c] (+)= sum_row input[row, c]`, the gradient of a bias.
///
/// Shapes: `input` [rows, columns], `output` [columns].
///
/// # Errors
/// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
pub fn column_sum(
    gpu: &Gpu,
    input: &View,
    output: &View,
    [rows, columns]: [usize; 2],
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    index_u32(COLUMN_SUM.entry, &[rows, columns])?;
    input.expect_len(COLUMN_SUM.entry, "input", rows * columns)?;
    output.expect_len(COLUMN_SUM.entry, "output", columns)?;
    let constants = [("WORKGROUP_SIZE", COLUMNS_PER_WORKGROUP as f64), flag("ACCUMULATE", accumulate)];
    let grid = gpu.grid_1d(COLUMN_SUM.entry, columns, COLUMNS_PER_WORKGROUP)?;
    let immediates = [rows as u32, columns as u32];
    gpu.kernel(&COLUMN_SUM, &constants)?.dispatch(gpu, grid, &[input, output], bytemuck::cast_slice(&immediates))
}
