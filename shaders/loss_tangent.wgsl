// The Hessian of the mean loss by the outputs, times a tangent of the outputs, a row at a time.
//
//   NLL      output[row,c] = p_c (t_c - sum_k p_k t_k) / valid,   p = softmax(logits[row]), t = tangent[row]
//   not NLL  output[row,c] = 2 t_c / (valid * classes)            mean squared error
//   rows >= valid: zero
//
// Shapes    logits, tangent, output: [batch, classes].
// Dispatch  grid_1d(batch, WORKGROUP_SIZE), folded; one invocation a row.

override WORKGROUP_SIZE: u32 = 8u;
override NLL: bool = true;

struct Loss {
    first: u32,
    valid: u32,
    batch: u32,
    classes: u32,
    gradient_scale: f32,
    smoothing: f32,
}

var<immediate> values: Loss;
@group(0) @binding(0) var<storage, read_write> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> tangent: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn loss_tangent(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let row = index_1d(invocation, grid, WORKGROUP_SIZE);
    if row >= values.batch {
        return;
    }
    let start = row * values.classes;
    let scale = select(0.0, values.gradient_scale, row < values.valid);
    if !NLL {
        for (var c = 0u; c < values.classes; c++) {
            output[start + c] = 2.0 * scale * tangent[start + c];
        }
        return;
    }
    var largest = logits[start];
    for (var c = 1u; c < values.classes; c++) {
        let logit = logits[start + c];
        largest = select(largest, logit, logit > largest);
    }
    var sum = 0.0;
    var weighted = 0.0;
    for (var c = 0u; c < values.classes; c++) {
        let weight = math_exp(logits[start + c] - largest);
        sum += weight;
        weighted += weight * tangent[start + c];
    }
    let mean = weighted / sum;
    for (var c = 0u; c < values.classes; c++) {
        let probability = math_exp(logits[start + c] - largest) / sum;
        output[start + c] = probability * (tangent[start + c] - mean) * scale;
    }
}
