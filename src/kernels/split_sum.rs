//! The sum of a product's parts: the host side of `shaders/split_sum.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, View};

use super::{
    Constant, flag,
    matmul::{Epilogue, epilogue_constants},
    tree::{Launch, Tree},
};

pub(super) static SPLIT_SUM: KernelSpec = KernelSpec {
    entry: "split_sum",
    source: concat!(
        include_str!("../../shaders/split_sum.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/tree.wgsl"),
        include_str!("../../shaders/shared/epilogue.wgsl"),
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
    /// Plans a product of `a` and `b` into `c`, by `tiles` alone or in parts that are added up; the caller has checked the
    /// lengths of all operands but `scratch`. `tiles` plans the dispatch of a product with an epilogue and the views
    /// [a, b, aux, c, pre].
    pub(super) fn plan(
        self,
        gpu: &Gpu,
        entry: &'static str,
        ending: (Epilogue, bool),
        [a, b, c]: [&View; 3],
        [aux, pre, scratch]: [Option<&View>; 3],
        tiles: impl Fn((Epilogue, bool), [&View; 5]) -> Result<Dispatch, GpuError>,
    ) -> Result<Vec<Dispatch>, GpuError> {
        let unused = [gpu.unused(0)?, gpu.unused(1)?];
        let [aux, pre] = [aux.unwrap_or(&unused[0]), pre.unwrap_or(&unused[1])];
        if self.parts == 1 {
            return Ok(vec![tiles(ending, [a, b, aux, c, pre])?]);
        }
        let scratch = scratch.unwrap_or(&unused[0]);
        scratch.expect_len(entry, "scratch", self.parts as usize * self.count as usize)?;
        let partial = tiles((Epilogue::Plain, false), [a, b, &unused[0], scratch, &unused[1]])?;
        Ok(vec![partial, self.sum(gpu, ending, scratch, [aux, c, pre])?])
    }

    /// An invocation an element, whose parts' reads are all under way at once; many parts are shared by eight.
    fn tree(self) -> Tree {
        if self.parts <= 32 { Tree { sums: 64, lanes: 1 } } else { Tree { sums: 32, lanes: 8 } }
    }

    /// The dispatch that adds the parts up.
    pub(super) fn launch(self) -> Launch {
        let tree = self.tree();
        tree.launch(SPLIT_SUM.entry, tree.workgroups(self.count as usize), tree.chain(self.parts as usize, 1))
    }

    fn sum(
        self,
        gpu: &Gpu,
        (epilogue, accumulate): (Epilogue, bool),
        partials: &View,
        [aux, c, pre]: [&View; 3],
    ) -> Result<Dispatch, GpuError> {
        let mut constants: Vec<Constant> = vec![flag("ACCUMULATE", accumulate)];
        constants.extend(self.tree().constants());
        constants.extend(epilogue_constants(epilogue));
        let grid = self.launch().grid(gpu)?;
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
