//! How products are cut that have kernels of their own beside the matrix products': into tiles of one size, no sum split.

use crate::gpu::{KernelSpec, ProductTile};

use super::{
    BlockTile, Constant, Target,
    block::BLOCK_THREADS,
    software::{Lanes, software_tile},
    store::ByStore,
};

/// The tiles of `shaders/shared/block.wgsl` or `shaders/shared/tile.wgsl` on a target.
pub(crate) struct Tiling {
    /// Whether they lie in the registers of a software adapter's subgroup.
    pub(crate) is_software: bool,
    /// Rows and columns.
    pub(crate) sides: [usize; 2],
    /// Invocations of a workgroup.
    pub(crate) threads: usize,
    /// The shared part's overrides.
    pub(crate) constants: Vec<Constant>,
    /// For estimates.
    pub(crate) tile: ProductTile,
}

impl Tiling {
    /// For products of so many rows.
    pub(crate) fn new(target: &Target, rows: usize) -> Self {
        let (lanes, block) = (target.class.lanes(), BlockTile::SMALL);
        if lanes == Lanes::Unknown {
            let (constants, tile) = (block.constants(target), block.product_tile(target));
            return Self { is_software: false, sides: block.sides(), threads: BLOCK_THREADS, constants, tile };
        }
        let sides = [lanes.rows(); 2];
        let tile = software_tile(sides.map(|side| side as u32));
        Self { is_software: true, sides, threads: lanes.count(), constants: lanes.constants(1, rows), tile }
    }

    /// Tiles of a product of so many rows and columns.
    pub(crate) fn count(&self, [rows, columns]: [usize; 2]) -> usize {
        rows.div_ceil(self.sides[0]) * columns.div_ceil(self.sides[1])
    }

    /// The kernel that makes them, for results that are whole vec4s or are not.
    pub(crate) fn spec(&self, block: &'static ByStore, software: &'static ByStore, whole: bool) -> &'static KernelSpec {
        if self.is_software { software.spec(whole) } else { block.spec(whole) }
    }
}
