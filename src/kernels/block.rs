//! Register-blocked tiles of a product: the host side of `shaders/shared/block.wgsl`.

use crate::gpu::ProductTile;

use super::{Constant, Target, split::Waves};

/// Invocations of a workgroup.
pub(super) const BLOCK_THREADS: usize = 256;

/// Rows or columns of half a side: a side is one or two.
const HALF: usize = 64;

/// A tile that a workgroup makes through workgroup memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BlockTile {
    /// Halves of the rows and of the columns.
    halves: [u32; 2],
}

impl BlockTile {
    /// 64 x 64, 4 x 4 an invocation.
    pub const SMALL: Self = Self { halves: [1, 1] };
    /// 128 x 64, 8 x 4 an invocation.
    pub const TALL: Self = Self { halves: [2, 1] };
    /// 64 x 128, 4 x 8 an invocation.
    pub const WIDE: Self = Self { halves: [1, 2] };
    /// 128 x 128, 8 x 8 an invocation.
    pub const LARGE: Self = Self { halves: [2, 2] };
    /// Every tile.
    pub const ALL: [Self; 4] = [Self::LARGE, Self::TALL, Self::WIDE, Self::SMALL];

    /// Rows and columns.
    pub(super) fn sides(self) -> [usize; 2] {
        self.halves.map(|halves| halves as usize * HALF)
    }

    /// How many a product of `rows` x `columns` has.
    pub(super) fn count(self, [rows, columns]: [usize; 2]) -> usize {
        let [tile_rows, tile_columns] = self.sides();
        rows.div_ceil(tile_rows) * columns.div_ceil(tile_columns)
    }

    /// Tiles of 64 x 64 in this one.
    fn area(self) -> usize {
        self.halves.iter().product::<u32>() as usize
    }

    /// Whether this tile multiplies little more than the smallest for nothing: by less than it gains by reading workgroup memory
    /// less often for a multiply-add. That is about a quarter for the large tile on an H200; of the tiles between, not measured,
    /// half as much is expected.
    pub(super) fn fills(self, sides: [usize; 2]) -> bool {
        let [padded, least] = [self.area() * self.count(sides), Self::SMALL.count(sides)];
        if self == Self::LARGE { 4 * padded <= 5 * least } else { 8 * padded <= 9 * least }
    }

    /// What it wants of the parts of long sums. On an H200 one workgroup of the large tile for each multiprocessor reaches the
    /// rate of three; the tiles between are taken for small ones. Not more for each than 16 of 64 x 64, by which partial sums
    /// stay below 36 MB.
    pub(super) fn waves(self) -> Waves {
        Waves { busy: if self == Self::LARGE { 1 } else { 2 }, most: 16 / self.area(), own: 64 }
    }

    /// Terms that it holds: 16 where so much workgroup memory is granted, else 8.
    pub(super) fn depth(self, target: &Target) -> u32 {
        let bytes = |depth: u32| 512 * self.halves.iter().sum::<u32>() * depth;
        if bytes(16) <= target.limits.workgroup_bytes { 16 } else { 8 }
    }

    /// The tile of a workgroup.
    pub(super) fn product_tile(self, target: &Target) -> ProductTile {
        let sides = self.sides().map(|side| side as u32);
        ProductTile {
            sides,
            staged: sides.iter().sum(),
            share: self.halves.map(|halves| 4 * halves),
            depth: self.depth(target),
            element_bytes: 4,
            by_matrices: false,
        }
    }

    /// The overrides.
    pub(super) fn constants(self, target: &Target) -> Vec<Constant> {
        let [rows, columns] = self.halves.map(f64::from);
        let depth = f64::from(self.depth(target));
        vec![("BLOCK_ROW_HALVES", rows), ("BLOCK_COLUMN_HALVES", columns), ("BLOCK_DEPTH", depth)]
    }
}

impl std::fmt::Debug for BlockTile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [rows, columns] = self.sides();
        write!(f, "{rows} x {columns}")
    }
}
