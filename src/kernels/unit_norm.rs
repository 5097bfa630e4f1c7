//! A tensor over its norm: the host side of `shaders/unit_norm.wgsl`, and the norms of parts that it goes by.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, View, WORD_BYTES, Work};

use super::{Target, filter_norm::FILTER_NORM, gradient_factor::partials_tree, index_u32, tree::Tree};

pub(super) static UNIT_NORM: KernelSpec = KernelSpec {
    entry: "unit_norm",
    source: concat!(
        include_str!("../../shaders/unit_norm.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/finite.wgsl"),
        include_str!("../../shaders/shared/tree.wgsl"),
    ),
    bindings: &[("input", Access::Read), ("norms", Access::Read), ("output", Access::ReadWrite)],
    immediate_bytes: size_of::<Values>() as u32,
};

/// Immediates of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
struct Values {
    count: u32,
    parts: u32,
    least: f32,
}

/// Elements of an invocation.
const ELEMENTS: usize = 4;

/// Elements of a part up to [`PARTS`] of them.
const PART_ELEMENTS: usize = 1024;

/// Parts that a norm is taken in at most: few enough for every workgroup to add up.
const PARTS: usize = 256;

/// How the norm of `len` elements is taken: in parts of so many.
fn part_elements(len: usize) -> usize {
    len.div_ceil(PARTS).max(PART_ELEMENTS)
}

/// The parts of `len` elements: of each its first element and how many it has.
fn parts(len: usize) -> Vec<[u32; 2]> {
    let most = part_elements(len);
    (0..len).step_by(most).map(|first| [first as u32, most.min(len - first) as u32]).collect()
}

/// Words that the norms of the parts of `len` elements take, and the table of these parts.
pub(super) fn unit_norm_words(len: usize) -> [usize; 2] {
    let parts = len.div_ceil(part_elements(len));
    [parts, 2 * parts]
}

/// Plans `output = input / max(norm of input, least)`, of which no element is finite where that norm is not.
///
/// Shapes: `input` and `output` [len], apart; `norms` as many words as [`unit_norm_words`] says.
pub(super) fn unit_norm(
    gpu: &Gpu,
    target: &Target,
    [input, norms, output]: [&View; 3],
    least: f32,
) -> Result<[Dispatch; 2], GpuError> {
    let count = index_u32(UNIT_NORM.entry, &[input.len()])?;
    let parts = parts(input.len());
    norms.expect_len(UNIT_NORM.entry, "norms", parts.len())?;
    output.expect_len(UNIT_NORM.entry, "output", input.len())?;
    let [norm, divide] = unit_norm_launches(target, input.len())?;
    let (table, values) = (gpu.upload("parts", &parts)?, Values { count, parts: parts.len() as u32, least });
    Ok([
        gpu.bind(&norm, &[input, &table.view(), norms], bytemuck::bytes_of(&values.parts))?,
        gpu.bind(&divide, &[input, norms, output], bytemuck::bytes_of(&values))?,
    ])
}

/// What [`unit_norm`] launches for `len` elements.
pub(super) fn unit_norm_launches(target: &Target, len: usize) -> Result<[Launch; 2], GpuError> {
    let (terms, [parts, _]) = (part_elements(len).min(len), unit_norm_words(len));
    let rows = Tree::rows(target.class, terms);
    let norm = rows.launch(target, &FILTER_NORM, &[], rows.workgroups(parts), rows.chain(terms, 1))?;
    let tree = partials_tree(target.class);
    let grid = target.grid_1d(&UNIT_NORM, len, ELEMENTS * tree.threads())?;
    let [_, lanes] = tree.constants();
    let divide = Launch::new(&UNIT_NORM, &[lanes], grid, tree.threads()).chained(tree.chain(parts, 1) + ELEMENTS);
    let (flops, bytes) = (len as u64, len as u64 * WORD_BYTES);
    Ok([norm.doing(Work { flops: 2 * flops, bytes }), divide.doing(Work { flops, bytes: 2 * bytes })])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_few_and_leave_nothing_out() {
        for len in [1, 1023, 1024, 1025, 262_144, 262_145, 300_002, 10_000_001] {
            let parts = parts(len);
            let ends = parts.iter().scan(0, |end, [first, count]| {
                let follows = first == end && *count > 0;
                *end += count;
                Some((follows, *end as usize))
            });
            let ends: Vec<_> = ends.collect();
            assert!(ends.iter().all(|(follows, _)| *follows) && ends.last() == Some(&(true, len)), "{len}: {parts:?}");
            assert!(parts.len() <= PARTS && [parts.len(), 2 * parts.len()] == unit_norm_words(len), "{len}");
        }
    }
}
