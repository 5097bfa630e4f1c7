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

// The moments of a chunk.
fn chunk_moments(quad: u32, chunk: u32) -> Moments {
    let at = 2u * (quad * values.chunks + chunk);
    let rows = min(values.rows_per_chunk, values.rows - chunk * values.rows_per_chunk);
    return Moments(partials[at], partials[at + 1u], f32(rows));
}

// What a chunk adds to sums of distances from `shift`, weighted by rows, of their squares, and of rows.
fn distances(chunk: Moments, shift: vec4<f32>) -> Moments {
    let distance = chunk.first - shift;
    let weighted = chunk.count * distance;
    return Moments(weighted, chunk.second + weighted * distance, chunk.count);
}

fn added(a: Moments, b: Moments) -> Moments {
    return Moments(a.first + b.first, a.second + b.second, a.count + b.count);
}

// Of chunks `lane`, `lane + LANES`, ...: distances from the first one's mean, and the sums within chunks. Two are read at once,
// the second in vain where it is the last again: where there are more chunks than lanes, a read is what takes long.
fn lane_moments(quad: u32, lane: u32) -> Moments {
    if quad >= values.quads || lane >= values.filled { return Moments(); }
    var shift = vec4<f32>();
    var sums = Moments();
    for (var chunk = lane; chunk < values.filled; chunk += 2u * LANES) {
        let one = chunk_moments(quad, chunk);
        let other = chunk_moments(quad, min(chunk + LANES, values.filled - 1u));
        if chunk == lane { shift = one.first; }
        sums = added(sums, distances(one, shift));
        if chunk + LANES < values.filled { sums = added(sums, distances(other, shift)); }
    }
    return moments_shifted(shift, sums.first, sums.second, sums.count);
}

// What a channel has before the pass.
struct Channel {
    running: vec2<f32>,
    weight: f32,
    bias: f32,
}

// (mean, biased variance) of a channel of the batch; moves the running statistics.
fn batch_statistics(channel: u32, running: vec2<f32>) -> vec2<f32> {
    let mean = totals[0][channel % 4u];
    let squares = totals[1][channel % 4u];
    let rows = f32(values.rows);
    let unbiased = squares / max(rows - 1.0, 1.0);
    if finite(mean) && finite(unbiased) {
        running_mean[channel] = running.x + values.momentum * (mean - running.x);
        running_var[channel] = running.y + values.momentum * (unbiased - running.y);
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
    let channel = 4u * quad + lane;
    let in_use = lane < 4u && channel < values.channels;
    // Read before the barriers, so that nothing waits for it after them.
    var before: Channel;
    if in_use {
        let running = vec2<f32>(running_mean[channel], running_var[channel]);
        before = Channel(running, f32(weight[channel]), f32(bias[channel]));
    }
    if !EVALUATE {
        let all = moments_over_rows(true, lane_moments(quad, lane), lane, LANES, 1u);
        if lane == 0u { totals = array<vec4<f32>, 2>(all.first, all.second); }
        workgroupBarrier();
    }
    if quad >= values.quads || lane >= 4u { return; }
    var entries = vec4<f32>();
    if in_use {
        var statistics = before.running;
        if !EVALUATE { statistics = batch_statistics(channel, before.running); }
        let inv_std = 1.0 / sqrt(statistics.y + values.eps);
        entries = vec4<f32>(statistics.x, inv_std, before.weight * inv_std, before.bias);
    }
    for (var j = 0u; j < 4u; j++) {
        table[4u * j * values.quads + channel] = entries[j];
    }
}
