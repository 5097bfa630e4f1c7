//! Sums over rows: the host side of `shaders/column_sum.wgsl`.

use crate::gpu::{Access, Dispatch, Element, Gpu, GpuError, KernelSpec, Launch, View, WORD_BYTES, Work};

use super::{AdapterClass, Target, flag, index_u32, tree::Tree};

pub(super) static COLUMN_SUM: KernelSpec = KernelSpec {
    entry: "column_sum",
    source: concat!(
        include_str!("../../shaders/column_sum.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/part.wgsl"),
        include_str!("../../shaders/shared/tree.wgsl"),
    ),
    bindings: &[("input", Access::Real), ("output", Access::ReadWrite)],
    immediate_bytes: size_of::<ColumnSum>() as u32,
};

/// One run of the kernel; same fields, same order as the WGSL struct.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct ColumnSum {
    rows: u32,
    columns: u32,
    stride: u32,
    parts: u32,
}

impl ColumnSum {
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

    fn launch(&self, target: &Target, accumulate: bool) -> Result<Launch, GpuError> {
        let tree = self.tree(target.class);
        let workgroups = self.parts as usize * tree.workgroups(self.columns as usize);
        let chain = tree.chain(self.part_rows(), 1);
        tree.launch(target, &COLUMN_SUM, &[flag("ACCUMULATE", accumulate)], workgroups, chain)
    }

    /// An addition an element; parts are written once.
    fn work(&self, element: Element) -> Work {
        let [rows, columns, parts] = [self.rows, self.columns, self.parts].map(|size| size as usize);
        let words = element.words(rows * columns) + parts * columns;
        Work { flops: (rows * columns) as u64, bytes: words as u64 * WORD_BYTES }
    }

    fn dispatch(&self, gpu: &Gpu, target: &Target, views: [&View; 2], accumulate: bool) -> Result<Dispatch, GpuError> {
        gpu.bind(&self.launch(target, accumulate)?, &views, bytemuck::bytes_of(self))
    }
}

/// The runs of a sum: one, or one that leaves the sums of parts and one that adds them up.
fn runs(class: AdapterClass, shape: [usize; 3]) -> Result<Vec<ColumnSum>, GpuError> {
    let whole = ColumnSum::whole(shape)?;
    let [rows, columns, _] = shape;
    let parts = Tree::parts(class, rows);
    if parts == 1 {
        return Ok(vec![whole]);
    }
    Ok(vec![ColumnSum { parts: parts as u32, ..whole }, ColumnSum::whole([parts, columns, columns])?])
}

/// Words that [`column_sum`] keeps for itself on adapters of a class.
#[must_use]
pub fn column_sum_scratch_words(class: AdapterClass, [rows, columns, _]: [usize; 3]) -> usize {
    let parts = Tree::parts(class, rows);
    if parts > 1 { parts * columns } else { 0 }
}

/// What [`column_sum`] launches for an input stored as `element`.
///
/// # Errors
/// [`GpuError::Shape`] past 2^32 elements.
pub fn column_sum_launches(
    target: &Target,
    shape: [usize; 3],
    accumulate: bool,
    element: Element,
) -> Result<Vec<Launch>, GpuError> {
    let runs = runs(target.class, shape)?;
    let last = runs.len() - 1;
    let launch = |(place, run): (usize, &ColumnSum)| {
        let launch = run.launch(target, accumulate && place == last)?;
        Ok(launch.doing(run.work(if place == 0 { element } else { Element::Word })))
    };
    runs.iter().enumerate().map(launch).collect()
}

/// Plans `output[c] (+)= sum_row input[row, c]`, the gradient of a bias, as adapters of a class take it best.
///
/// Shapes: `input` [rows, stride], of which the first `columns` count, `output` `[columns]`, `scratch`
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
    let (target, runs) = (&Target::with_class(gpu, class), runs(class, shape)?);
    input.expect_len(COLUMN_SUM.entry, "input", rows * stride)?;
    output.expect_len(COLUMN_SUM.entry, "output", columns)?;
    match runs.as_slice() {
        [parts, sum] => {
            scratch.expect_len(COLUMN_SUM.entry, "scratch", column_sum_scratch_words(class, shape))?;
            Ok(vec![
                parts.dispatch(gpu, target, [input, scratch], false)?,
                sum.dispatch(gpu, target, [scratch, output], accumulate)?,
            ])
        }
        runs => runs.iter().map(|whole| whole.dispatch(gpu, target, [input, output], accumulate)).collect(),
    }
}

/// Plans the sum of parts [parts, columns] that another kernel left.
pub(crate) fn sum_of_parts(
    gpu: &Gpu,
    target: &Target,
    views: [&View; 2],
    [parts, columns]: [usize; 2],
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    ColumnSum::whole([parts, columns, columns])?.dispatch(gpu, target, views, accumulate)
}

/// What [`sum_of_parts`] launches.
pub(crate) fn sum_of_parts_launch(
    target: &Target,
    [parts, columns]: [usize; 2],
    accumulate: bool,
) -> Result<Launch, GpuError> {
    let run = ColumnSum::whole([parts, columns, columns])?;
    Ok(run.launch(target, accumulate)?.doing(run.work(Element::Word)))
}
