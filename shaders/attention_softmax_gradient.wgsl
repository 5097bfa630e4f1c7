// The derivative of attention_softmax.wgsl applied to `upstream`, a row for each query; it is symmetric, so it serves backward and
// forward.
//
//   output[i, j] = probabilities[i, j] (upstream[i, j] - sum_j probabilities[i, j] upstream[i, j])
//   CAUSAL, over the keys j <= i alone; those of the others are 0, whatever `upstream` has there
//
// Shapes    probabilities, upstream, output: [rows, length], rows = batch * heads * length.
// Dispatch  ceil(rows / SUMS) workgroups of LANES * SUMS, folded: LANES invocations a row, then a tree.

override SUMS: u32 = 1u;
override LANES: u32 = 64u;
override CAUSAL: bool = false;

var<immediate> values: AttentionRows;
@group(0) @binding(0) var<storage, read_write> probabilities: array<Real>;
@group(0) @binding(1) var<storage, read_write> upstream: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<Real>;

@compute @workgroup_size(LANES * SUMS)
fn attention_softmax_gradient(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let lane = tree_in_row(local);
    let row = attention_row(index_1d(workgroup, grid, 1u) * SUMS + local / LANES);
    var own = 0.0;
    for (var j = lane.place; j < row.seen; j += LANES) {
        own += f32(probabilities[row.start + j]) * upstream[row.start + j];
    }
    let mean = tree_sum(lane, vec4<f32>(own)).x;
    for (var j = lane.place; j < row.seen; j += LANES) {
        let at = row.start + j;
        output[at] = Real(f32(probabilities[at]) * (upstream[at] - mean));
    }
    for (var j = row.seen + lane.place; j < row.length; j += LANES) {
        output[row.start + j] = Real(0.0);
    }
}
