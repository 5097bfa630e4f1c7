// Batch norm, second step: the table that normalises each channel, and the running statistics.
//
//   mean, var = the chunks' combined (shared/moments.wgsl), var biased; or with EVALUATE the running ones
//   running   = running + momentum (of the batch - running), the variance unbiased; left as it is where the batch's are not
//             finite, so that a step that is left out leaves nothing behind
//   table     = mean, inv_std = 1 / sqrt(var + eps), scale = weight inv_std, shift = bias; 0 for channels that are padding
//
// Shapes    partials: [quads, chunks, 2] vec4s; weight, bias, running_mean, running_var: [channels]; table: [4, 4 quads].
// Dispatch  grid_1d(quads, 1), folded, of LANES invocations (a power of two, at least 4): a workgroup combines the `filled`
//           chunks of a quad that hold samples, then four of its invocations take a channel each.
// Source    torch.nn.BatchNorm2d.

override LANES: u32 = 64u;
override EVALUATE: bool = false;

struct Finish {
    rows: u32,
    quads: u32,
    rows_per_chunk: u32,
    chunks: u32,
    filled: u32,
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
@group(0) @binding(5) var<storage, read_write> table: array<f32>;

var<workgroup> totals: array<vec4<f32>, 2>;

// Of chunks `lane`, `lane + LANES`, ...: distances from the first one's mean, weighted by rows, and the sums within chunks.
fn lane_moments(quad: u32, lane: u32) -> Moments {
    if quad >= values.quads || lane >= values.filled { return Moments(); }
    let shift = partials[2u * (quad * values.chunks + lane)];
    var sum = vec4<f32>();
    var squares = vec4<f32>();
    var count = 0.0;
    for (var chunk = lane; chunk < values.filled; chunk += LANES) {
        let at = 2u * (quad * values.chunks + chunk);
        let rows = f32(min(values.rows_per_chunk, values.rows - chunk * values.rows_per_chunk));
        let distance = partials[at] - shift;
        let weighted = rows * distance;
        sum += weighted;
        squares += partials[at + 1u] + weighted * distance;
        count += rows;
    }
    return moments_shifted(shift, sum, squares, count);
}

// (mean, biased variance) of a channel of the batch; moves the running statistics.
fn batch_statistics(channel: u32) -> vec2<f32> {
    let mean = totals[0][channel % 4u];
    let squares = totals[1][channel % 4u];
    let rows = f32(values.rows);
    let unbiased = squares / max(rows - 1.0, 1.0);
    if finite(mean) && finite(unbiased) {
        running_mean[channel] += values.momentum * (mean - running_mean[channel]);
        running_var[channel] += values.momentum * (unbiased - running_var[channel]);
    }
    return vec2<f32>(mean, squares / rows);
}

@compute @workgroup_size(LANES)
fn batch_norm_finish(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let quad = index_1d(workgroup, grid, 1u);
    if !EVALUATE {
        let all = moments_over_rows(true, lane_moments(quad, lane), lane, LANES, 1u);
        if lane == 0u { totals = array<vec4<f32>, 2>(all.first, all.second); }
        workgroupBarrier();
    }
    if quad >= values.quads || lane >= 4u { return; }
    let channel = 4u * quad + lane;
    var entries = vec4<f32>();
    if channel < values.channels {
        var statistics: vec2<f32>;
        if EVALUATE {
            statistics = vec2<f32>(running_mean[channel], running_var[channel]);
        } else {
            statistics = batch_statistics(channel);
        }
        let inv_std = 1.0 / sqrt(statistics.y + values.eps);
        entries = vec4<f32>(statistics.x, inv_std, f32(weight[channel]) * inv_std, f32(bias[channel]));
    }
    for (var j = 0u; j < 4u; j++) {
        table[4u * j * values.quads + channel] = entries[j];
    }
}
