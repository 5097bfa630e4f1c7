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
// Dispatch  [ceil(n / TILE), ceil(m / TILE), Z] workgroups of 16 x 16; TILE is 64 BLOCK_HALVES, depth 16 / BLOCK_HALVES.
//
// The tiles are those of shared/block.wgsl.
// Global reads are vec4s where the contiguous extent is a multiple of 4: whole 32-byte sectors along depth, 256 or 512
// bytes across it. Stores: 16 neighbours write 256 contiguous bytes of a row.
// Every operand is read_write because A, B and C may lie in one arena buffer.

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
        let across = 4u * (thread % block_quads());
        return a_vector(depth + thread / block_quads(), values.k, row + across, values.m, start);
    }
    let quads = block_depth() / 4u;
    return a_vector(row + thread / quads, values.m, depth + 4u * (thread % quads), values.k, start);
}

fn fetch_b(column: u32, depth: u32, thread: u32, start: u32) -> vec4<f32> {
    if !B_TRANSPOSED {
        let across = 4u * (thread % block_quads());
        return b_vector(depth + thread / block_quads(), values.k, column + across, values.n, start);
    }
    let quads = block_depth() / 4u;
    return b_vector(column + thread / quads, values.n, depth + 4u * (thread % quads), values.k, start);
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
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let row = workgroup.y * 64u * BLOCK_HALVES;
    let column = workgroup.x * 64u * BLOCK_HALVES;
    let thread = local.y * BLOCK_SIDE + local.x;
    var first = 0u;
    var end = values.k;
    var a_start = 0u;
    var b_start = 0u;
    if BATCHED {
        a_start = workgroup.z * values.m * values.k;
        b_start = workgroup.z * values.k * values.n;
    } else {
        let part = part_of_sum(workgroup.z, grid.z, values.k, block_depth());
        first = part.x;
        end = part.y;
    }
    var sums: BlockSums;
    var current = 0u;
    block_put(0u, !A_TRANSPOSED, thread, fetch_a(row, first, thread, a_start));
    block_put(2u * BLOCK_OPERAND, B_TRANSPOSED, thread, fetch_b(column, first, thread, b_start));
    workgroupBarrier();
    for (var depth = first; depth < end; depth += block_depth()) {
        // Past the end these are zeros, or the next part's, which nobody multiplies.
        let next_a = fetch_a(row, depth + block_depth(), thread, a_start);
        let next_b = fetch_b(column, depth + block_depth(), thread, b_start);
        block_multiply(&sums, current, local.xy);
        current = 1u - current;
        block_put(current * BLOCK_OPERAND, !A_TRANSPOSED, thread, next_a);
        block_put((2u + current) * BLOCK_OPERAND, B_TRANSPOSED, thread, next_b);
        workgroupBarrier();
    }
    let at = vec2<u32>(row + 4u * local.y, column + 4u * local.x);
    let start = workgroup.z * values.m * values.n;
    store_block(at.x, at.y, start, thread, mat4x4<f32>(sums[0], sums[2], sums[4], sums[6]));
    if BLOCK_HALVES > 1u {
        store_block(at.x, at.y + 64u, start, thread, mat4x4<f32>(sums[1], sums[3], sums[5], sums[7]));
        store_block(at.x + 64u, at.y, start, thread, mat4x4<f32>(sums[8], sums[10], sums[12], sums[14]));
        store_block(at.x + 64u, at.y + 64u, start, thread, mat4x4<f32>(sums[9], sums[11], sums[13], sums[15]));
    }
}
