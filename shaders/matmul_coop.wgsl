// Matrix product by cooperative matrices (tensor cores), whose operands are f16 or f32 and whose sums are f32.
//
//   C[m, n] = epilogue( sum_k A[m, k] B[k, n] )
//   with Z workgroups in z, C[z, m, n] = the z-th of Z parts of that sum, which split_sum.wgsl adds up
//
// Shapes    A: [m, k], or [k, m] with COOP_A_ACROSS; B: [k, n], with COOP_B_ACROSS, or [n, k]; C: [m, n]; row-major.
//           aux: bias [n] (EPILOGUE 1) or what forward saved [m, n] (EPILOGUE 2); pre: [m, n] with STORE_PRE.
//           Any sizes; edge tiles load zeros and store nothing outside. A and B are bound as whole vec4s.
// Epilogue  as in matmul_block.wgsl; parts take none.
// Dispatch  [ceil(n / COOP_TILE_COLUMNS), ceil(m / COOP_TILE_ROWS), parts] workgroups of COOP_THREADS.
// Every operand is read_write because A, B and C may lie in one arena buffer.
enable wgpu_cooperative_matrix;

// The contiguous extent of the operand is a multiple of 4, so that quads line up.
override A_ALIGNED: bool = false;
override B_ALIGNED: bool = false;
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
@group(0) @binding(2) var<storage, read_write> aux: array<Real>;
@group(0) @binding(3) var<storage, read_write> c: array<Out>;
@group(0) @binding(4) var<storage, read_write> pre: array<Real>;

fn a_element(at: u32, there: bool) -> Real {
    if there { return a[at / 4u][at % 4u]; }
    return Real(0.0);
}

fn b_element(at: u32, there: bool) -> Real {
    if there { return b[at / 4u][at % 4u]; }
    return Real(0.0);
}

// Elements first .. first + 3 of a line of A as it lies in memory; zero outside.
fn a_quad(line: u32, first: u32) -> vec4<Real> {
    let lines = select(values.m, values.k, COOP_A_ACROSS);
    let width = select(values.k, values.m, COOP_A_ACROSS);
    if line >= lines || first >= width { return vec4<Real>(); }
    let at = line * width + first;
    if A_ALIGNED { return a[at / 4u]; }
    return vec4<Real>(a_element(at, true), a_element(at + 1u, first + 1u < width),
                      a_element(at + 2u, first + 2u < width), a_element(at + 3u, first + 3u < width));
}

fn b_quad(line: u32, first: u32) -> vec4<Real> {
    let lines = select(values.n, values.k, COOP_B_ACROSS);
    let width = select(values.k, values.n, COOP_B_ACROSS);
    if line >= lines || first >= width { return vec4<Real>(); }
    let at = line * width + first;
    if B_ALIGNED { return b[at / 4u]; }
    return vec4<Real>(b_element(at, true), b_element(at + 1u, first + 1u < width),
                      b_element(at + 2u, first + 2u < width), b_element(at + 3u, first + 3u < width));
}

// Fills both tiles with the COOP_DEPTH terms from depth_0 on.
fn stage(thread: u32, row_0: u32, column_0: u32, depth_0: u32) {
    let a_0 = select(vec2<u32>(row_0, depth_0), vec2<u32>(depth_0, row_0), COOP_A_ACROSS);
    for (var i = thread; i < coop_quads(COOP_TILE_ROWS); i += COOP_THREADS) {
        let slot = coop_slot(i, COOP_TILE_ROWS, COOP_A_ACROSS);
        coop_put_a(slot, a_quad(a_0.x + slot.x, a_0.y + 4u * slot.y));
    }
    let b_0 = select(vec2<u32>(column_0, depth_0), vec2<u32>(depth_0, column_0), COOP_B_ACROSS);
    for (var i = thread; i < coop_quads(COOP_TILE_COLUMNS); i += COOP_THREADS) {
        let slot = coop_slot(i, COOP_TILE_COLUMNS, COOP_B_ACROSS);
        coop_put_b(slot, b_quad(b_0.x + slot.x, b_0.y + 4u * slot.y));
    }
}

fn store(start: u32, row: u32, column: u32, sum: f32) {
    if row < values.m && column < values.n { epilogue_store(start + row * values.n + column, column, sum); }
}

@compute @workgroup_size(COOP_THREADS)
fn matmul_coop(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let row_0 = workgroup.y * COOP_TILE_ROWS;
    let column_0 = workgroup.x * COOP_TILE_COLUMNS;
    let part = part_of_sum(workgroup.z, grid.z, values.k, COOP_DEPTH);
    let start = workgroup.z * values.m * values.n;
    for (var first = 0u; first < COOP_SHARES; first += subgroups) {
        let share = coop_share(first, subgroup);
        var sums: CoopSums;
        for (var depth_0 = part.x; depth_0 < part.y; depth_0 += COOP_DEPTH) {
            stage(thread, row_0, column_0, depth_0);
            workgroupBarrier();
            coop_multiply(share, &sums);
            workgroupBarrier();
        }
        for (var fragment = 0u; fragment < COOP_FRAGMENTS; fragment++) {
            coop_spill(first, subgroup, fragment, &sums);
            workgroupBarrier();
            for (var i = thread; i < coop_spilt(first, subgroups); i += COOP_THREADS) {
                let at = coop_place(first, fragment, i);
                store(start, row_0 + at.x, column_0 + at.y, coop_c[i]);
            }
            workgroupBarrier();
        }
    }
}
