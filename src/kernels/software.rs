//! What the kernels for software adapters go by.

use crate::gpu::ProductTile;

/// Lanes of a subgroup that `matmul_software` is written for.
pub(super) const SOFTWARE_LANES: u32 = 8;

/// How many lanes of `shared/tile.wgsl` have rows where there are `rows` in all: as few kernels as the cases are worth.
pub(super) fn row_lanes(rows: usize) -> f64 {
    rows.div_ceil(4).next_power_of_two().min(SOFTWARE_LANES as usize) as f64
}

/// Terms that a round of `matmul_software`'s and `conv_software`'s loops takes; `DEPTH_STEP` in the former.
const SOFTWARE_TERMS: u32 = 4;

/// A tile in the registers of a subgroup.
pub(super) fn software_tile(sides: [u32; 2]) -> ProductTile {
    ProductTile { sides, share: sides, depth: SOFTWARE_TERMS, element_bytes: 4, by_matrices: false }
}
