//! The sum of a product's parts: the host side of `shaders/split_sum.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, View};

use super::{
    Constant, WORKGROUP, WORKGROUP_SIZE, flag,
    matmul::{Epilogue, epilogue_constants},
};

pub(super) static SPLIT_SUM: KernelSpec = KernelSpec {
    entry: "split_sum",
    source: concat!(
        include_str!("../../shaders/split_sum.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: &[("partials", Access::Read), ("aux", Access::Real), ("c", Access::Out), ("pre", Access::Real)],
    immediate_bytes: size_of::<SplitSum>() as u32,
};

/// C[i] = sum over s of partials[s, i]
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct SplitSum {
    /// How many are added.
    pub(super) parts: u32,
    /// Elements of C.
    pub(super) count: u32,
    /// Its columns.
    pub(super) n: u32,
}

impl SplitSum {
    /// Plans `c = epilogue(sum of partials)`; the caller has checked the lengths of `aux`, `c` and `pre`.
    pub(super) fn plan(
        self,
        gpu: &Gpu,
        (epilogue, accumulate): (Epilogue, bool),
        partials: &View,
        [aux, c, pre]: [&View; 3],
    ) -> Result<Dispatch, GpuError> {
        let entry = SPLIT_SUM.entry;
        partials.expect_len(entry, "partials", self.parts as usize * self.count as usize)?;
        c.expect_len(entry, "c", self.count as usize)?;
        let mut constants: Vec<Constant> = vec![WORKGROUP, flag("ACCUMULATE", accumulate)];
        constants.extend(epilogue_constants(epilogue));
        let grid = gpu.grid_1d(entry, self.count as usize, WORKGROUP_SIZE)?;
        gpu.dispatch(&SPLIT_SUM, &constants, grid, &[partials, aux, c, pre], bytemuck::bytes_of(&self))
    }
}

/// Parts of a reduction of `depth` terms over `tiles` tiles: enough that about `workgroups` of them are there, each with at
/// least `least` terms.
///
/// It depends on the shape alone, so that the order of the additions, and so every bit, is the same on every run.
pub(super) fn parts(tiles: usize, depth: usize, workgroups: usize, least: usize) -> usize {
    workgroups.div_ceil(tiles.max(1)).min(depth / least).max(1)
}
