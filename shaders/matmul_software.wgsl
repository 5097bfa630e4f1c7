// Matrix product for software adapters with subgroups of 4, 8 or 16 lanes: registers and shuffles, no workgroup tiles.
//
//   C[m, n] = epilogue( sum_k A[m, k] B[k, n] )
//
// Shapes    A: [m, k], or [k, m] with A_TRANSPOSED; B: [k, n], or [n, k] with B_TRANSPOSED; C: [m, n]; row-major.
//           aux: bias [n] (EPILOGUE 1) or what forward saved [m, n] (EPILOGUE 2); pre: [m, n] with STORE_PRE.
//           Any sizes; bindings are whole vec4s (the host rounds their sizes up to 16 bytes).
// Epilogue  as in matmul_block.wgsl.
// Dispatch  [ceil(m / (4 LANES)), ceil(n / (4 LANES COLUMN_BLOCKS)), batch] workgroups of one subgroup; rows run fastest,
//           so that the panel of B stays in the cache. A batch is of products of their own, A, B and C each one after the
//           other; more than one want contiguous extents that are multiples of 4, and no epilogue.
//
// A load within a loop costs llvmpipe some 35 instructions a lane, whatever the lanes read, so nothing is read twice: a
// lane reads 4 rows of 4 depths of A, which subgroupShuffle with a constant lane (one instruction) hands to all, and 4
// columns of each block of B. Sums live in registers and on the stack.
// Every operand is read_write because A, B and C may lie in one arena buffer.

override A_TRANSPOSED: bool = false;
override B_TRANSPOSED: bool = false;
// The contiguous extent of the operand is a multiple of 4, so that vec4 reads line up.
override A_ALIGNED: bool = true;
override B_ALIGNED: bool = true;
// Lanes of a subgroup, and so of a workgroup: 4, 8 or 16.
override LANES: u32 = 8u;
// 1 or 2 blocks of columns for each workgroup: 2 for products that overflow the caches.
override COLUMN_BLOCKS: u32 = 1u;
// Fewer than LANES where all rows are the first lanes': see shared/tile.wgsl.
override ROW_LANES: u32 = LANES;
// Nothing happens to the sums and they line up: written straight from registers.
override DIRECT: bool = false;
override EPILOGUE: u32 = 0u;
override ACTIVATION: u32 = 0u;
override STORE_PRE: bool = false;
override ACCUMULATE: bool = false;

override BLOCK: u32 = 4u * LANES; // rows or columns of a block: 4 for each lane
const DEPTH_STEP: u32 = 4u;

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

// A finished tile on its way through an epilogue, as [rows][COLUMN_BLOCKS][LANES]. A lane reads back only what it wrote, so
// no barrier is needed.
var<workgroup> finished: array<vec4<f32>, BLOCK * COLUMN_BLOCKS * LANES>;

fn a_vector(line: u32, first: u32, width: u32) -> vec4<f32> {
    let at = line * width + first;
    if A_ALIGNED { return vec4<f32>(a[at / 4u]); }
    let last = (line + 1u) * width - 1u;
    let i = min(vec4<u32>(at, at + 1u, at + 2u, at + 3u), vec4<u32>(last));
    return vec4<f32>(vec4<Real>(a[i.x / 4u][i.x % 4u], a[i.y / 4u][i.y % 4u], a[i.z / 4u][i.z % 4u], a[i.w / 4u][i.w % 4u]));
}

fn b_vector(line: u32, first: u32, width: u32) -> vec4<f32> {
    let at = line * width + first;
    if B_ALIGNED { return vec4<f32>(b[at / 4u]); }
    let last = (line + 1u) * width - 1u;
    let i = min(vec4<u32>(at, at + 1u, at + 2u, at + 3u), vec4<u32>(last));
    return vec4<f32>(vec4<Real>(b[i.x / 4u][i.x % 4u], b[i.y / 4u][i.y % 4u], b[i.z / 4u][i.z % 4u], b[i.w / 4u][i.w % 4u]));
}

// Zero where depth has run out; both operands, since a stray NaN times zero is NaN.
fn within_depth(block: mat4x4<f32>, depth: u32) -> mat4x4<f32> {
    let none = vec4<f32>();
    return mat4x4<f32>(block[0],
                       select(none, block[1], depth + 1u < values.k),
                       select(none, block[2], depth + 2u < values.k),
                       select(none, block[3], depth + 3u < values.k));
}

// A(row .. row + 3, depth .. depth + 3) as one vec4 of rows for each depth; edges are repeated.
fn a_block(row: u32, depth: u32, batch: u32) -> mat4x4<f32> {
    if !A_TRANSPOSED {
        let r = batch * values.m + min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(values.m - 1u));
        return within_depth(transpose(mat4x4<f32>(
            a_vector(r.x, depth, values.k), a_vector(r.y, depth, values.k),
            a_vector(r.z, depth, values.k), a_vector(r.w, depth, values.k))), depth);
    }
    let d = batch * values.k + min(vec4<u32>(depth, depth + 1u, depth + 2u, depth + 3u), vec4<u32>(values.k - 1u));
    let r = min(row, (values.m - 1u) / 4u * 4u);
    return within_depth(mat4x4<f32>(
        a_vector(d.x, r, values.m), a_vector(d.y, r, values.m),
        a_vector(d.z, r, values.m), a_vector(d.w, r, values.m)), depth);
}

// B(depth .. depth + 3, column .. column + 3) as one vec4 of columns for each depth.
fn b_block(column: u32, depth: u32, batch: u32) -> mat4x4<f32> {
    if B_TRANSPOSED {
        let c = batch * values.n
            + min(vec4<u32>(column, column + 1u, column + 2u, column + 3u), vec4<u32>(values.n - 1u));
        return within_depth(transpose(mat4x4<f32>(
            b_vector(c.x, depth, values.k), b_vector(c.y, depth, values.k),
            b_vector(c.z, depth, values.k), b_vector(c.w, depth, values.k))), depth);
    }
    let d = batch * values.k + min(vec4<u32>(depth, depth + 1u, depth + 2u, depth + 3u), vec4<u32>(values.k - 1u));
    let c = min(column, (values.n - 1u) / 4u * 4u);
    return within_depth(mat4x4<f32>(
        b_vector(d.x, c, values.n), b_vector(d.y, c, values.n),
        b_vector(d.z, c, values.n), b_vector(d.w, c, values.n)), depth);
}

// Elements at.x, at.y, at.z and at.w of aux.
fn aux_elements(at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(vec4<Real>(aux[at.x / 4u][at.x % 4u], aux[at.y / 4u][at.y % 4u],
                                aux[at.z / 4u][at.z % 4u], aux[at.w / 4u][at.w % 4u]));
}

// The biases of four columns, read once for all rows; columns past the end repeat the last.
fn bias_of(column: u32) -> vec4<f32> {
    if EPILOGUE != 1u { return vec4<f32>(); }
    if STORE_WHOLE { return vec4<f32>(aux[min(column, values.n - 4u) / 4u]); }
    return aux_elements(min(column + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(values.n - 1u)));
}

// What forward saved of elements `at` .. `at + 3`, of which `count` are there.
fn saved_vector(at: u32, count: u32) -> vec4<f32> {
    if STORE_WHOLE { return vec4<f32>(aux[at / 4u]); }
    return aux_elements(at + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(count - 1u)));
}

// Up to four neighbouring elements of a row.
fn write_vector(row: u32, column: u32, sums: vec4<f32>, bias: vec4<f32>) {
    if column >= values.n { return; }
    let at = row * values.n + column;
    let count = values.n - column;
    var value = sums + bias;
    if EPILOGUE == 1u {
        if STORE_PRE { pre_store(at, count, value); }
        value = activation_forward_vec4(ACTIVATION, value);
    } else if EPILOGUE == 2u {
        value *= activation_gradient_vec4(ACTIVATION, saved_vector(at, count));
    }
    if ACCUMULATE { value += store_held(at, count); }
    store_c(at, count, value);
}

struct Place {
    tile: vec3<u32>,
    lane: u32,
}

// What becomes of the sums of 8 rows: see shared/tile.wgsl.
fn write_eight(sums: ptr<function, TileSums>, first: u32, place: Place) {
    let tile = place.tile;
    let lane = place.lane;
    let column = tile.y * BLOCK * COLUMN_BLOCKS + 4u * lane;
    for (var i = first; i < first + 8u; i++) {
        if DIRECT {
            let row = tile.x * BLOCK + i;
            let at = (tile.z * values.m + row) * values.n + column;
            if row < values.m {
                if column < values.n { store_c(at, 4u, (*sums)[2u * i]); }
                if COLUMN_BLOCKS > 1u && column + BLOCK < values.n { store_c(at + BLOCK, 4u, (*sums)[2u * i + 1u]); }
            }
        } else {
            finished[COLUMN_BLOCKS * i * LANES + lane] = (*sums)[2u * i];
            if COLUMN_BLOCKS > 1u { finished[(COLUMN_BLOCKS * i + 1u) * LANES + lane] = (*sums)[2u * i + 1u]; }
        }
    }
}

@compute @workgroup_size(LANES)
fn matmul_software(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = tile.x * BLOCK;
    let first_row = tile.z * values.m + row; // of all the batch's C
    let column = tile.y * BLOCK * COLUMN_BLOCKS + 4u * lane;
    var sums: TileSums;
    for (var depth = 0u; depth < values.k; depth += DEPTH_STEP) {
        let b0 = b_block(column, depth, tile.z);
        var b1 = b0;
        if COLUMN_BLOCKS > 1u { b1 = b_block(column + BLOCK, depth, tile.z); }
        tile_add_block(&sums, a_block(row + 4u * lane, depth, tile.z), b0, b1);
    }
    tile_write(&sums, Place(tile, lane));
    if DIRECT { return; }
    let bias_0 = bias_of(column);
    var bias_1 = bias_0;
    if COLUMN_BLOCKS > 1u { bias_1 = bias_of(column + BLOCK); }
    let rows = min(BLOCK, values.m - row);
    for (var i = 0u; i < rows; i++) {
        write_vector(first_row + i, column, finished[COLUMN_BLOCKS * i * LANES + lane], bias_0);
        if COLUMN_BLOCKS > 1u {
            write_vector(first_row + i, column + BLOCK, finished[(COLUMN_BLOCKS * i + 1u) * LANES + lane], bias_1);
        }
    }
}
