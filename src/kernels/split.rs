//! Into how many parts long sums are cut.

/// Workgroups that a split product aims at: about two for each multiprocessor of the largest GPUs of 2026.
pub(super) const SPLIT_WORKGROUPS: usize = 256;

/// Parts of a reduction of `depth` terms over `tiles` tiles: enough that about `workgroups` of them are there, each with at
/// least `least` terms.
///
/// It depends on the shape alone, so that the order of the additions, and so every bit, is the same on every run.
pub(super) fn parts(tiles: usize, depth: usize, workgroups: usize, least: usize) -> usize {
    workgroups.div_ceil(tiles.max(1)).min(depth / least).max(1)
}
