// Softmax of attention's scores, a row for each query.
//
//   probabilities[i, j] = exp(scores[i, j] - largest of row i) / sum_j exp(scores[i, j] - largest of row i)
//   CAUSAL, over the keys j <= i alone; those of the others are 0, whatever their scores are
//
// Shapes    scores, probabilities: [rows, length], rows = batch * heads * length.
// Dispatch  ceil(rows / SUMS) workgroups of LANES * SUMS, folded: LANES invocations a row, then a tree for each pass.

override SUMS: u32 = 1u;
override LANES: u32 = 64u;
override CAUSAL: bool = false;

var<immediate> values: AttentionRows;
@group(0) @binding(0) var<storage, read_write> scores: array<f32>;
@group(0) @binding(1) var<storage, read_write> probabilities: array<Real>;

@compute @workgroup_size(LANES * SUMS)
fn attention_softmax(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let lane = tree_in_row(local);
    let row = attention_row(index_1d(workgroup, grid, 1u) * SUMS + local / LANES);
    // The first key is seen by every query. One that is no number makes the whole row none.
    var largest = TreeLargest(scores[row.start], 0u);
    for (var j = lane.place; j < row.seen; j += LANES) {
        let score = scores[row.start + j];
        if score > largest.value { largest = TreeLargest(score, j); }
    }
    largest = tree_largest(lane, largest);
    var own = 0.0;
    for (var j = lane.place; j < row.seen; j += LANES) {
        own += math_exp(scores[row.start + j] - largest.value);
    }
    let sum = tree_sum(lane, vec4<f32>(own)).x;
    for (var j = lane.place; j < row.seen; j += LANES) {
        probabilities[row.start + j] = Real(math_exp(scores[row.start + j] - largest.value) / sum);
    }
    for (var j = row.seen + lane.place; j < row.length; j += LANES) {
        probabilities[row.start + j] = Real(0.0);
    }
}
