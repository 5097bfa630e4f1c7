//! Register-blocked tiles of a product: the host side of `shaders/shared/block.wgsl`.

use crate::gpu::ProductTile;

use super::{Constant, Target};

/// Invocations of a workgroup.
pub(super) const BLOCK_THREADS: usize = 256;

/// Terms that tiles of 64 `halves` on a side hold: 16 where so much workgroup memory is granted, else 8.
pub(super) fn block_depth(target: &Target, halves: u32) -> u32 {
    let bytes = |depth: u32| 1024 * halves * depth;
    if bytes(16) <= target.limits.workgroup_bytes { 16 } else { 8 }
}

/// Overrides for tiles of 64 `halves` on a side.
pub(super) fn block_constants(target: &Target, halves: u32) -> Vec<Constant> {
    vec![("BLOCK_HALVES", f64::from(halves)), ("BLOCK_DEPTH", f64::from(block_depth(target, halves)))]
}

/// Tiles of 64 `halves` on a side.
pub(super) fn block_tile(target: &Target, halves: u32) -> ProductTile {
    ProductTile {
        sides: [64 * halves; 2],
        share: [4 * halves; 2],
        depth: block_depth(target, halves),
        element_bytes: 4,
        by_matrices: false,
    }
}
