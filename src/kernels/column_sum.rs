//! Sums over rows: the host side of `shaders/column_sum.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, View};

use super::{
    AdapterClass, flag, index_u32,
    tree::{Launch, Tree},
};

pub(super) static COLUMN_SUM: KernelSpec = KernelSpec {
    entry: "column_sum",
    source: concat!(
        include_str!("../../shaders/column_sum.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/part.wgsl"),
        include_str!("../../shaders/shared/tree.wgsl"),
    ),
    bindings: &[("input", Access::Real), ("output", Access::ReadWrite)],
    immediate_bytes: size_of::<Stage>() as u32,
};

/// One run of the kernel; same fields, same order as the WGSL struct.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Stage {
    rows: u32,
    columns: u32,
    stride: u32,
    parts: u32,
}

impl Stage {
    /// The sum of `rows` rows at once.
    fn whole([rows, columns, stride]: [usize; 3]) -> Result<Self, GpuError> {
        index_u32(COLUMN_SUM.entry, &[rows, stride])?;
        let [rows, columns, stride] = [rows, columns, stride].map(|size| size as u32);
        Ok(Self { rows, columns, stride, parts: 1 })
    }

    fn tree(&self, class: AdapterClass) -> Tree {
        Tree::columns(class, self.part_rows(), self.columns as usize)
    }

    fn part_rows(&self) -> usize {
        self.rows.div_ceil(self.parts) as usize
    }

    fn launch(&self, class: AdapterClass) -> Launch {
        let tree = self.tree(class);
        let workgroups = self.parts as usize * tree.workgroups(self.columns as usize);
        tree.launch(COLUMN_SUM.entry, workgroups, tree.chain(self.part_rows(), 1))
    }

    fn dispatch(
        &self,
        gpu: &Gpu,
        class: AdapterClass,
        views: [&View; 2],
        accumulate: bool,
    ) -> Result<Dispatch, GpuError> {
        let [sums, lanes] = self.tree(class).constants();
        let constants = [sums, lanes, flag("ACCUMULATE", accumulate)];
        gpu.dispatch(&COLUMN_SUM, &constants, self.launch(class).grid(gpu)?, &views, bytemuck::bytes_of(self))
    }
}

/// The runs of a sum: one, or one that leaves the sums of parts and one that adds them up.
fn stages(class: AdapterClass, shape: [usize; 3]) -> Result<Vec<Stage>, GpuError> {
    let whole = Stage::whole(shape)?;
    let [rows, columns, _] = shape;
    let parts = Tree::parts(class, rows);
    if parts == 1 {
        return Ok(vec![whole]);
    }
    Ok(vec![Stage { parts: parts as u32, ..whole }, Stage::whole([parts, columns, columns])?])
}

/// Words that [`column_sum`] keeps for itself on adapters of a class.
#[must_use]
pub fn column_sum_scratch_words(class: AdapterClass, [rows, columns, _]: [usize; 3]) -> usize {
    let parts = Tree::parts(class, rows);
    if parts > 1 { parts * columns } else { 0 }
}

/// The dispatches of [`column_sum`] on adapters of a class.
///
/// # Errors
/// [`GpuError::Shape`] past 2^32 elements.
pub fn column_sum_launches(class: AdapterClass, shape: [usize; 3]) -> Result<Vec<Launch>, GpuError> {
    Ok(stages(class, shape)?.iter().map(|stage| stage.launch(class)).collect())
}

/// Plans `output[c] (+)= sum_row input[row, c]`, the gradient of a bias, as adapters of a class take it best.
///
/// Shapes: `input` [rows, stride], of which the first `columns` count, `output` [columns], `scratch`
/// [`column_sum_scratch_words`].
///
/// # Errors
/// [`GpuError::Length`] or [`GpuError::Shape`] for shapes that do not fit.
pub fn column_sum(
    gpu: &Gpu,
    class: AdapterClass,
    [input, output, scratch]: [&View; 3],
    shape: [usize; 3],
    accumulate: bool,
) -> Result<Vec<Dispatch>, GpuError> {
    let [rows, columns, stride] = shape;
    let stages = stages(class, shape)?;
    input.expect_len(COLUMN_SUM.entry, "input", rows * stride)?;
    output.expect_len(COLUMN_SUM.entry, "output", columns)?;
    match stages.as_slice() {
        [parts, sum] => {
            scratch.expect_len(COLUMN_SUM.entry, "scratch", column_sum_scratch_words(class, shape))?;
            Ok(vec![
                parts.dispatch(gpu, class, [input, scratch], false)?,
                sum.dispatch(gpu, class, [scratch, output], accumulate)?,
            ])
        }
        stages => stages.iter().map(|whole| whole.dispatch(gpu, class, [input, output], accumulate)).collect(),
    }
}

/// Plans the sum of parts [parts, columns] that another kernel left.
pub(super) fn sum_of_parts(
    gpu: &Gpu,
    class: AdapterClass,
    views: [&View; 2],
    [parts, columns]: [usize; 2],
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    Stage::whole([parts, columns, columns])?.dispatch(gpu, class, views, accumulate)
}

/// The dispatch of [`sum_of_parts`].
pub(super) fn sum_of_parts_launch(class: AdapterClass, [parts, columns]: [usize; 2]) -> Result<Launch, GpuError> {
    Ok(Stage::whole([parts, columns, columns])?.launch(class))
}
