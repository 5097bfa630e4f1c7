// The derivative of group_normalise.wgsl applied to `grad`; it is symmetric, so it serves forward and backward.
//
//   output (+)= inv_std (grad - mean(grad) - xhat mean(grad xhat)), means over the group
//
// Shapes    grad, xhat (what group_normalise made), output: [batch, pixels, stride]; inv_std: [batch, groups].
// Dispatch  grid_1d(batch * groups, WORKGROUP_SIZE), folded; one invocation a group of a sample.

override WORKGROUP_SIZE: u32 = 8u;
override ACCUMULATE: bool = false;

var<immediate> values: NormShape;
@group(0) @binding(0) var<storage, read_write> grad: array<Real>;
@group(0) @binding(1) var<storage, read_write> xhat: array<Real>;
@group(0) @binding(2) var<storage, read_write> inv_std: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<Real>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn group_normalise_gradient(
    @builtin(global_invocation_id) invocation: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let n = index / values.groups;
    if n >= values.batch { return; }
    let width = norm_group_channels(values);
    let first = (index - n * values.groups) * width;
    let count = f32(width * values.pixels);
    var sum = 0.0;
    var products = 0.0;
    for (var pixel = 0u; pixel < values.pixels; pixel++) {
        for (var c = first; c < first + width; c++) {
            let at = norm_element(values, n, pixel, c);
            sum += f32(grad[at]);
            products += f32(grad[at]) * f32(xhat[at]);
        }
    }
    for (var pixel = 0u; pixel < values.pixels; pixel++) {
        for (var c = first; c < first + width; c++) {
            let at = norm_element(values, n, pixel, c);
            var value = inv_std[index] * (f32(grad[at]) - sum / count - f32(xhat[at]) * (products / count));
            if ACCUMULATE { value += f32(output[at]); }
            output[at] = Real(value);
        }
        if !ACCUMULATE && first + width == values.channels {
            for (var c = values.channels; c < values.stride; c++) {
                output[norm_element(values, n, pixel, c)] = Real(0.0);
            }
        }
    }
}
