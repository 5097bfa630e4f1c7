// Matrix product for GPUs: register-blocked tiles, the next one fetched while the current one is multiplied.
//
//   C[m, n] = epilogue( sum_k A[m, k] B[k, n] )
//   with Z workgroups in z, C[z, m, n] = the z-th of Z parts of that sum, which split_sum.wgsl adds up
//   BATCHED, C[z, m, n] = sum_k A[z, m, k] B[z, k, n]
//
// Shapes    A: [m, k], or [k, m] with A_TRANSPOSED; B: [k, n], or [n, k] with B_TRANSPOSED; C: [m, n]; row-major.
//           aux: bias [n] (EPILOGUE 1) or what forward saved [m, n] (EPILOGUE 2); pre: [m, n] with STORE_PRE.
//           Any sizes; edge tiles load zeros and store nothing outside. Bindings are whole vec4s. BATCHED wants
//           contiguous extents that are multiples of 4, and neither parts nor batches take an epilogue.
// Epilogue  0: value;  1: activation(value + bias[column]), its argument kept in pre with STORE_PRE;
//           2: value * activation'(saved);  ACCUMULATE adds to what C holds.
// Dispatch  [ceil(n / 64 BLOCK_COLUMN_HALVES), ceil(m / 64 BLOCK_ROW_HALVES), Z] workgroups of 16 x 16.
//
// The tiles are those of shared/block.wgsl.
// Global reads are vec4s where the contiguous extent is a multiple of 4: 4 BLOCK_DEPTH bytes along depth, whole 32-byte
// sectors, 256 or 512 bytes across it. Stores: 8 neighbours write 128 contiguous bytes of a row, as whole vec4s where n is a
// multiple of 4 (shared/store_4.wgsl) and else as elements (shared/store_1.wgsl).
// Every operand is read_write because A, B and C may lie in one arena buffer.

override A_TRANSPOSED: bool = false;
override B_TRANSPOSED: bool = false;
// The contiguous extent of the operand is a multiple of 4, so that vec4 reads line up.
override A_ALIGNED: bool = true;
override B_ALIGNED: bool = true;
override BATCHED: bool = false;
override EPILOGUE: u32 = 0u;
override ACTIVATION: u32 = 0u;
override STORE_PRE: bool = false;
override ACCUMULATE: bool = false;

struct Product {
    m: u32,
    n: u32,
    k: u32,
}

var<immediate> values: Product;
@group(0) @binding(0) var<storage, read_write> a: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> b: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> aux: array<vec4<Real>>;
@group(0) @binding(3) var<storage, read_write> c: array<StoreOut>;
@group(0) @binding(4) var<storage, read_write> pre: array<PreReal>;

// Four lines of an operand as it lies in memory, `width` elements each, from element `first` of each on; which are there
// (block_bits).
struct Lines {
    line: vec4<u32>,
    first: u32,
    width: u32,
    there: u32,
}

// Those of a patch at side and depth `at`, `side` being how many there are in all across the depth. Past the end the last one
// is repeated: of a side nobody stores what becomes of it, of the depth it is not `there`.
fn lines_at(at: vec2<u32>, side: u32, across: bool, batch: u32) -> Lines {
    let step = vec4<u32>(0u, 1u, 2u, 3u);
    if across {
        let line = batch * values.k + min(at.y + step, vec4<u32>(values.k - 1u));
        return Lines(line, at.x, side, block_bits(at.y + step < vec4<u32>(values.k)));
    }
    let line = batch * side + min(at.x + step, vec4<u32>(side - 1u));
    return Lines(line, at.y, values.k, block_bits(vec4<bool>(at.y < values.k)));
}

// Four elements of a line of A. Past its end: zeros, or the last four again where they line up.
fn a_vector(line: u32, lines: Lines) -> vec4<Real> {
    let start = line * lines.width;
    if A_ALIGNED { return a[(start + min(lines.first, lines.width - 4u)) / 4u]; }
    let place = lines.first + vec4<u32>(0u, 1u, 2u, 3u);
    let i = start + min(place, vec4<u32>(lines.width - 1u));
    let found = vec4<Real>(a[i.x / 4u][i.x % 4u], a[i.y / 4u][i.y % 4u], a[i.z / 4u][i.z % 4u], a[i.w / 4u][i.w % 4u]);
    return select(vec4<Real>(), found, place < vec4<u32>(lines.width));
}

fn b_vector(line: u32, lines: Lines) -> vec4<Real> {
    let start = line * lines.width;
    if B_ALIGNED { return b[(start + min(lines.first, lines.width - 4u)) / 4u]; }
    let place = lines.first + vec4<u32>(0u, 1u, 2u, 3u);
    let i = start + min(place, vec4<u32>(lines.width - 1u));
    let found = vec4<Real>(b[i.x / 4u][i.x % 4u], b[i.y / 4u][i.y % 4u], b[i.z / 4u][i.z % 4u], b[i.w / 4u][i.w % 4u]);
    return select(vec4<Real>(), found, place < vec4<u32>(lines.width));
}

// What loader `loader` of an operand carries of the tile that starts at `row` or `column` and `depth`.
fn fetch_a(row: u32, depth: u32, loader: u32, batch: u32) -> BlockPatch {
    let lines = lines_at(vec2<u32>(row, depth) + block_patch_a(loader, A_TRANSPOSED), values.m, A_TRANSPOSED, batch);
    let i = lines.line;
    return BlockPatch(a_vector(i.x, lines), a_vector(i.y, lines), a_vector(i.z, lines), a_vector(i.w, lines), lines.there);
}

fn fetch_b(column: u32, depth: u32, loader: u32, batch: u32) -> BlockPatch {
    let lines = lines_at(vec2<u32>(column, depth) + block_patch_b(loader, !B_TRANSPOSED), values.n, !B_TRANSPOSED, batch);
    let i = lines.line;
    return BlockPatch(b_vector(i.x, lines), b_vector(i.y, lines), b_vector(i.z, lines), b_vector(i.w, lines), lines.there);
}

// aux(at .. at + 3), as far as `column` .. `column + 3` are there.
fn aux_vector(at: u32, column: u32) -> vec4<f32> {
    if STORE_WHOLE { return vec4<f32>(aux[at / 4u]); }
    let i = at + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(values.n - 1u - column));
    return vec4<f32>(vec4<Real>(aux[i.x / 4u][i.x % 4u], aux[i.y / 4u][i.y % 4u],
                                aux[i.z / 4u][i.z % 4u], aux[i.w / 4u][i.w % 4u]));
}

// Up to four elements of a row, `at` being the first one's place in C.
fn store(at: u32, column: u32, sums: vec4<f32>) {
    let count = values.n - column;
    var value = sums;
    if EPILOGUE == 1u {
        value += aux_vector(column, column);
        if STORE_PRE { pre_store(at, count, value); }
        value = activation_forward_vec4(ACTIVATION, value);
    } else if EPILOGUE == 2u {
        value *= activation_gradient_vec4(ACTIVATION, aux_vector(at, column));
    }
    if ACCUMULATE { value += store_held(at, count); }
    store_c(at, count, value);
}

// Four rows of four columns.
fn store_block(row: u32, column: u32, start: u32, thread: u32, block: mat4x4<f32>) {
    block_hold(thread, block);
    if row >= values.m || column >= values.n { return; }
    let rows = min(4u, values.m - row);
    for (var i = 0u; i < rows; i++) {
        store(start + (row + i) * values.n + column, column, block_held(thread, i));
    }
}

@compute @workgroup_size(16, 16)
fn matmul_block(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = workgroup.y * 64u * BLOCK_ROW_HALVES;
    let column = workgroup.x * 64u * BLOCK_COLUMN_HALVES;
    let cell = block_cell(thread);
    var first = 0u;
    var end = values.k;
    var batch = 0u;
    if BATCHED {
        batch = workgroup.z;
    } else {
        let part = part_of_sum(workgroup.z, grid.z, values.k, BLOCK_DEPTH);
        first = part.x;
        end = part.y;
    }
    let loader = block_loader(thread);
    var lines: BlockPatch;
    if loader.x == 0u { lines = fetch_a(row, first, loader.y, batch); }
    if loader.x == 1u { lines = fetch_b(column, first, loader.y, batch); }
    var sums: BlockSums;
    var current = 0u;
    block_put(current, vec2<bool>(A_TRANSPOSED, !B_TRANSPOSED), loader, lines);
    workgroupBarrier();
    for (var depth = first; depth < end; depth += BLOCK_DEPTH) {
        // Past the end these are zeros, or the next part's, which nobody multiplies.
        if loader.x == 0u { lines = fetch_a(row, depth + BLOCK_DEPTH, loader.y, batch); }
        if loader.x == 1u { lines = fetch_b(column, depth + BLOCK_DEPTH, loader.y, batch); }
        block_multiply(&sums, current, cell);
        current = 1u - current;
        block_put(current, vec2<bool>(A_TRANSPOSED, !B_TRANSPOSED), loader, lines);
        workgroupBarrier();
    }
    let at = vec2<u32>(row + 4u * cell.y, column + 4u * cell.x);
    let start = workgroup.z * values.m * values.n;
    store_block(at.x, at.y, start, thread, mat4x4<f32>(sums[0], sums[2], sums[4], sums[6]));
    if BLOCK_COLUMN_HALVES > 1u {
        store_block(at.x, at.y + 64u, start, thread, mat4x4<f32>(sums[1], sums[3], sums[5], sums[7]));
    }
    if BLOCK_ROW_HALVES > 1u {
        store_block(at.x + 64u, at.y, start, thread, mat4x4<f32>(sums[8], sums[10], sums[12], sums[14]));
    }
    if BLOCK_ROW_HALVES * BLOCK_COLUMN_HALVES == 4u {
        store_block(at.x + 64u, at.y + 64u, start, thread, mat4x4<f32>(sums[9], sums[11], sums[13], sums[15]));
    }
}
