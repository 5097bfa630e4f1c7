// How the derivative P of group_normalise.wgsl changes along a direction x': the tangent of P(g) at fixed g.
//
//   P(g)    = inv_std (g - mean(g) - xhat mean(g xhat));  xhat' = P(x'), inv_std' = -inv_std^2 mean(xhat x')
//   output += inv_std' / inv_std P(g) - inv_std (xhat' mean(g xhat) + xhat mean(g xhat'));  of an RMS norm without mean(g)
//
// Shapes    grad, xhat, x_tangent, xhat_tangent, output: [batch, pixels, stride]; inv_std: [batch, groups].
// Dispatch  ceil(batch * groups / SUMS) workgroups of LANES * SUMS, folded: LANES invocations a group of a sample, then a tree.

override SUMS: u32 = 1u;
override LANES: u32 = 64u;

var<immediate> values: NormShape;
@group(0) @binding(0) var<storage, read_write> grad: array<f32>;
@group(0) @binding(1) var<storage, read_write> xhat: array<f32>;
@group(0) @binding(2) var<storage, read_write> x_tangent: array<f32>;
@group(0) @binding(3) var<storage, read_write> xhat_tangent: array<f32>;
@group(0) @binding(4) var<storage, read_write> inv_std: array<f32>;
@group(0) @binding(5) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(LANES * SUMS)
fn group_normalise_curvature(
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
    var own = vec4<f32>(); // of g, g xhat, g xhat', xhat x'
    for (var p = start; p.pixel < end; p = norm_further(p, step, width)) {
        let at = norm_element(values, n, p.pixel, first + p.channel);
        own += vec4<f32>(grad[at] * vec3<f32>(centred, xhat[at], xhat_tangent[at]), xhat[at] * x_tangent[at]);
    }
    let means = tree_sum(lane, own) / f32(width * values.pixels);
    var scale = 0.0;
    if n < values.batch { scale = inv_std[index]; }
    for (var p = start; p.pixel < end; p = norm_further(p, step, width)) {
        let at = norm_element(values, n, p.pixel, first + p.channel);
        let projected = scale * (grad[at] - means.x - xhat[at] * means.y);
        output[at] += -scale * means.w * projected - scale * (xhat_tangent[at] * means.y + xhat[at] * means.z);
    }
}
