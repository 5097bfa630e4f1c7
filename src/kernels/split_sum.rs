//! The sum of a product's parts: the host side of `shaders/split_sum.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, View, WORD_BYTES, Work};

use super::{Target, epilogue::Ending, product_operands::ProductOperands, tree::Tree};

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

/// Elements of an invocation, there and in `shaders/deferred_sums.wgsl`.
const ELEMENTS: usize = 4;

/// `C[i] = sum over s of partials[s, i]`
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct SplitSum {
    /// How many are added.
    pub parts: u32,
    /// Elements of C.
    pub count: u32,
    /// Its columns.
    pub n: u32,
}

impl SplitSum {
    /// How the dispatch of a product's tiles ends: as the product itself, or plainly where its parts are added up afterwards.
    pub(super) fn tiles_ending(self, ending: Ending) -> Ending {
        if self.parts == 1 { ending } else { Ending::PLAIN }
    }

    /// What a product launches whose tiles launch `tiles`: that, or the sum of its parts after it. `work` is that of the product,
    /// its bytes those of both operands alone; without parts the caller knows it.
    pub(super) fn launches(
        self,
        target: &Target,
        ending: Ending,
        tiles: Launch,
        work: Work,
    ) -> Result<Vec<Launch>, GpuError> {
        if self.parts == 1 {
            return Ok(vec![tiles]);
        }
        let (count, parts) = (u64::from(self.count), u64::from(self.parts));
        let partials = count * parts * WORD_BYTES;
        let tiles = tiles.doing(Work { bytes: work.bytes + partials, ..work });
        let sum = self.sum_launch(target, ending)?;
        Ok(vec![tiles, sum.doing(Work { flops: count * parts, bytes: partials + count * WORD_BYTES })])
    }

    /// Binds what [`SplitSum::launches`] gave to the operands of a product; the caller has checked the lengths of all
    /// operands but `scratch`. `tiles` binds the first to the views [a, b, aux, c, pre].
    pub(super) fn bind(
        self,
        gpu: &Gpu,
        launches: &[Launch],
        operands: &ProductOperands<'_>,
        tiles: impl Fn(&Launch, [&View; 5]) -> Result<Dispatch, GpuError>,
    ) -> Result<Vec<Dispatch>, GpuError> {
        let unused = [gpu.unused(0)?, gpu.unused(1)?];
        let ProductOperands { a, b, aux, c, pre, scratch } = *operands;
        let [aux, pre] = [aux.unwrap_or(&unused[0]), pre.unwrap_or(&unused[1])];
        let [first, sums @ ..] = launches else { return Ok(Vec::new()) };
        if sums.is_empty() {
            return Ok(vec![tiles(first, [a, b, aux, c, pre])?]);
        }
        let scratch = scratch.unwrap_or(&unused[0]);
        scratch.expect_len(first.spec.entry, "scratch", self.parts as usize * self.count as usize)?;
        let mut dispatches = vec![tiles(first, [a, b, &unused[0], scratch, &unused[1]])?];
        for sum in sums {
            dispatches.push(gpu.bind(sum, &[scratch, aux, c, pre], bytemuck::bytes_of(&self))?);
        }
        Ok(dispatches)
    }

    /// An invocation takes four elements, whose reads are under way at once; more parts than 16 are shared by eight. In a dispatch of
    /// sums with 2 parts and with 32, by one invocation each, the long ones would take twice as long as all of its bytes.
    pub(super) fn tree(self) -> Tree {
        if self.parts <= 16 { Tree { sums: 64, lanes: 1 } } else { Tree { sums: 32, lanes: 8 } }
    }

    /// Workgroups that add up the parts of so many elements.
    pub(super) fn workgroups(tree: Tree, count: u32) -> usize {
        tree.workgroups((count as usize).div_ceil(ELEMENTS))
    }

    fn sum_launch(self, target: &Target, ending: Ending) -> Result<Launch, GpuError> {
        let (tree, constants) = (self.tree(), ending.constants());
        let (workgroups, chain) = (Self::workgroups(tree, self.count), tree.chain(self.parts as usize, 1));
        tree.launch(target, &SPLIT_SUM, &constants, workgroups, chain)
    }
}
