// Softmax, negative log likelihood of the target, and the gradient of their mean, a row at a time: a sample, or with POSITIONS
// one of so many positions of a sample.
//
//   t[c]               = (1 - smoothing) [c = target] + smoothing / classes
//   loss[row]          = log(sum_c exp(logits[row, c] - max)) + max - sum_c t[c] logits[row, c]
//   grad_logits[row,c] = (softmax(logits[row])[c] - t[c]) gradient_scale, which is 1 over the rows of the mean
//   row_stats[row]     = (loss, 1 if the first largest logit is the target's else 0);  rows >= valid: all zero
//
// Shapes    logits, grad_logits: [rows, classes], rows = batch * POSITIONS; labels: [samples, POSITIONS], or with TARGET_WINDOWS
//           one text; indices: [samples]; row_stats: [rows, 2]. With IN_PLACE the gradient takes the place of the logits, and
//           without GRADIENT there is none; grad_logits is not written then.
// Dispatch  ceil(rows / SUMS) workgroups of LANES * SUMS, folded: LANES invocations a row, four classes a round, in two passes
//           with a tree each and one that writes the gradient.
// Source    label smoothing as in torch.nn.CrossEntropyLoss (Szegedy et al., CVPR 2016).

// The gradient, but not the loss, is multiplied by the loss scale.
override SCALED: bool = false;
override SUMS: u32 = 1u;
override LANES: u32 = 64u;
override POSITIONS: u32 = 1u;
override GRADIENT: bool = true;
override IN_PLACE: bool = false;

struct Loss {
    first: u32,
    valid: u32,
    rows: u32,
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

// How far class `c` of the row at `start` is below the largest logit, and its exponential; nothing past the row's end.
fn below(start: u32, c: u32, largest: f32) -> vec2<f32> {
    if c >= values.classes { return vec2<f32>(); }
    let logit = f32(logits[start + c]);
    return vec2<f32>(largest - logit, math_exp(logit - largest));
}

// The larger of `so_far` and class `c`.
fn larger(start: u32, c: u32, so_far: TreeLargest) -> TreeLargest {
    if c < values.classes {
        let logit = f32(logits[start + c]);
        if logit > so_far.value { return TreeLargest(logit, c); }
    }
    return so_far;
}

// What the gradient of a row follows from.
struct Row {
    start: u32,
    target_class: u32,
    largest: f32,
    sum: f32,
    scale: f32,
}

fn store_gradient(row: Row, c: u32) {
    if c >= values.classes { return; }
    let probability = math_exp(f32(logits[row.start + c]) - row.largest) / row.sum;
    let others = values.smoothing / f32(values.classes);
    let wanted = select(0.0, 1.0 - values.smoothing, c == row.target_class) + others;
    let gradient = Real((probability - wanted) * row.scale);
    if IN_PLACE {
        logits[row.start + c] = gradient;
    } else {
        grad_logits[row.start + c] = gradient;
    }
}

@compute @workgroup_size(LANES * SUMS)
fn softmax_nll(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let lane = tree_in_row(local);
    let index = index_1d(workgroup, grid, 1u) * SUMS + local / LANES;
    // A workgroup past the end does the last row over, and stores nothing.
    let start = min(index, values.rows - 1u) * values.classes;
    var largest = TreeLargest(f32(logits[start]), 0u);
    for (var c = lane.place; c < values.classes; c += 4u * LANES) {
        largest = larger(start, c, largest);
        largest = larger(start, c + LANES, largest);
        largest = larger(start, c + 2u * LANES, largest);
        largest = larger(start, c + 3u * LANES, largest);
    }
    largest = tree_largest(lane, largest);
    var sums = mat4x2<f32>();
    for (var c = lane.place; c < values.classes; c += 4u * LANES) {
        sums += mat4x2<f32>(
            below(start, c, largest.value),
            below(start, c + LANES, largest.value),
            below(start, c + 2u * LANES, largest.value),
            below(start, c + 3u * LANES, largest.value),
        );
    }
    let own = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    let valid = index < values.valid;
    let labelled = select(0u, index, valid);
    let sample = indices[values.first + labelled / POSITIONS];
    let target_class = labels[target_place(sample, labelled % POSITIONS, POSITIONS)];
    let to_target = largest.value - f32(logits[start + target_class]);
    let total = tree_sum(lane, vec4<f32>(own, own));
    // All have read the logits of the row before any of them is overwritten.
    if IN_PLACE && LANES > 1u { storageBarrier(); }
    if index >= values.rows { return; }
    var scale = select(0.0, values.gradient_scale, valid);
    if SCALED { scale *= scaling.loss_scale; }
    let row = Row(start, target_class, largest.value, total.y, scale);
    if GRADIENT {
        for (var c = lane.place; c < values.classes; c += 4u * LANES) {
            store_gradient(row, c);
            store_gradient(row, c + LANES);
            store_gradient(row, c + 2u * LANES);
            store_gradient(row, c + 3u * LANES);
        }
    }
    if lane.place != 0u { return; }
    // Where nothing is smoothed a distance that overflows must not count either.
    let distances = values.smoothing / f32(values.classes) * total.x;
    let smoothed = select(0.0, distances, values.smoothing > 0.0);
    let loss = math_log(total.y) + (1.0 - values.smoothing) * to_target + smoothed;
    let correct = select(0.0, 1.0, largest.index == target_class);
    row_stats[index] = select(vec2<f32>(0.0), vec2<f32>(loss, correct), valid);
}
