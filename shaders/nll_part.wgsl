// What softmax_nll.wgsl, or with TANGENT loss_tangent.wgsl, has to know of each row's logits, gathered part after part of the
// classes where all of the logits are past a binding; after the last part the loss.
//
//   so_far[row]    = over the classes up to the end of this part: largest logit and its class, sum of exp(logit - largest),
//                    sum of (largest - logit), the target's logit, with TANGENT sum of exp(logit - largest) tangent
//   row_stats[row] = (loss, 1 if the first largest logit is the target's else 0) as in softmax_nll.wgsl, after the last part;
//                    rows >= valid: all zero;  not with TANGENT
//
// Sums of earlier parts are multiplied by exp(largest then - largest now).
//
// Shapes    logits, tangent: [rows, columns] of the part, rows = batch * POSITIONS; labels: [samples, POSITIONS]; indices:
//           [samples]; so_far: [rows, 2] vec4s; row_stats: [rows, 2].
// Dispatch  for each part, in order, ceil(rows / SUMS) workgroups of LANES * SUMS, folded: LANES invocations a row, four classes
//           a round, in two passes with a tree each.
// Source    Milakov & Gimelshein, "Online normalizer calculation for softmax", 2018.

override TANGENT: bool = false;
override SUMS: u32 = 1u;
override LANES: u32 = 64u;
override POSITIONS: u32 = 1u;

var<immediate> values: LossPart;
@group(0) @binding(0) var<storage, read_write> logits: array<Real>;
@group(0) @binding(1) var<storage, read_write> tangent: array<Real>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> indices: array<u32>;
@group(0) @binding(4) var<storage, read_write> so_far: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> row_stats: array<vec2<f32>>;

// Of column `c` of the row at `start`: how far below the largest, its exponential, and that times the tangent; nothing past the end.
fn below(start: u32, c: u32, largest: f32) -> vec3<f32> {
    if c >= values.columns { return vec3<f32>(); }
    let logit = f32(logits[start + c]);
    let weight = math_exp(logit - largest);
    var weighted = 0.0;
    if TANGENT { weighted = weight * f32(tangent[start + c]); }
    return vec3<f32>(largest - logit, weight, weighted);
}

// The larger of `so_far` and column `c`.
fn larger(start: u32, c: u32, best: TreeLargest) -> TreeLargest {
    if c < values.columns {
        let logit = f32(logits[start + c]);
        if logit > best.value { return TreeLargest(logit, values.first_class + c); }
    }
    return best;
}

@compute @workgroup_size(LANES * SUMS)
fn nll_part(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let lane = tree_in_row(local);
    let index = index_1d(workgroup, grid, 1u) * SUMS + local / LANES;
    // A workgroup past the end does the last row over, and stores nothing.
    let row = min(index, values.rows - 1u);
    let start = row * values.columns;
    var before = loss_part_row(so_far[2u * row], so_far[2u * row + 1u]);
    if values.first_class == 0u {
        before = LossPartRow(f32(logits[start]), 0.0, 0.0, 0.0, 0u, 0.0);
    }
    var largest = TreeLargest(before.largest, before.index);
    for (var c = lane.place; c < values.columns; c += 4u * LANES) {
        largest = larger(start, c, largest);
        largest = larger(start, c + LANES, largest);
        largest = larger(start, c + 2u * LANES, largest);
        largest = larger(start, c + 3u * LANES, largest);
    }
    largest = tree_largest(lane, largest);
    var sums = mat4x3<f32>();
    for (var c = lane.place; c < values.columns; c += 4u * LANES) {
        sums += mat4x3<f32>(
            below(start, c, largest.value),
            below(start, c + LANES, largest.value),
            below(start, c + 2u * LANES, largest.value),
            below(start, c + 3u * LANES, largest.value),
        );
    }
    let own = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    let total = tree_sum(lane, vec4<f32>(own, 0.0));
    if index >= values.rows || lane.place != 0u { return; }
    let valid = index < values.valid;
    var target_class = 0u;
    var wanted = before.wanted;
    if !TANGENT {
        let labelled = select(0u, index, valid);
        let sample = indices[values.first + labelled / POSITIONS];
        target_class = labels[target_place(sample, labelled % POSITIONS, POSITIONS)];
        let column = target_class - values.first_class; // of an earlier part: past all columns
        if column < values.columns { wanted = f32(logits[start + column]); }
    }
    let rise = largest.value - before.largest;
    let shrunk = math_exp(-rise);
    let sum = before.sum * shrunk + total.y;
    let distances = before.distances + f32(values.first_class) * rise + total.x;
    so_far[2u * row] = vec4<f32>(largest.value, sum, distances, wanted);
    so_far[2u * row + 1u] =
        vec4<f32>(bitcast<f32>(largest.index), before.tangents * shrunk + total.z, 0.0, 0.0);
    if TANGENT || values.first_class + values.columns < values.classes { return; }
    // Where nothing is smoothed a distance that overflows must not count either.
    let smoothed = select(0.0, values.smoothing / f32(values.classes) * distances, values.smoothing > 0.0);
    let loss = math_log(sum) + (1.0 - values.smoothing) * (largest.value - wanted) + smoothed;
    let correct = select(0.0, 1.0, largest.index == target_class);
    row_stats[index] = select(vec2<f32>(0.0), vec2<f32>(loss, correct), valid);
}
