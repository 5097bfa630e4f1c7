// The gradient of a table of vectors: the sum over the rows that took each.
//
//   grad_weight[v, c] (+)= sum over starts[v] <= k < starts[v + 1] of grad_output[order[k], c]
//
// Shapes    grad_output: [rows, features]; order: [rows], rows by their tokens, and starts: [vocabulary + 1], where each token's begin
//           (token_order.wgsl); grad_weight: [vocabulary, features]. ACCUMULATE adds to what is there.
// Dispatch  vocabulary * ceil(features / SUMS) workgroups of (SUMS, LANES), folded: each of a column's LANES takes every LANES-th of a
//           token's rows, then a tree; so always the same bits, without atomics.
// Source    Karpathy's llm.c, encoder_backward: tokens in buckets, each summed by one block.

override SUMS: u32 = 32u;
override LANES: u32 = 1u;
override ACCUMULATE: bool = false;

struct Shape {
    rows: u32,
    features: u32,
    vocabulary: u32,
}

var<immediate> values: Shape;
@group(0) @binding(0) var<storage, read_write> grad_output: array<Real>;
@group(0) @binding(1) var<storage, read_write> order: array<u32>;
@group(0) @binding(2) var<storage, read_write> starts: array<u32>;
@group(0) @binding(3) var<storage, read_write> grad_weight: array<f32>;

@compute @workgroup_size(SUMS, LANES)
fn embedding_gradient(
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let blocks = (values.features + SUMS - 1u) / SUMS;
    let index = index_1d(workgroup, grid, 1u);
    let token = index / blocks;
    let c = (index - token * blocks) * SUMS + local.x;
    let is_there = token < values.vocabulary && c < values.features;
    var place = 0u;
    var end = 0u;
    if is_there {
        place = starts[token] + local.y;
        end = min(starts[token + 1u], values.rows);
    }
    var own = 0.0;
    for (; place < end; place += LANES) {
        let row = min(order[place], values.rows - 1u);
        own += f32(grad_output[row * values.features + c]);
    }
    var sum = tree_sum(tree_in_column(local, SUMS), vec4<f32>(own)).x;
    if is_there && local.y == 0u {
        let at = token * values.features + c;
        if ACCUMULATE { sum += grad_weight[at]; }
        grad_weight[at] = sum;
    }
}
