// A scale and a shift for each channel, or for each element of a sample.
//
//   output[n, p, c] (+)= input[n, p, c] scale[c or c, p] [+ shift[c or c, p]]
//
// Shapes    input, output: [batch, pixels, stride]; scale, shift: [channels] or [channels, pixels] (shared/norm.wgsl).
// Dispatch  grid_1d(batch * pixels * stride, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;
override SHIFT: bool = false;
override ACCUMULATE: bool = false;

var<immediate> values: NormShape;
@group(0) @binding(0) var<storage, read_write> input: array<Real>;
@group(0) @binding(1) var<storage, read_write> scale: array<Real>;
@group(0) @binding(2) var<storage, read_write> shift: array<Real>;
@group(0) @binding(3) var<storage, read_write> output: array<Real>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn affine(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let pixel = index / values.stride;
    let n = pixel / values.pixels;
    if n >= values.batch { return; }
    let channel = index - pixel * values.stride;
    var value = 0.0;
    if channel < values.channels {
        let param = norm_param(values, pixel - n * values.pixels, channel);
        value = f32(input[index]) * f32(scale[param]);
        if SHIFT { value += f32(shift[param]); }
        if ACCUMULATE { value += f32(output[index]); }
    }
    output[index] = Real(value);
}
