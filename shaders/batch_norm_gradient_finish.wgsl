// Batch norm backward, second step: gradients of weight and bias, and the coefficients of the input's gradient.
//
//   grad_weight (+)= sum g xhat;  grad_bias (+)= sum g;  xhat = (x - mean) inv_std
//   coefficients   = scale mean(g), scale inv_std mean(g xhat)      (see batch_norm_gradient.wgsl)
//
// Shapes    partials: [quads, chunks, 2] vec4s (sum g, sum g (x - mean)); table: [4, 4 quads]; grad_weight, grad_bias: [channels];
//           coefficients: [2, 4 quads]. ACCUMULATE adds to the gradients.
// Dispatch  grid_1d(quads, 1), folded, of LANES invocations, as batch_norm_finish.wgsl.

override LANES: u32 = 64u;
override ACCUMULATE: bool = false;

struct Finish {
    rows: u32,
    quads: u32,
    chunks: u32,
    filled: u32,
    channels: u32,
}

var<immediate> values: Finish;
@group(0) @binding(0) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> table: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> coefficients: array<f32>;

var<workgroup> totals: array<vec4<f32>, 2>;

// Of chunks `lane`, `lane + LANES`, ..., two of them read at once, as in batch_norm_finish.wgsl.
fn lane_sums(quad: u32, lane: u32) -> Moments {
    var sums = Moments();
    if quad >= values.quads { return sums; }
    for (var chunk = lane; chunk < values.filled; chunk += 2u * LANES) {
        let at = 2u * (quad * values.chunks + chunk);
        let next = 2u * (quad * values.chunks + min(chunk + LANES, values.filled - 1u));
        let one = array<vec4<f32>, 2>(partials[at], partials[at + 1u]);
        let other = array<vec4<f32>, 2>(partials[next], partials[next + 1u]);
        sums = Moments(sums.first + one[0], sums.second + one[1], 0.0);
        if chunk + LANES < values.filled { sums = Moments(sums.first + other[0], sums.second + other[1], 0.0); }
    }
    return sums;
}

@compute @workgroup_size(LANES)
fn batch_norm_gradient_finish(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let quad = index_1d(workgroup, grid, 1u);
    let channel = 4u * quad + lane;
    let padded = 4u * values.quads;
    // Read before the barriers, so that nothing waits for it after them: (inv_std, scale), (sum, products).
    var factors = vec2<f32>();
    var before = vec2<f32>();
    if lane < 4u && quad < values.quads {
        factors = vec2<f32>(table[padded + channel], table[2u * padded + channel]);
        if ACCUMULATE && channel < values.channels {
            before = vec2<f32>(grad_bias[channel], grad_weight[channel]);
        }
    }
    let all = moments_over_rows(false, lane_sums(quad, lane), lane, LANES, 1u);
    if lane == 0u { totals = array<vec4<f32>, 2>(all.first, all.second); }
    workgroupBarrier();
    if quad >= values.quads || lane >= 4u { return; }
    let inv_std = factors.x;
    let scale = factors.y / f32(values.rows);
    var sum = totals[0][lane];
    var products = totals[1][lane] * inv_std;
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
