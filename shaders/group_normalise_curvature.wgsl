// How the derivative P of group_normalise.wgsl changes along a direction x': the tangent of P(g) at fixed g.
//
//   P(g)    = inv_std (g - mean(g) - xhat mean(g xhat));  xhat' = P(x'), inv_std' = -inv_std^2 mean(xhat x')
//   output += inv_std' / inv_std P(g) - inv_std (xhat' mean(g xhat) + xhat mean(g xhat'))
//
// Shapes    grad, xhat, x_tangent, xhat_tangent, output: [batch, pixels, stride]; inv_std: [batch, groups].
// Dispatch  grid_1d(batch * groups, WORKGROUP_SIZE), folded; one invocation a group of a sample.

override WORKGROUP_SIZE: u32 = 8u;

var<immediate> values: NormShape;
@group(0) @binding(0) var<storage, read_write> grad: array<f32>;
@group(0) @binding(1) var<storage, read_write> xhat: array<f32>;
@group(0) @binding(2) var<storage, read_write> x_tangent: array<f32>;
@group(0) @binding(3) var<storage, read_write> xhat_tangent: array<f32>;
@group(0) @binding(4) var<storage, read_write> inv_std: array<f32>;
@group(0) @binding(5) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn group_normalise_curvature(
    @builtin(global_invocation_id) invocation: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let n = index / values.groups;
    if n >= values.batch { return; }
    let width = norm_group_channels(values);
    let first = (index - n * values.groups) * width;
    let scale = inv_std[index];
    var sum = 0.0;
    var products = 0.0; // g xhat
    var turned = 0.0; // g xhat'
    var stretched = 0.0; // xhat x'
    for (var pixel = 0u; pixel < values.pixels; pixel++) {
        for (var c = first; c < first + width; c++) {
            let at = norm_element(values, n, pixel, c);
            sum += grad[at];
            products += grad[at] * xhat[at];
            turned += grad[at] * xhat_tangent[at];
            stretched += xhat[at] * x_tangent[at];
        }
    }
    let share = 1.0 / f32(width * values.pixels);
    for (var pixel = 0u; pixel < values.pixels; pixel++) {
        for (var c = first; c < first + width; c++) {
            let at = norm_element(values, n, pixel, c);
            let projected = scale * (grad[at] - sum * share - xhat[at] * (products * share));
            output[at] += -scale * stretched * share * projected
                - scale * share * (xhat_tangent[at] * products + xhat[at] * turned);
        }
    }
}
