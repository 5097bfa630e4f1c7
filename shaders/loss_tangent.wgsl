// The Hessian of the mean loss by the outputs, times a tangent of the outputs, a row at a time.
//
//   NLL      output[row,c] = p_c (t_c - sum_k p_k t_k) / valid,   p = softmax(logits[row]), t = tangent[row]
//   not NLL  output[row,c] = 2 t_c / (valid * classes)            mean squared error
//   rows >= valid: zero
//
// Shapes    logits, tangent, output: [rows, classes].
// Dispatch  ceil(rows / SUMS) workgroups of LANES * SUMS, folded: LANES invocations a row, in two passes with a tree each and
//           one that writes.

override SUMS: u32 = 1u;
override LANES: u32 = 64u;
override NLL: bool = true;

struct Loss {
    first: u32,
    valid: u32,
    rows: u32,
    classes: u32,
    gradient_scale: f32,
    smoothing: f32,
}

var<immediate> values: Loss;
@group(0) @binding(0) var<storage, read_write> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> tangent: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(LANES * SUMS)
fn loss_tangent(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let lane = tree_in_row(local);
    let row = index_1d(workgroup, grid, 1u) * SUMS + local / LANES;
    let is_there = row < values.rows;
    let start = select(0u, row, is_there) * values.classes;
    let end = select(0u, values.classes, is_there);
    let scale = select(0.0, values.gradient_scale, row < values.valid);
    if !NLL {
        for (var c = lane.place; c < end; c += LANES) {
            output[start + c] = 2.0 * scale * tangent[start + c];
        }
        return;
    }
    var largest = TreeLargest(logits[start], 0u);
    for (var c = lane.place; c < end; c += LANES) {
        largest = tree_larger(largest, TreeLargest(logits[start + c], c));
    }
    largest = tree_largest(lane, largest);
    var own = vec2<f32>(); // of the exponentials, and of those times the tangent
    for (var c = lane.place; c < end; c += LANES) {
        own += math_exp(logits[start + c] - largest.value) * vec2<f32>(1.0, tangent[start + c]);
    }
    let sums = tree_sum(lane, vec4<f32>(own, own));
    let mean = sums.y / sums.x;
    for (var c = lane.place; c < end; c += LANES) {
        let probability = math_exp(logits[start + c] - largest.value) / sums.x;
        output[start + c] = probability * (tangent[start + c] - mean) * scale;
    }
}
