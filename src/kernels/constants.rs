//! What every kernel needs on its way to the device: overrides, grids of 64, indices of 32 bits, parts that fit a binding.

use crate::gpu::{ALIGNMENT_WORDS, GpuError, Limits, WORD_BYTES};

/// Sent as the override of the elementwise kernels, so that the WGSL and the grid cannot disagree.
pub(super) const WORKGROUP_SIZE: usize = 64;

/// Parts (first word, words) of an arena, or of a tensor in one, that each fit a binding.
pub(crate) fn arena_parts(limits: Limits, words: usize) -> impl Iterator<Item = (usize, usize)> {
    // Pairs of blocks, so that parts of f16 arenas are aligned too.
    let block = 2 * ALIGNMENT_WORDS;
    let most = (limits.binding_bytes / WORD_BYTES) as usize / block * block;
    (0..words).step_by(most.max(block)).map(move |start| (start, most.min(words - start)))
}

/// A constant for [`crate::gpu::Gpu::kernel`].
pub(crate) type Constant = (&'static str, f64);

/// The override that carries [`WORKGROUP_SIZE`].
pub(super) const WORKGROUP: Constant = ("WORKGROUP_SIZE", WORKGROUP_SIZE as f64);

/// A flag as an override.
pub(crate) fn flag(name: &'static str, on: bool) -> Constant {
    (name, f64::from(u8::from(on)))
}

/// `product` of sizes as the u32 that a kernel indexes with.
///
/// # Errors
/// [`GpuError::Shape`] if it does not fit.
pub(crate) fn index_u32(kernel: &'static str, sizes: &[usize]) -> Result<u32, GpuError> {
    let product = sizes.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    product.and_then(|product| u32::try_from(product).ok()).ok_or_else(|| GpuError::Shape {
        kernel,
        shape: format!("{sizes:?}"),
        reason: "more than 2^32 - 1 elements",
    })
}
