// Batch norm backward, second step: gradients of weight and bias, and the coefficients of the input's gradient. A dispatch of its
// own on software adapters; else batch_norm_finish_gradient.wgsl does the same.
//
//   grad_weight (+)= sum g xhat;  grad_bias (+)= sum g;  xhat = (x - mean) inv_std
//   coefficients   = scale mean(g), scale inv_std mean(g xhat);  scale = weight inv_std      (see batch_norm_gradient.wgsl)
//
// Shapes    partials: [quads, chunks, 2] vec4s (sum g, sum g (x - mean)); table: [4, 4 quads]; grad_weight, grad_bias: [channels];
//           coefficients: [2, 4 quads]. ACCUMULATE adds to the gradients.
// Dispatch  grid_1d(quads, 1), folded, of FINISH_LANES invocations, as batch_norm_finish.wgsl.

override ACCUMULATE: bool = false;

const FINISH_LANES: u32 = 4u;

var<immediate> values: Batch;
@group(0) @binding(0) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> table: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> coefficients: array<f32>;

@compute @workgroup_size(FINISH_LANES)
fn batch_norm_gradient_finish(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let quad = index_1d(workgroup, grid, 1u);
    let channel = 4u * quad + lane;
    let padded = 4u * values.quads;
    // Read before the barriers, so that nothing waits for it after them: (inv_std, weight), (sum, products).
    var factors = vec2<f32>();
    var before = vec2<f32>();
    if quad < values.quads {
        factors = vec2<f32>(table[padded + channel], table[2u * padded + channel]);
        if ACCUMULATE && channel < values.channels {
            before = vec2<f32>(grad_bias[channel], grad_weight[channel]);
        }
    }
    moments_share(false, partials_sums(quad, lane, FINISH_LANES), lane, FINISH_LANES, 1u);
    if quad >= values.quads { return; }
    let all = moments_shared(0u);
    let inv_std = factors.x;
    let scale = factors.y * inv_std / f32(values.rows);
    var sum = all.first[lane];
    var products = all.second[lane] * inv_std;
    coefficients[channel] = scale * sum;
    coefficients[padded + channel] = scale * inv_std * products;
    if channel >= values.channels { return; }
    if ACCUMULATE {
        sum += before.x;
        products += before.y;
    }
    grad_bias[channel] = sum;
    grad_weight[channel] = products;
}
