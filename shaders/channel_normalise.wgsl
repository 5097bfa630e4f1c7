// Batch norm by its running statistics, without weight and bias, and its (linear) derivative.
//
//   output[n, p, c] (+)= (input[n, p, c] - mean[c]) / sqrt(var[c] + eps);  without CENTRE the mean is left out
//
// Shapes    input, output: [batch, pixels, stride]; mean, variance: [channels].
// Dispatch  grid_1d(batch * pixels * stride, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;
override CENTRE: bool = true;
override ACCUMULATE: bool = false;

var<immediate> values: NormShape;
@group(0) @binding(0) var<storage, read_write> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> mean: array<f32>;
@group(0) @binding(2) var<storage, read_write> variance: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn channel_normalise(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let pixel = index / values.stride;
    if pixel >= values.batch * values.pixels { return; }
    let channel = index - pixel * values.stride;
    var value = 0.0;
    if channel < values.channels {
        value = input[index];
        if CENTRE { value -= mean[channel]; }
        value /= sqrt(variance[channel] + values.eps);
        if ACCUMULATE { value += output[index]; }
    }
    output[index] = value;
}
