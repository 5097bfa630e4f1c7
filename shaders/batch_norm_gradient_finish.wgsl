// Batch norm backward, second step: gradients of weight and bias, and the coefficients of the input's gradient.
//
//   grad_weight (+)= sum g xhat;  grad_bias (+)= sum g
//   coefficients   = scale mean(g), scale inv_std mean(g xhat)      (see batch_norm_gradient.wgsl)
//
// Shapes    partials: [chunks, 2, quads] vec4s (sum g, sum g xhat); table: [4, quads] vec4s; grad_weight, grad_bias: [channels];
//           coefficients: [2, quads] vec4s. ACCUMULATE adds to the gradients.
// Dispatch  grid_1d(quads, WORKGROUP_SIZE); one invocation combines four channels over all chunks.

override WORKGROUP_SIZE: u32 = 8u;
override ACCUMULATE: bool = false;

struct Finish {
    rows: u32,
    quads: u32,
    rows_per_chunk: u32,
    channels: u32,
}

var<immediate> values: Finish;
@group(0) @binding(0) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> table: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> coefficients: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn batch_norm_gradient_finish(
    @builtin(global_invocation_id) invocation: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let quad = index_1d(invocation, grid, WORKGROUP_SIZE);
    if quad >= values.quads { return; }
    var sum = vec4<f32>();
    var products = vec4<f32>();
    for (var first = 0u; first < values.rows; first += values.rows_per_chunk) {
        let at = first / values.rows_per_chunk * 2u * values.quads + quad;
        sum += partials[at];
        products += partials[at + values.quads];
    }
    let scale = table[2u * values.quads + quad] / f32(values.rows);
    coefficients[quad] = scale * sum;
    coefficients[values.quads + quad] = scale * table[values.quads + quad] * products;
    for (var j = 0u; j < 4u; j++) {
        let channel = 4u * quad + j;
        if channel >= values.channels { continue; }
        if ACCUMULATE {
            sum[j] += grad_bias[channel];
            products[j] += grad_weight[channel];
        }
        grad_bias[channel] = sum[j];
        grad_weight[channel] = products[j];
    }
}
