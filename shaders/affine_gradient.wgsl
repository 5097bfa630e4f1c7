// Gradients of a scale and a shift.
//
//   grad_scale[k] (+)= sum over samples (and pixels) of grad input;  grad_shift[k] (+)= sum of grad, with SHIFT
//
// Shapes    grad, input: [batch, pixels, stride]; grad_scale, grad_shift: [channels] or [channels, pixels] (shared/norm.wgsl).
// Dispatch  grid_1d(parameters, WORKGROUP_SIZE), folded; one invocation a parameter, sequential, so always the same bits.

override WORKGROUP_SIZE: u32 = 8u;
override SHIFT: bool = true;
override ACCUMULATE: bool = false;

var<immediate> values: NormShape;
@group(0) @binding(0) var<storage, read_write> grad: array<Real>;
@group(0) @binding(1) var<storage, read_write> input: array<Real>;
@group(0) @binding(2) var<storage, read_write> grad_scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_shift: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn affine_gradient(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let param = index_1d(invocation, grid, WORKGROUP_SIZE);
    let own_pixels = select(1u, values.pixels, values.per_pixel == 1u);
    let channel = param / own_pixels;
    if channel >= values.channels { return; }
    // The pixels that share the parameter: all of them, or the one that it belongs to.
    let first = select(0u, param - channel * own_pixels, values.per_pixel == 1u);
    let end = select(values.pixels, first + 1u, values.per_pixel == 1u);
    var products = 0.0;
    var sum = 0.0;
    for (var n = 0u; n < values.batch; n++) {
        for (var pixel = first; pixel < end; pixel++) {
            let at = norm_element(values, n, pixel, channel);
            products += f32(grad[at]) * f32(input[at]);
            if SHIFT { sum += f32(grad[at]); }
        }
    }
    if ACCUMULATE { products += grad_scale[param]; }
    grad_scale[param] = products;
    if SHIFT {
        if ACCUMULATE { sum += grad_shift[param]; }
        grad_shift[param] = sum;
    }
}
