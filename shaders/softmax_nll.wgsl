// Softmax, negative log likelihood of the target, and the gradient of their mean, a row at a time.
//
//   t[c]               = (1 - smoothing) [c = target] + smoothing / classes
//   loss[row]          = log(sum_c exp(logits[row, c] - max)) + max - sum_c t[c] logits[row, c]
//   grad_logits[row,c] = (softmax(logits[row])[c] - t[c]) gradient_scale, which is 1 over the samples of the mean
//   row_stats[row]     = (loss, 1 if the first largest logit is the target's else 0);  rows >= valid: all zero
//
// Shapes    logits, grad_logits: [batch, classes]; labels: [samples]; indices: [samples]; row_stats: [batch, 2].
// Dispatch  grid_1d(batch, WORKGROUP_SIZE), folded; one invocation a row, three passes over its classes.
// Source    label smoothing as in torch.nn.CrossEntropyLoss (Szegedy et al., CVPR 2016).

// The gradient, but not the loss, is multiplied by the loss scale.
override SCALED: bool = false;
override WORKGROUP_SIZE: u32 = 8u; // small: a batch of 128 is 16 workgroups, enough for the threads of a CPU driver

struct Loss {
    first: u32,
    valid: u32,
    batch: u32,
    classes: u32,
    gradient_scale: f32,
    smoothing: f32,
}

var<immediate> values: Loss;
@group(0) @binding(0) var<storage, read_write> logits: array<Real>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> grad_logits: array<Real>;
@group(0) @binding(4) var<storage, read_write> row_stats: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read> scaling: ScalingState;

@compute @workgroup_size(WORKGROUP_SIZE)
fn softmax_nll(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let row = index_1d(invocation, grid, WORKGROUP_SIZE);
    if row >= values.batch {
        return;
    }
    let start = row * values.classes;
    let valid = row < values.valid;
    var largest = f32(logits[start]);
    var predicted = 0u;
    for (var c = 1u; c < values.classes; c++) {
        let logit = f32(logits[start + c]);
        if logit > largest {
            largest = logit;
            predicted = c;
        }
    }
    var sum = 0.0;
    for (var c = 0u; c < values.classes; c++) {
        sum += math_exp(f32(logits[start + c]) - largest);
    }
    let sample_row = select(0u, row, valid);
    let target_class = labels[indices[values.first + sample_row]];
    var scale = select(0.0, values.gradient_scale, valid);
    if SCALED { scale *= scaling.loss_scale; }
    let others = values.smoothing / f32(values.classes);
    var distances = 0.0; // of the classes' logits to the largest
    for (var c = 0u; c < values.classes; c++) {
        let logit = f32(logits[start + c]);
        distances += largest - logit;
        let probability = math_exp(logit - largest) / sum;
        let wanted = select(0.0, 1.0 - values.smoothing, c == target_class) + others;
        grad_logits[start + c] = Real((probability - wanted) * scale);
    }
    // Where nothing is smoothed a distance that overflows must not count either.
    let smoothed = select(0.0, others * distances, values.smoothing > 0.0);
    let loss = math_log(sum) + (1.0 - values.smoothing) * (largest - f32(logits[start + target_class])) + smoothed;
    let correct = select(0.0, 1.0, predicted == target_class);
    row_stats[row] = select(vec2<f32>(0.0), vec2<f32>(loss, correct), valid);
}
