// Batch norm, second step on software adapters: the table that normalises each channel, and the running statistics.
//
//   mean, var = the chunks' combined (shared/moments.wgsl), var biased; or with EVALUATE the running ones
//   running   = moved by the batch's (shared/running.wgsl)
//   table     = mean, inv_std = 1 / sqrt(var + eps), weight, bias; 0 for channels that are padding
//
// Shapes    partials: [quads, chunks, 2] vec4s; weight, bias, running_mean, running_var: [channels]; table: [4, 4 quads].
// Dispatch  grid_1d(quads, 1), folded, of FINISH_LANES invocations, which combine the `filled` chunks of a quad that hold
//           samples, then take a channel each.
// Source    torch.nn.BatchNorm2d.

override EVALUATE: bool = false;

const FINISH_LANES: u32 = 4u;

var<immediate> values: Batch;
@group(0) @binding(0) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> weight: array<Real>;
@group(0) @binding(2) var<storage, read_write> bias: array<Real>;
@group(0) @binding(3) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> running_var: array<f32>;
@group(0) @binding(5) var<storage, read_write> table: array<f32>;

// What a channel has before the pass.
struct Channel {
    running: vec2<f32>,
    weight: f32,
    bias: f32,
}

@compute @workgroup_size(FINISH_LANES)
fn batch_norm_finish(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let quad = index_1d(workgroup, grid, 1u);
    let channel = 4u * quad + lane;
    let in_use = channel < values.channels;
    // Read before the barriers, so that nothing waits for it after them.
    var before: Channel;
    if in_use { before = Channel(running_of(channel), f32(weight[channel]), f32(bias[channel])); }
    if !EVALUATE { moments_share(true, partials_moments(quad, lane, FINISH_LANES), lane, FINISH_LANES, 1u); }
    if quad >= values.quads { return; }
    var entries = vec4<f32>();
    if in_use {
        var statistics = before.running;
        if !EVALUATE {
            let all = moments_shared(0u);
            running_move(channel, before.running, all.first[lane], all.second[lane]);
            statistics = vec2<f32>(all.first[lane], all.second[lane] / f32(values.rows));
        }
        entries = vec4<f32>(statistics.x, 1.0 / sqrt(statistics.y + values.eps), before.weight, before.bias);
    }
    for (var j = 0u; j < 4u; j++) {
        table[4u * j * values.quads + channel] = entries[j];
    }
}
