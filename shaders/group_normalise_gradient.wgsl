// The derivative of group_normalise.wgsl applied to `grad`; it is symmetric, so it serves forward and backward.
//
//   output (+)= inv_std (grad - mean(grad) - xhat mean(grad xhat)), means over the group; of an RMS norm without mean(grad)
//
// Shapes    grad, xhat (what group_normalise made), output: [batch, pixels, stride]; inv_std: [batch, groups].
// Dispatch  ceil(batch * groups / SUMS) workgroups of LANES * SUMS, folded: LANES invocations a group of a sample, then a tree.

override SUMS: u32 = 1u;
override LANES: u32 = 64u;
override ACCUMULATE: bool = false;

var<immediate> values: NormShape;
@group(0) @binding(0) var<storage, read_write> grad: array<Real>;
@group(0) @binding(1) var<storage, read_write> xhat: array<Real>;
@group(0) @binding(2) var<storage, read_write> inv_std: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<Real>;

@compute @workgroup_size(LANES * SUMS)
fn group_normalise_gradient(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let lane = tree_in_row(local);
    let index = index_1d(workgroup, grid, 1u) * SUMS + local / LANES;
    let n = index / values.groups;
    let end = select(0u, values.pixels, n < values.batch);
    let width = norm_group_channels(values);
    let first = (index - n * values.groups) * width;
    let start = norm_place(lane.place, width);
    let step = norm_place(LANES, width);
    let centred = f32(values.centred);
    var own = vec2<f32>(); // of grad, and of grad xhat
    for (var p = start; p.pixel < end; p = norm_further(p, step, width)) {
        let at = norm_element(values, n, p.pixel, first + p.channel);
        own += f32(grad[at]) * vec2<f32>(centred, f32(xhat[at]));
    }
    let means = tree_sum(lane, vec4<f32>(own, own)) / f32(width * values.pixels);
    var scale = 0.0;
    if n < values.batch { scale = inv_std[index]; }
    for (var p = start; p.pixel < end; p = norm_further(p, step, width)) {
        let at = norm_element(values, n, p.pixel, first + p.channel);
        var value = scale * (f32(grad[at]) - means.x - f32(xhat[at]) * means.y);
        if ACCUMULATE { value += f32(output[at]); }
        output[at] = Real(value);
    }
    if ACCUMULATE || first + width < values.channels { return; }
    for (var pixel = lane.place; pixel < end; pixel += LANES) {
        for (var c = values.channels; c < values.stride; c++) {
            output[norm_element(values, n, pixel, c)] = Real(0.0);
        }
    }
}
