// The Brier score of a softmax and its gradient.
//
//   p              = softmax(outputs[row])
//   loss[row]      = sum_c (p[c] - t[c])^2,   t[c] = 1 where c is the label, else 0
//   gradient[row,j] = 2 p[j] ((p[j] - t[j]) - sum_c p[c] (p[c] - t[c])) * gradient_scale
//   row_stats[row] = (loss, 1 if the first largest output is the label's else 0);   rows >= valid: all zero
//
// Shapes    outputs, gradient: [batch, width]; row_stats: [batch, 2]; labels: [samples]; indices: [positions].
// Dispatch  one invocation a row, in workgroups of 64, folded over x and y.
// Source    Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 1950.

struct Batch {
    first: u32,
    valid: u32,
    batch: u32,
    width: u32,
    gradient_scale: f32,
}

var<immediate> values: Batch;

@group(0) @binding(0) var<storage, read_write> outputs: array<f32>;
@group(0) @binding(1) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(2) var<storage, read_write> row_stats: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> labels: array<u32>;
@group(0) @binding(4) var<storage, read> indices: array<u32>;

@compute @workgroup_size(64)
fn brier(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let row = invocation.y * grid.x * 64u + invocation.x;
    if row >= values.batch {
        return; // the last workgroup runs past the end
    }
    let start = row * values.width;
    let valid = row < values.valid;
    let label = labels[indices[values.first + select(0u, row, valid)]];
    var largest = 0u;
    for (var c = 1u; c < values.width; c++) {
        if outputs[start + c] > outputs[start + largest] { largest = c; }
    }
    var total = 0.0;
    for (var c = 0u; c < values.width; c++) { total += exp(outputs[start + c] - outputs[start + largest]); }
    var loss = 0.0;
    var mean = 0.0; // sum of p (p - t)
    for (var c = 0u; c < values.width; c++) {
        let p = exp(outputs[start + c] - outputs[start + largest]) / total;
        let difference = p - select(0.0, 1.0, c == label);
        loss += difference * difference;
        mean += p * difference;
    }
    let scale = select(0.0, values.gradient_scale, valid);
    for (var c = 0u; c < values.width; c++) {
        let p = exp(outputs[start + c] - outputs[start + largest]) / total;
        let difference = p - select(0.0, 1.0, c == label);
        gradient[start + c] = 2.0 * p * (difference - mean) * scale;
    }
    let stats = vec2<f32>(loss, select(0.0, 1.0, largest == label));
    row_stats[row] = select(vec2<f32>(0.0), stats, valid);
}
