// The gradient of a table of vectors: the sum over the rows that took each.
//
//   grad_weight[v, c] (+)= sum over the rows with token[row] = first + v of grad_output[row, c]
//
// Shapes    grad_output: [rows, features]; tokens: [rows]; grad_weight: [count, features], the part of [vocabulary, features]
//           from row `first` on, or all. ACCUMULATE adds to what is there.
// Dispatch  count * ceil(features / SUMS) workgroups of (SUMS, LANES), folded: every workgroup reads all tokens, and
//           gradients of its own alone; each of a column's LANES takes every LANES-th row, then a tree; so always the same bits,
//           without atomics.

override SUMS: u32 = 32u;
override LANES: u32 = 1u;
override ACCUMULATE: bool = false;

struct Shape {
    rows: u32,
    features: u32,
    vocabulary: u32,
    first: u32,
    count: u32,
}

var<immediate> values: Shape;
@group(0) @binding(0) var<storage, read_write> grad_output: array<Real>;
@group(0) @binding(1) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(2) var<storage, read_write> grad_weight: array<f32>;

@compute @workgroup_size(SUMS, LANES)
fn embedding_gradient(
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let blocks = (values.features + SUMS - 1u) / SUMS;
    let index = index_1d(workgroup, grid, 1u);
    let entry = index / blocks;
    let c = (index - entry * blocks) * SUMS + local.x;
    let is_there = entry < values.count && c < values.features;
    let end = select(0u, values.rows, is_there);
    var own = 0.0;
    for (var row = local.y; row < end; row += LANES) {
        if tokens[row] == values.first + entry { own += f32(grad_output[row * values.features + c]); }
    }
    var sum = tree_sum(tree_in_column(local, SUMS), vec4<f32>(own)).x;
    if is_there && local.y == 0u {
        let at = entry * values.features + c;
        if ACCUMULATE { sum += grad_weight[at]; }
        grad_weight[at] = sum;
    }
}
