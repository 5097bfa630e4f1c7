// Mean squared error against one-hot targets or given ones, and its gradient, a row at a time: a sample, or with POSITIONS one of
// so many positions of a sample.
//
//   loss[row]           = mean_c (outputs[row, c] - target[row, c])^2
//   grad_outputs[row,c] = 2 (outputs[row, c] - target[row, c]) / (valid * features)
//   row_stats[row]      = (loss, 1 if the first largest output is the label's else 0);  rows >= valid: all zero
//   Without ONE_HOT there is no label, and no answer is right or wrong: row_stats[row] = (loss, 0).
//
// Shapes    outputs, grad_outputs: [rows, features], rows = batch * POSITIONS; indices: [samples]; labels: [samples, POSITIONS],
//           or with TARGET_WINDOWS one text, and target[row, c] = [c = label], or without ONE_HOT the targets' bits: [samples, POSITIONS, features];
//           row_stats: [rows, 2].
// Dispatch  ceil(rows / SUMS) workgroups of LANES * SUMS, folded: LANES invocations a row, then trees.
// Source    torch.nn.MSELoss with reduction "mean": over batch and features.

// The gradient, but not the loss, is multiplied by the loss scale.
override SCALED: bool = false;
override SUMS: u32 = 1u;
override LANES: u32 = 64u;
override ONE_HOT: bool = true;
override POSITIONS: u32 = 1u;

struct Loss {
    first: u32,
    valid: u32,
    rows: u32,
    features: u32,
    gradient_scale: f32,
    smoothing: f32,
}

var<immediate> values: Loss;
@group(0) @binding(0) var<storage, read_write> outputs: array<Real>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> grad_outputs: array<Real>;
@group(0) @binding(4) var<storage, read_write> row_stats: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read> scaling: ScalingState;

@compute @workgroup_size(LANES * SUMS)
fn mse(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let lane = tree_in_row(local);
    let row = index_1d(workgroup, grid, 1u) * SUMS + local / LANES;
    let is_there = row < values.rows;
    let start = select(0u, row, is_there) * values.features;
    let end = select(0u, values.features, is_there);
    let valid = row < values.valid;
    let labelled = select(0u, row, valid);
    let target_row = target_place(indices[values.first + labelled / POSITIONS], labelled % POSITIONS, POSITIONS);
    var label = 0u;
    if ONE_HOT { label = labels[target_row]; }
    var scale = select(0.0, values.gradient_scale, valid);
    if SCALED { scale *= scaling.loss_scale; }
    var own = 0.0;
    var largest = TreeLargest(f32(outputs[start]), 0u);
    for (var c = lane.place; c < end; c += LANES) {
        let output = f32(outputs[start + c]);
        if output > largest.value { largest = TreeLargest(output, c); }
        var wanted = select(0.0, 1.0, c == label);
        if !ONE_HOT {
            wanted = bitcast<f32>(labels[target_row * values.features + c]);
        }
        let difference = output - wanted;
        own += difference * difference;
        grad_outputs[start + c] = Real(2.0 * difference * scale);
    }
    let sum = tree_sum(lane, vec4<f32>(own)).x;
    largest = tree_largest(lane, largest);
    if is_there && lane.place == 0u {
        let stats = vec2<f32>(sum / f32(values.features), select(0.0, 1.0, ONE_HOT && largest.index == label));
        row_stats[row] = select(vec2<f32>(0.0), stats, valid);
    }
}
