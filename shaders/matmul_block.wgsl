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
// Dispatch  [ceil(n / TILE), ceil(m / TILE), Z] workgroups of 16 x 16; TILE is 64 HALVES, depth 16 / HALVES.
//
// An invocation makes 4 x 4 elements, or 8 x 8 with HALVES 2 (rows 4 y .. 4 y + 3 and 64 more, columns likewise), so that
// of every depth it reads 2 or 4 vec4s for 16 or 64 multiply-adds. It carries one vec4 of each operand's next tile in
// registers, from before the multiplications to after them, and puts it into the other of two tiles: one barrier a tile.
// Two tiles of both operands take 16 KiB, what WebGPU grants, so bank conflicts are avoided by a swizzle, not by padding:
//   - reads: 16 neighbours read 16 neighbouring vec4s of B, and all one vec4 of A;
//   - writes of an operand that is contiguous across its depth: neighbours write neighbouring vec4s;
//   - writes of one contiguous along its depth: 32 neighbours hold 32 / (DEPTH / 4) rows by DEPTH / 4 quads of depths, and
//     the swizzle puts these rows of each quad into another part of the 32 banks.
// Global reads are vec4s where the contiguous extent is a multiple of 4: whole 32-byte sectors along depth, 256 or 512
// bytes across it. Stores: 16 neighbours write 256 contiguous bytes of a row.
// With HALVES 2, 64 sums, 8 fetched and 16 read values take about 110 registers: two workgroups on a multiprocessor of
// 64 Ki registers, which is what hides the latency of global reads beside the fetch ahead.
// Every operand is read_write because A, B and C may lie in one arena buffer.

override HALVES: u32 = 1u;
override A_TRANSPOSED: bool = false;
override B_TRANSPOSED: bool = false;
// The contiguous extent of the operand is a multiple of 4, so that vec4 reads and writes line up.
override A_ALIGNED: bool = true;
override B_ALIGNED: bool = true;
override C_ALIGNED: bool = true;
override BATCHED: bool = false;
override EPILOGUE: u32 = 0u;
override ACTIVATION: u32 = 0u;
override STORE_PRE: bool = false;
override ACCUMULATE: bool = false;

const SIDE: u32 = 16u; // invocations per side of a workgroup
const OPERAND: u32 = 256u; // vec4s of an operand's tile: one for each invocation

struct Product {
    m: u32,
    n: u32,
    k: u32,
}

var<immediate> values: Product;
@group(0) @binding(0) var<storage, read_write> a: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> b: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> aux: array<vec4<Real>>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4<Out>>;
@group(0) @binding(4) var<storage, read_write> pre: array<vec4<Real>>;

// Two tiles of A, then two of B, each depth-first, [depth][side], as vec4s along the side. In the end finished sums on
// their way through the epilogue: an invocation reads back only what it wrote.
var<workgroup> tiles: array<vec4<f32>, 1024>;

// Two vec4s (one for each half of the columns) for each of 8 rows.
alias Sums = array<vec4<f32>, 16>;

fn tile_depth() -> u32 {
    return 16u / HALVES;
}

// vec4s along the side of a tile.
fn side_quads() -> u32 {
    return SIDE * HALVES;
}

// Where vec4 `quad` of a tile's side lies at `depth`.
fn place(depth: u32, quad: u32) -> u32 {
    return depth * side_quads() + (quad ^ (depth / 4u * 2u * HALVES));
}

// Elements `first` .. `first + 3` of a line of A, zero outside.
fn a_vector(line: u32, lines: u32, first: u32, width: u32, start: u32) -> vec4<f32> {
    var found = vec4<f32>();
    if line >= lines || first >= width { return found; }
    let at = start + line * width + first;
    if A_ALIGNED { return vec4<f32>(a[at / 4u]); }
    found.x = f32(a[at / 4u][at % 4u]);
    if first + 1u < width { found.y = f32(a[(at + 1u) / 4u][(at + 1u) % 4u]); }
    if first + 2u < width { found.z = f32(a[(at + 2u) / 4u][(at + 2u) % 4u]); }
    if first + 3u < width { found.w = f32(a[(at + 3u) / 4u][(at + 3u) % 4u]); }
    return found;
}

fn b_vector(line: u32, lines: u32, first: u32, width: u32, start: u32) -> vec4<f32> {
    var found = vec4<f32>();
    if line >= lines || first >= width { return found; }
    let at = start + line * width + first;
    if B_ALIGNED { return vec4<f32>(b[at / 4u]); }
    found.x = f32(b[at / 4u][at % 4u]);
    if first + 1u < width { found.y = f32(b[(at + 1u) / 4u][(at + 1u) % 4u]); }
    if first + 2u < width { found.z = f32(b[(at + 2u) / 4u][(at + 2u) % 4u]); }
    if first + 3u < width { found.w = f32(b[(at + 3u) / 4u][(at + 3u) % 4u]); }
    return found;
}

// What invocation `thread` carries of the tile that starts at `row` and `depth`.
fn fetch_a(row: u32, depth: u32, thread: u32, start: u32) -> vec4<f32> {
    if A_TRANSPOSED {
        let across = 4u * (thread % side_quads());
        return a_vector(depth + thread / side_quads(), values.k, row + across, values.m, start);
    }
    let quads = tile_depth() / 4u;
    return a_vector(row + thread / quads, values.m, depth + 4u * (thread % quads), values.k, start);
}

fn fetch_b(column: u32, depth: u32, thread: u32, start: u32) -> vec4<f32> {
    if !B_TRANSPOSED {
        let across = 4u * (thread % side_quads());
        return b_vector(depth + thread / side_quads(), values.k, column + across, values.n, start);
    }
    let quads = tile_depth() / 4u;
    return b_vector(column + thread / quads, values.n, depth + 4u * (thread % quads), values.k, start);
}

// Into the tile that starts at `tile`.
fn put(tile: u32, along_depth: bool, thread: u32, carried: vec4<f32>) {
    if along_depth {
        let quads = tile_depth() / 4u;
        let side = thread / quads;
        let at = tile + place(4u * (thread % quads), side / 4u);
        tiles[at][side % 4u] = carried.x;
        tiles[at + side_quads()][side % 4u] = carried.y;
        tiles[at + 2u * side_quads()][side % 4u] = carried.z;
        tiles[at + 3u * side_quads()][side % 4u] = carried.w;
    } else {
        tiles[tile + place(thread / side_quads(), thread % side_quads())] = carried;
    }
}

fn add_rows(sums: ptr<function, Sums>, first: u32, rows: vec4<f32>, left: vec4<f32>, right: vec4<f32>) {
    (*sums)[first] += rows.x * left;
    (*sums)[first + 2u] += rows.y * left;
    (*sums)[first + 4u] += rows.z * left;
    (*sums)[first + 6u] += rows.w * left;
    if HALVES > 1u {
        (*sums)[first + 1u] += rows.x * right;
        (*sums)[first + 3u] += rows.y * right;
        (*sums)[first + 5u] += rows.z * right;
        (*sums)[first + 7u] += rows.w * right;
    }
}

fn add_depth(sums: ptr<function, Sums>, row_at: u32, column_at: u32) {
    let left = tiles[column_at];
    var right = left;
    if HALVES > 1u { right = tiles[column_at + SIDE]; }
    add_rows(sums, 0u, tiles[row_at], left, right);
    if HALVES > 1u { add_rows(sums, 8u, tiles[row_at + SIDE], left, right); }
}

fn multiply(sums: ptr<function, Sums>, current: u32, local: vec2<u32>) {
    for (var depth = 0u; depth < tile_depth(); depth += 4u) {
        let row_at = current * OPERAND + place(depth, local.y);
        let column_at = (2u + current) * OPERAND + place(depth, local.x);
        let next = side_quads();
        add_depth(sums, row_at, column_at);
        add_depth(sums, row_at + next, column_at + next);
        add_depth(sums, row_at + 2u * next, column_at + 2u * next);
        add_depth(sums, row_at + 3u * next, column_at + 3u * next);
    }
}

// aux(at .. at + 3), as far as `column` .. `column + 3` are there.
fn aux_vector(at: u32, column: u32) -> vec4<f32> {
    if C_ALIGNED { return vec4<f32>(aux[at / 4u]); }
    let i = at + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(values.n - 1u - column));
    return vec4<f32>(vec4<Real>(aux[i.x / 4u][i.x % 4u], aux[i.y / 4u][i.y % 4u],
                                aux[i.z / 4u][i.z % 4u], aux[i.w / 4u][i.w % 4u]));
}

fn c_vector(at: u32, column: u32) -> vec4<f32> {
    if C_ALIGNED { return vec4<f32>(c[at / 4u]); }
    let i = at + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(values.n - 1u - column));
    return vec4<f32>(vec4<Out>(c[i.x / 4u][i.x % 4u], c[i.y / 4u][i.y % 4u],
                               c[i.z / 4u][i.z % 4u], c[i.w / 4u][i.w % 4u]));
}

fn put_c(at: u32, column: u32, value: vec4<f32>) {
    if C_ALIGNED {
        c[at / 4u] = vec4<Out>(value);
        return;
    }
    c[at / 4u][at % 4u] = Out(value.x);
    if column + 1u < values.n { c[(at + 1u) / 4u][(at + 1u) % 4u] = Out(value.y); }
    if column + 2u < values.n { c[(at + 2u) / 4u][(at + 2u) % 4u] = Out(value.z); }
    if column + 3u < values.n { c[(at + 3u) / 4u][(at + 3u) % 4u] = Out(value.w); }
}

fn put_pre(at: u32, column: u32, value: vec4<f32>) {
    if C_ALIGNED {
        pre[at / 4u] = vec4<Real>(value);
        return;
    }
    pre[at / 4u][at % 4u] = Real(value.x);
    if column + 1u < values.n { pre[(at + 1u) / 4u][(at + 1u) % 4u] = Real(value.y); }
    if column + 2u < values.n { pre[(at + 2u) / 4u][(at + 2u) % 4u] = Real(value.z); }
    if column + 3u < values.n { pre[(at + 3u) / 4u][(at + 3u) % 4u] = Real(value.w); }
}

// Up to four elements of a row, `at` being the first one's place in C.
fn store(at: u32, column: u32, sums: vec4<f32>) {
    var value = sums;
    if EPILOGUE == 1u {
        value += aux_vector(column, column);
        if STORE_PRE { put_pre(at, column, value); }
        value = activation_forward_vec4(ACTIVATION, value);
    } else if EPILOGUE == 2u {
        value *= activation_gradient_vec4(ACTIVATION, aux_vector(at, column));
    }
    if ACCUMULATE { value += c_vector(at, column); }
    put_c(at, column, value);
}

// Four rows of four columns. They pass through workgroup memory so that one copy of the epilogue, in a loop whose rounds
// are not known to the compiler, serves all four: sums indexed by the loop would not stay in registers.
fn store_block(row: u32, column: u32, start: u32, thread: u32, block: mat4x4<f32>) {
    tiles[thread] = block[0];
    tiles[thread + OPERAND] = block[1];
    tiles[thread + 2u * OPERAND] = block[2];
    tiles[thread + 3u * OPERAND] = block[3];
    if row >= values.m || column >= values.n { return; }
    let rows = min(4u, values.m - row);
    for (var i = 0u; i < rows; i++) {
        store(start + (row + i) * values.n + column, column, tiles[thread + i * OPERAND]);
    }
}

@compute @workgroup_size(16, 16)
fn matmul_block(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = workgroup.y * 64u * HALVES;
    let column = workgroup.x * 64u * HALVES;
    let thread = local.y * SIDE + local.x;
    var first = 0u;
    var end = values.k;
    var a_start = 0u;
    var b_start = 0u;
    if BATCHED {
        a_start = workgroup.z * values.m * values.k;
        b_start = workgroup.z * values.k * values.n;
    } else {
        // Parts are whole tiles, so that only the last tile of all runs past k.
        let tile_count = (values.k + tile_depth() - 1u) / tile_depth();
        let part = (tile_count + grid.z - 1u) / grid.z * tile_depth();
        first = min(workgroup.z * part, values.k);
        end = min(first + part, values.k);
    }
    var sums: Sums;
    var current = 0u;
    put(0u, !A_TRANSPOSED, thread, fetch_a(row, first, thread, a_start));
    put(2u * OPERAND, B_TRANSPOSED, thread, fetch_b(column, first, thread, b_start));
    workgroupBarrier();
    for (var depth = first; depth < end; depth += tile_depth()) {
        // Past the end these are zeros, or the next part's, which nobody multiplies.
        let next_a = fetch_a(row, depth + tile_depth(), thread, a_start);
        let next_b = fetch_b(column, depth + tile_depth(), thread, b_start);
        multiply(&sums, current, local.xy);
        current = 1u - current;
        put(current * OPERAND, !A_TRANSPOSED, thread, next_a);
        put((2u + current) * OPERAND, B_TRANSPOSED, thread, next_b);
        workgroupBarrier();
    }
    let at = vec2<u32>(row + 4u * local.y, column + 4u * local.x);
    let start = workgroup.z * values.m * values.n;
    store_block(at.x, at.y, start, thread, mat4x4<f32>(sums[0], sums[2], sums[4], sums[6]));
    if HALVES > 1u {
        store_block(at.x, at.y + 64u, start, thread, mat4x4<f32>(sums[1], sums[3], sums[5], sums[7]));
        store_block(at.x + 64u, at.y, start, thread, mat4x4<f32>(sums[8], sums[10], sums[12], sums[14]));
        store_block(at.x + 64u, at.y + 64u, start, thread, mat4x4<f32>(sums[9], sums[11], sums[13], sums[15]));
    }
}
