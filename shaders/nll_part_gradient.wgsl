// The gradient of softmax_nll.wgsl, or with TANGENT what loss_tangent.wgsl makes, for a part of the classes, from what
// nll_part.wgsl has gathered of all of them.
//
//   p                 = exp(logits[row,c] - largest[row]) / sum[row]
//   output[row,c]     = (p - t[c]) gradient_scale,  t as in softmax_nll.wgsl
//   output[row,c]     = p (tangent[row,c] - mean[row]) gradient_scale,  mean = tangents[row] / sum[row], with TANGENT
//   rows >= valid: zero
//
// Shapes    logits, tangent, output: [rows, columns] of the part, rows = batch * POSITIONS; labels: [samples, POSITIONS]; indices:
//           [samples]; so_far: [rows, 2] vec4s. With IN_PLACE the gradient takes the place of the logits, and output is not written.
// Dispatch  ceil(rows / SUMS) workgroups of LANES * SUMS, folded: LANES invocations a row.

// The gradient is multiplied by the loss scale.
override SCALED: bool = false;
override IN_PLACE: bool = false;
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
@group(0) @binding(5) var<storage, read_write> output: array<Real>;
@group(0) @binding(6) var<storage, read> scaling: ScalingState;

@compute @workgroup_size(LANES * SUMS)
fn nll_part_gradient(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let index = index_1d(workgroup, grid, 1u) * SUMS + local / LANES;
    if index >= values.rows { return; }
    let row = loss_part_row(so_far[2u * index], so_far[2u * index + 1u]);
    let valid = index < values.valid;
    var scale = select(0.0, values.gradient_scale, valid);
    if SCALED { scale *= scaling.loss_scale; }
    var target_class = 0u;
    if !TANGENT {
        let labelled = select(0u, index, valid);
        let sample = indices[values.first + labelled / POSITIONS];
        target_class = labels[target_place(sample, labelled % POSITIONS, POSITIONS)];
    }
    let mean = row.tangents / row.sum;
    let others = values.smoothing / f32(values.classes);
    let start = index * values.columns;
    for (var c = local % LANES; c < values.columns; c += LANES) {
        let probability = math_exp(f32(logits[start + c]) - row.largest) / row.sum;
        var result = 0.0;
        if TANGENT {
            result = probability * (f32(tangent[start + c]) - mean) * scale;
        } else {
            let wanted = select(0.0, 1.0 - values.smoothing, values.first_class + c == target_class) + others;
            result = (probability - wanted) * scale;
        }
        if IN_PLACE {
            logits[start + c] = Real(result);
        } else {
            output[start + c] = Real(result);
        }
    }
}
