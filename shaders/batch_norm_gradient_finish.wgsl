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

fn lane_sums(quad: u32, lane: u32) -> Moments {
    var sums = Moments();
    if quad >= values.quads { return sums; }
    for (var chunk = lane; chunk < values.filled; chunk += LANES) {
        let at = 2u * (quad * values.chunks + chunk);
        sums.first += partials[at];
        sums.second += partials[at + 1u];
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
    let all = moments_over_rows(false, lane_sums(quad, lane), lane, LANES, 1u);
    if lane == 0u { totals = array<vec4<f32>, 2>(all.first, all.second); }
    workgroupBarrier();
    if quad >= values.quads || lane >= 4u { return; }
    let channel = 4u * quad + lane;
    let padded = 4u * values.quads;
    let inv_std = table[padded + channel];
    let scale = table[2u * padded + channel] / f32(values.rows);
    var sum = totals[0][lane];
    var products = totals[1][lane] * inv_std;
    coefficients[channel] = scale * sum;
    coefficients[padded + channel] = scale * inv_std * products;
    if channel >= values.channels { return; }
    if ACCUMULATE {
        sum += grad_bias[channel];
        products += grad_weight[channel];
    }
    grad_bias[channel] = sum;
    grad_weight[channel] = products;
}
