// Batch norm on GPUs, second and last step: every workgroup combines the chunks of its quads, all of them to the same bits, and
// sweeps over its rows. That reads the partial results once a workgroup and not once, from the cache; a dispatch of its own takes
// longer than most of ResNet's sweeps. How many workgroups: BatchNormShape::sweep_geometry.
//
//   mean, var = the chunks' combined (shared/moments.wgsl), var biased;  inv_std = 1 / sqrt(var + eps)
//   y         = activation( (x - mean) weight inv_std + bias [+ residual] )
//   running   = moved by the batch's (shared/running.wgsl);  table = mean, inv_std, ., .: both by a column's first workgroup
//
// Shapes    x, residual, y: [all_rows, quads] vec4s; partials: [quads, chunks, 2] vec4s; running_mean, running_var: [channels];
//           table: [4, quads] vec4s, of which the first step left weight and bias: nobody reads what is written here.
// Dispatch  grid_1d(ceil(all_rows / rows_per_tile) * ceil(quads / QUAD_LANES), 1), folded, of WORKGROUP_SIZE invocations, at least
//           4 QUAD_LANES (shared/cut.wgsl).
// Source    torch.nn.BatchNorm2d.

override WORKGROUP_SIZE: u32 = 256u;
override QUAD_LANES: u32 = 4u;
override RESIDUAL: bool = false;
override ACTIVATION: u32 = 0u;

var<immediate> values: Batch;
@group(0) @binding(0) var<storage, read_write> x: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> residual: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(4) var<storage, read_write> running_var: array<f32>;
@group(0) @binding(5) var<storage, read_write> table: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> y: array<vec4<Real>>;

// Four rows of a quad.
struct Four {
    x: mat4x4<f32>,
    residual: mat4x4<f32>,
}

// Of rows `first` and those `step` after each other; in the place of one that is past the end stands the last of all.
fn read_four(cut: Cut, first: u32) -> Four {
    let rows = first + cut.step * vec4<u32>(0u, 1u, 2u, 3u);
    let at = min(rows, vec4<u32>(cut.end - 1u)) * values.quads + cut.quad;
    var four: Four;
    four.x = mat4x4<f32>(vec4<f32>(x[at.x]), vec4<f32>(x[at.y]), vec4<f32>(x[at.z]), vec4<f32>(x[at.w]));
    if RESIDUAL {
        four.residual = mat4x4<f32>(vec4<f32>(residual[at.x]), vec4<f32>(residual[at.y]),
                                    vec4<f32>(residual[at.z]), vec4<f32>(residual[at.w]));
    }
    return four;
}

fn put(cut: Cut, row: u32, normalised: vec4<f32>, added: vec4<f32>) {
    if row >= cut.end { return; }
    var value = normalised;
    if RESIDUAL { value += added; }
    if ACTIVATION != 0u { value = activation_forward_vec4(ACTIVATION, value); }
    y[row * values.quads + cut.quad] = vec4<Real>(value);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn batch_norm_finish_apply(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let cut = cut_of(workgroup, grid, local, values.rows_per_tile, values.all_rows);
    // Under way while the chunks are combined, as the next rows are while some are written.
    var next: Four;
    var params: mat2x4<f32>;
    if cut.first < cut.end {
        next = read_four(cut, cut.first);
        params = table_params(cut.quad);
    }
    let leads = cut_leads(cut, local);
    let channel = cut_channel(cut, local);
    var running = vec2<f32>();
    if leads { running = running_of(channel); }
    moments_share(true, partials_moments(cut.quad, local / QUAD_LANES, cut.step), local, cut_row_lanes(), QUAD_LANES);
    if leads {
        let all = moments_shared(local / 4u);
        running_move(channel, running, all.first[local % 4u], all.second[local % 4u]);
    }
    if cut.quad >= values.quads { return; }
    let all = moments_shared(local % QUAD_LANES);
    let inv_std = 1.0 / sqrt(all.second / f32(values.rows) + values.eps);
    if cut.part == 0u && local < QUAD_LANES {
        table[cut.quad] = all.first;
        table[values.quads + cut.quad] = inv_std;
    }
    let entry = table_made(all.first, inv_std, params);
    for (var row = cut.first; row < cut.end; row += 4u * cut.step) {
        let four = next;
        if row + 4u * cut.step < cut.end { next = read_four(cut, row + 4u * cut.step); }
        put(cut, row, table_applied(entry, four.x[0]), four.residual[0]);
        put(cut, row + cut.step, table_applied(entry, four.x[1]), four.residual[1]);
        put(cut, row + 2u * cut.step, table_applied(entry, four.x[2]), four.residual[2]);
        put(cut, row + 3u * cut.step, table_applied(entry, four.x[3]), four.residual[3]);
    }
}
