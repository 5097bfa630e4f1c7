// Matrix product for GPUs: register-blocked tiles through workgroup memory.
//
//   C[m, n] = epilogue( sum_k A[m, k] B[k, n] )
//
// Shapes    A: [m, k], or [k, m] with A_TRANSPOSED; B: [k, n], or [n, k] with B_TRANSPOSED; C: [m, n]; row-major.
//           aux: bias [n] (EPILOGUE 1) or what forward saved [m, n] (EPILOGUE 2); pre: [m, n] with STORE_PRE.
//           Any sizes; edge tiles load zeros and store nothing outside.
// Epilogue  0: value;  1: activation(value + bias[column]), its argument kept in pre with STORE_PRE;
//           2: value * activation'(saved);  ACCUMULATE adds to what C holds.
// Dispatch  [ceil(n / TILE), ceil(m / TILE), 1] workgroups of 16 x 16; each invocation makes 4 x 4 elements.
// Every operand is read_write because A, B and C may lie in one arena buffer.

const TILE: u32 = 64u;
const DEPTH: u32 = 16u;
const SIDE: u32 = 16u; // invocations per side of a workgroup
const BLOCK: u32 = 4u; // TILE / SIDE elements per invocation and side

override A_TRANSPOSED: bool = false;
override B_TRANSPOSED: bool = false;
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
@group(0) @binding(0) var<storage, read_write> a: array<Real>;
@group(0) @binding(1) var<storage, read_write> b: array<Real>;
@group(0) @binding(2) var<storage, read_write> aux: array<Real>;
@group(0) @binding(3) var<storage, read_write> c: array<Out>;
@group(0) @binding(4) var<storage, read_write> pre: array<Real>;

// Both tiles are kept depth-first, [DEPTH][TILE], as vec4s along the tile's side.
var<workgroup> tile_a: array<vec4<f32>, 256>;
var<workgroup> tile_b: array<vec4<f32>, 256>;

fn load_a(row: u32, depth: u32) -> f32 {
    if row >= values.m || depth >= values.k {
        return 0.0;
    }
    return f32(a[select(row * values.k + depth, depth * values.m + row, A_TRANSPOSED)]);
}

fn load_b(depth: u32, column: u32) -> f32 {
    if column >= values.n || depth >= values.k {
        return 0.0;
    }
    return f32(b[select(depth * values.n + column, column * values.k + depth, B_TRANSPOSED)]);
}

fn store(row: u32, column: u32, sum: f32) {
    if row >= values.m || column >= values.n {
        return;
    }
    let at = row * values.n + column;
    var value = sum;
    if EPILOGUE == 1u {
        value += f32(aux[column]);
        if STORE_PRE {
            pre[at] = Real(value);
        }
        value = activation_forward(ACTIVATION, value);
    } else if EPILOGUE == 2u {
        value *= activation_gradient(ACTIVATION, f32(aux[at]));
    }
    if ACCUMULATE {
        value += f32(c[at]);
    }
    c[at] = Out(value);
}

@compute @workgroup_size(16, 16)
fn matmul_tile(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let row_0 = workgroup.y * TILE;
    let column_0 = workgroup.x * TILE;
    let thread = local.y * SIDE + local.x;
    // Which vec4 of the tiles this invocation loads. Along the contiguous side neighbouring invocations take
    // neighbouring addresses: along depth for a k-contiguous operand, along the tile's side otherwise.
    let by_depth = vec2<u32>(thread % DEPTH, thread / DEPTH);
    let by_side = vec2<u32>(thread / SIDE, thread % SIDE);
    let at_a = select(by_depth, by_side, A_TRANSPOSED);
    let at_b = select(by_side, by_depth, B_TRANSPOSED);

    var sums: array<vec4<f32>, 4>;
    for (var depth_0 = 0u; depth_0 < values.k; depth_0 += DEPTH) {
        let a_row = row_0 + at_a.y * BLOCK;
        let a_depth = depth_0 + at_a.x;
        tile_a[at_a.x * SIDE + at_a.y] = vec4<f32>(
            load_a(a_row, a_depth),
            load_a(a_row + 1u, a_depth),
            load_a(a_row + 2u, a_depth),
            load_a(a_row + 3u, a_depth),
        );
        let b_column = column_0 + at_b.y * BLOCK;
        let b_depth = depth_0 + at_b.x;
        tile_b[at_b.x * SIDE + at_b.y] = vec4<f32>(
            load_b(b_depth, b_column),
            load_b(b_depth, b_column + 1u),
            load_b(b_depth, b_column + 2u),
            load_b(b_depth, b_column + 3u),
        );
        workgroupBarrier();
        for (var depth = 0u; depth < DEPTH; depth++) {
            let rows = tile_a[depth * SIDE + local.y];
            let columns = tile_b[depth * SIDE + local.x];
            sums[0] += rows.x * columns;
            sums[1] += rows.y * columns;
            sums[2] += rows.z * columns;
            sums[3] += rows.w * columns;
        }
        workgroupBarrier();
    }
    let row = row_0 + local.y * BLOCK;
    let column = column_0 + local.x * BLOCK;
    for (var i = 0u; i < BLOCK; i++) {
        for (var j = 0u; j < BLOCK; j++) {
            store(row + i, column + j, sums[i][j]);
        }
    }
}
