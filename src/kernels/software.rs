//! What the kernels for software adapters go by: how many lanes of a subgroup share a tile of `shaders/shared/tile.wgsl`.

use crate::gpu::ProductTile;

use super::Constant;

/// Invocations of a software adapter's subgroups, which it computes with at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// A size that varies, or that no kernel is written for, or no subgroups at all.
    Unknown,
    /// 128 bits: SwiftShader, WARP, llvmpipe without AVX.
    Four,
    /// 256 bits: llvmpipe with AVX.
    Eight,
    /// 512 bits: llvmpipe with AVX-512 where `LP_NATIVE_VECTOR_WIDTH` asks for it.
    Sixteen,
}

impl Lanes {
    /// The lanes where the smallest and the largest subgroup have these sizes.
    pub(super) fn of_subgroups([least, most]: [u32; 2]) -> Self {
        match (least == most, most) {
            (true, 4) => Self::Four,
            (true, 8) => Self::Eight,
            (true, 16) => Self::Sixteen,
            _ => Self::Unknown,
        }
    }

    /// How many they are; 1 where that is not known, which is right on any adapter.
    pub(super) fn count(self) -> usize {
        match self {
            Self::Unknown => 1,
            Self::Four => 4,
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }

    /// Rows of a tile.
    pub(super) fn rows(self) -> usize {
        4 * self.count()
    }

    /// Quads of columns of a tile of so many blocks.
    pub(super) fn quads(self, blocks: usize) -> usize {
        blocks * self.count()
    }

    /// Quads of channels that lanes with rows of their own take at most: with more, none would be without columns otherwise.
    pub(super) fn narrow_quads(self) -> usize {
        self.count() / 2
    }

    /// The overrides of a tile of so many blocks where there are `rows` in all: as few kernels as the cases are worth.
    pub(super) fn constants(self, blocks: usize, rows: usize) -> Vec<Constant> {
        let row_lanes = rows.div_ceil(4).next_power_of_two().min(self.count());
        vec![("LANES", self.count() as f64), ("COLUMN_BLOCKS", blocks as f64), ("ROW_LANES", row_lanes as f64)]
    }
}

/// Terms that a round of `matmul_software`'s and the convolutions' loops takes; `DEPTH_STEP` in the former.
const SOFTWARE_TERMS: u32 = 4;

/// A tile in the registers of a subgroup.
pub(super) fn software_tile(sides: [u32; 2]) -> ProductTile {
    ProductTile {
        sides,
        staged: sides.iter().sum(),
        share: sides,
        depth: SOFTWARE_TERMS,
        element_bytes: 4,
        by_matrices: false,
    }
}
