// Attention's products for GPUs: register-blocked tiles, the next one fetched while the current one is multiplied.
//
//   C (+)= scale A B for each head of each sample: see shared/attention.wgsl
//
// Shapes    scores [batch, heads, length, length]; vectors [batch, length, width], of which a head has head_dim elements. Any sizes;
//           edge tiles load zeros and store nothing outside. Bindings are whole vec4s.
// Dispatch  grid_1d(batch * heads * ceil(length / 64) * ceil(columns / 64), 1), folded, workgroups of 16 x 16.
//
// The tiles are those of shared/block.wgsl, reads and stores as in matmul_block.wgsl.
// Every operand is read_write because A, B and C may lie in one arena buffer.

override A_TRANSPOSED: bool = false;
override B_TRANSPOSED: bool = false;
override CAUSAL: bool = false;
// Lines of the operand begin at multiples of 4, so that vec4 reads line up.
override A_ALIGNED: bool = true;
override B_ALIGNED: bool = true;
override ACCUMULATE: bool = false;

var<immediate> values: AttentionProduct;
@group(0) @binding(0) var<storage, read_write> a: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> b: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> c: array<StoreOut>;

// Four lines of an operand: where each begins, from which element of each on and of how many; which are there (block_bits).
struct Strip {
    start: vec4<u32>,
    first: u32,
    extent: u32,
    there: u32,
}

// That of the lines at side and depth `at`; "across" says that lines run along the side, of `side` elements or lines in all. Past
// the end the last line is repeated: of a side nobody stores what becomes of it, of the depth it is not `there`.
fn strip_at(lines: AttentionLines, at: vec2<u32>, side: u32, terms: u32, across: bool) -> Strip {
    let step = vec4<u32>(0u, 1u, 2u, 3u);
    if across {
        let start = lines.base + lines.stride * min(at.y + step, vec4<u32>(terms - 1u));
        return Strip(start, at.x, side, block_bits(at.y + step < vec4<u32>(terms)));
    }
    let start = lines.base + lines.stride * min(at.x + step, vec4<u32>(side - 1u));
    return Strip(start, at.y, terms, block_bits(vec4<bool>(at.y < terms)));
}

// Four elements of the line of A that begins at `start`. Past its end: zeros, or the last four again where they line up.
fn a_vector(start: u32, strip: Strip) -> vec4<Real> {
    if A_ALIGNED { return a[(start + min(strip.first, strip.extent - 4u)) / 4u]; }
    let place = strip.first + vec4<u32>(0u, 1u, 2u, 3u);
    let i = start + min(place, vec4<u32>(strip.extent - 1u));
    let found = vec4<Real>(a[i.x / 4u][i.x % 4u], a[i.y / 4u][i.y % 4u], a[i.z / 4u][i.z % 4u], a[i.w / 4u][i.w % 4u]);
    return select(vec4<Real>(), found, place < vec4<u32>(strip.extent));
}

fn b_vector(start: u32, strip: Strip) -> vec4<Real> {
    if B_ALIGNED { return b[(start + min(strip.first, strip.extent - 4u)) / 4u]; }
    let place = strip.first + vec4<u32>(0u, 1u, 2u, 3u);
    let i = start + min(place, vec4<u32>(strip.extent - 1u));
    let found = vec4<Real>(b[i.x / 4u][i.x % 4u], b[i.y / 4u][i.y % 4u], b[i.z / 4u][i.z % 4u], b[i.w / 4u][i.w % 4u]);
    return select(vec4<Real>(), found, place < vec4<u32>(strip.extent));
}

// Terms of a sum, those that are masked included.
fn all_terms() -> u32 {
    return select(values.length, values.head_dim, B_TRANSPOSED);
}

// What loader `loader` of an operand carries of the tile at `depth`.
fn fetch_a(tile: AttentionTile, depth: u32, loader: u32) -> BlockPatch {
    let at = vec2<u32>(tile.row, depth) + block_patch_a(loader, A_TRANSPOSED);
    let strip = strip_at(attention_a(tile.head), at, values.length, all_terms(), A_TRANSPOSED);
    let i = strip.start;
    return BlockPatch(a_vector(i.x, strip), a_vector(i.y, strip), a_vector(i.z, strip), a_vector(i.w, strip), strip.there);
}

fn fetch_b(tile: AttentionTile, depth: u32, loader: u32) -> BlockPatch {
    let at = vec2<u32>(tile.column, depth) + block_patch_b(loader, !B_TRANSPOSED);
    let strip = strip_at(attention_b(tile.head), at, attention_columns(), all_terms(), !B_TRANSPOSED);
    let i = strip.start;
    return BlockPatch(b_vector(i.x, strip), b_vector(i.y, strip), b_vector(i.z, strip), b_vector(i.w, strip), strip.there);
}

// Four rows of four columns.
fn store_block(tile: AttentionTile, cell: vec2<u32>, thread: u32, block: mat4x4<f32>) {
    block_hold(thread, block);
    let row = tile.row + 4u * cell.y;
    let column = tile.column + 4u * cell.x;
    if row >= values.length || column >= attention_columns() { return; }
    let lines = attention_c(tile.head);
    let count = attention_columns() - column;
    let rows = min(4u, values.length - row);
    for (var i = 0u; i < rows; i++) {
        let at = lines.base + (row + i) * lines.stride + column;
        var value = values.scale * block_held(thread, i);
        if ACCUMULATE { value += store_held(at, count); }
        store_c(at, count, value);
    }
}

@compute @workgroup_size(16, 16)
fn attention_block(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let tile = attention_tile(index_1d(workgroup, grid, 1u), vec2<u32>(4u * BLOCK_SIDE));
    if !tile.is_wanted { return; } // the whole workgroup
    let terms = attention_terms(tile, 4u * BLOCK_SIDE);
    let cell = block_cell(thread);
    let loader = block_loader(thread);
    let across = vec2<bool>(A_TRANSPOSED, !B_TRANSPOSED);
    var lines: BlockPatch;
    if loader.x == 0u { lines = fetch_a(tile, terms.x, loader.y); }
    if loader.x == 1u { lines = fetch_b(tile, terms.x, loader.y); }
    var sums: BlockSums;
    var current = 0u;
    block_put(current, across, loader, lines);
    workgroupBarrier();
    for (var depth = terms.x; depth < terms.y; depth += BLOCK_DEPTH) {
        // Past the end these are zeros, or what nobody multiplies.
        if loader.x == 0u { lines = fetch_a(tile, depth + BLOCK_DEPTH, loader.y); }
        if loader.x == 1u { lines = fetch_b(tile, depth + BLOCK_DEPTH, loader.y); }
        block_multiply(&sums, current, cell);
        current = 1u - current;
        block_put(current, across, loader, lines);
        workgroupBarrier();
    }
    store_block(tile, cell, thread, mat4x4<f32>(sums[0], sums[2], sums[4], sums[6]));
}
