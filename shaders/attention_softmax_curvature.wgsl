// The tangent of attention_softmax_gradient.wgsl, P o (G - D) with D = rowsum(P o G), along P' and G', a row for each query.
//
//   D'     = rowsum(P' o G + P o G')
//   output = P' o (G - D) + P o (G' - D')
//   CAUSAL, over the keys j <= i alone; those of the others are 0
//
// Shapes    probabilities P, upstream G, their tangents, output: [rows, length], rows = batch * heads * length.
// Dispatch  ceil(rows / SUMS) workgroups of LANES * SUMS, folded: LANES invocations a row, then a tree.

override SUMS: u32 = 1u;
override LANES: u32 = 64u;
override CAUSAL: bool = false;

var<immediate> values: AttentionRows;
@group(0) @binding(0) var<storage, read_write> probabilities: array<f32>;
@group(0) @binding(1) var<storage, read_write> upstream: array<f32>;
@group(0) @binding(2) var<storage, read_write> probabilities_tangent: array<f32>;
@group(0) @binding(3) var<storage, read_write> upstream_tangent: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(LANES * SUMS)
fn attention_softmax_curvature(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let lane = tree_in_row(local);
    let row = attention_row(index_1d(workgroup, grid, 1u) * SUMS + local / LANES);
    var own = vec2<f32>(); // D, D'
    for (var j = lane.place; j < row.seen; j += LANES) {
        let at = row.start + j;
        let p = probabilities[at];
        own += upstream[at] * vec2<f32>(p, probabilities_tangent[at]) + vec2<f32>(0.0, p * upstream_tangent[at]);
    }
    let means = tree_sum(lane, vec4<f32>(own, own));
    for (var j = lane.place; j < row.seen; j += LANES) {
        let at = row.start + j;
        let by_probability = probabilities_tangent[at] * (upstream[at] - means.x);
        output[at] = by_probability + probabilities[at] * (upstream_tangent[at] - means.y);
    }
    for (var j = row.seen + lane.place; j < row.length; j += LANES) {
        output[row.start + j] = 0.0;
    }
}
