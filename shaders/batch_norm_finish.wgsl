// Batch norm, second step: the table that normalises each channel, and the running statistics.
//
//   mean, var = the chunks' combined (Chan, Golub, LeVeque 1979), var biased; or with EVALUATE the running ones
//   running   = running + momentum (of the batch - running), the variance unbiased; left as it is where the batch's are not
//             finite, so that a step that is left out leaves nothing behind
//   table     = mean, inv_std = 1 / sqrt(var + eps), scale = weight inv_std, shift = bias
//
// Shapes    partials: [chunks, 2, quads] vec4s; weight, bias, running_mean, running_var: [channels]; table: [4, quads] vec4s.
// Dispatch  grid_1d(quads, WORKGROUP_SIZE); one invocation combines four channels over all chunks.
// Source    torch.nn.BatchNorm2d.

override WORKGROUP_SIZE: u32 = 8u;
override EVALUATE: bool = false;

struct Finish {
    rows: u32,
    quads: u32,
    rows_per_chunk: u32,
    channels: u32,
    momentum: f32,
    eps: f32,
}

var<immediate> values: Finish;
@group(0) @binding(0) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> weight: array<Real>;
@group(0) @binding(2) var<storage, read_write> bias: array<Real>;
@group(0) @binding(3) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> running_var: array<f32>;
@group(0) @binding(5) var<storage, read_write> table: array<vec4<f32>>;

struct Moments {
    mean: vec4<f32>,
    squares: vec4<f32>,
}

fn combined(quad: u32) -> Moments {
    var mean = vec4<f32>();
    var squares = vec4<f32>();
    var count = 0.0;
    for (var first = 0u; first < values.rows; first += values.rows_per_chunk) {
        let at = first / values.rows_per_chunk * 2u * values.quads + quad;
        let more = f32(min(values.rows_per_chunk, values.rows - first));
        let distance = partials[at] - mean;
        let total = count + more;
        mean += distance * (more / total);
        squares += partials[at + values.quads] + distance * distance * (count * more / total);
        count = total;
    }
    return Moments(mean, squares);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn batch_norm_finish(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let quad = index_1d(invocation, grid, WORKGROUP_SIZE);
    if quad >= values.quads { return; }
    var moments: Moments;
    if !EVALUATE { moments = combined(quad); }
    let rows = f32(values.rows);
    var scale = vec4<f32>();
    var shift = vec4<f32>();
    var mean = vec4<f32>();
    var inv_std = vec4<f32>();
    for (var j = 0u; j < 4u; j++) {
        let channel = 4u * quad + j;
        if channel >= values.channels { continue; }
        var variance = moments.squares[j] / rows;
        mean[j] = moments.mean[j];
        if EVALUATE {
            mean[j] = running_mean[channel];
            variance = running_var[channel];
        } else {
            let unbiased = moments.squares[j] / max(rows - 1.0, 1.0);
            if finite(mean[j]) && finite(unbiased) {
                running_mean[channel] += values.momentum * (mean[j] - running_mean[channel]);
                running_var[channel] += values.momentum * (unbiased - running_var[channel]);
            }
        }
        inv_std[j] = 1.0 / sqrt(variance + values.eps);
        scale[j] = f32(weight[channel]) * inv_std[j];
        shift[j] = f32(bias[channel]);
    }
    table[quad] = mean;
    table[values.quads + quad] = inv_std;
    table[2u * values.quads + quad] = scale;
    table[3u * values.quads + quad] = shift;
}
