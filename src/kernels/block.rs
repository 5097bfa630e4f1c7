//! Register-blocked tiles of a product: the host side of `shaders/shared/block.wgsl`.

use crate::gpu::Gpu;

use super::Constant;

/// Overrides for tiles of 64 `halves` on a side: 16 terms deep where so much workgroup memory is granted, else 8.
pub(super) fn block_constants(gpu: &Gpu, halves: u32) -> Vec<Constant> {
    let bytes = |depth: u32| 1024 * halves * depth;
    let depth = if bytes(16) <= gpu.limits().workgroup_bytes { 16 } else { 8 };
    vec![("BLOCK_HALVES", f64::from(halves)), ("BLOCK_DEPTH", f64::from(depth))]
}
