// Parts of a long sum, for the product kernels whose workgroups in z take one each; split_sum.wgsl adds them up.

// First term of part `part` of `parts` of a sum of `depth` terms, and where it ends. Parts are whole tiles of `tile` terms, so
// that only the last tile of all runs past `depth`.
fn part_of_sum(part: u32, parts: u32, depth: u32, tile: u32) -> vec2<u32> {
    let tiles = (depth + tile - 1u) / tile;
    let each = (tiles + parts - 1u) / parts * tile;
    let first = min(part * each, depth);
    return vec2<u32>(first, min(first + each, depth));
}
