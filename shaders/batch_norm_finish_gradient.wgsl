// Batch norm backward on GPUs, second and last step: every workgroup combines the chunks of its quads and sweeps over its rows, as
// batch_norm_finish_apply.wgsl. The residual's gradient is the first step's.
//
//   g = grad * activation' (shared/upstream.wgsl);  scale = weight inv_std;  xhat = (x - mean) inv_std
//   grad_x (+)= scale g - scale mean(g) - (x - mean) scale inv_std mean(g xhat);  0 in rows that hold no sample
//   grad_weight (+)= sum g xhat;  grad_bias (+)= sum g: both by a column's first workgroup
//
// Shapes    grad, saved, x, grad_x: [all_rows, quads] vec4s; table: [4, quads] vec4s; partials: [quads, chunks, 2] vec4s (sum g,
//           sum g (x - mean)); grad_weight, grad_bias: [channels].
// Dispatch  as batch_norm_finish_apply.wgsl.
// Source    Ioffe & Szegedy, "Batch normalization", ICML 2015.

override WORKGROUP_SIZE: u32 = 256u;
override QUAD_LANES: u32 = 4u;
override ACTIVATION: u32 = 0u;
override RECOMPUTE: bool = false;
override ACCUMULATE: bool = false;
override ACCUMULATE_PARAMS: bool = false;

var<immediate> values: Batch;
@group(0) @binding(0) var<storage, read_write> grad: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> saved: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> x: array<vec4<Real>>;
@group(0) @binding(3) var<storage, read_write> table: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> grad_weight: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_bias: array<f32>;
@group(0) @binding(7) var<storage, read_write> grad_x: array<vec4<Real>>;

// Two rows of a quad.
struct Two {
    x: mat2x4<f32>,
    g: mat2x4<f32>,
}

// Of rows `first` and `first + step`; in the place of one that is past the end stands the last of all.
fn read_two(cut: Cut, first: u32, entry: Table) -> Two {
    let at = min(vec2<u32>(first, first + cut.step), vec2<u32>(cut.end - 1u)) * values.quads + cut.quad;
    let one = vec4<f32>(x[at.x]);
    let other = vec4<f32>(x[at.y]);
    return Two(mat2x4<f32>(one, other), mat2x4<f32>(upstream(at.x, one, entry), upstream(at.y, other, entry)));
}

fn put(cut: Cut, row: u32, gradient: vec4<f32>) {
    if row >= cut.end { return; }
    let at = row * values.quads + cut.quad;
    var result = select(vec4<f32>(), gradient, row < values.rows);
    if ACCUMULATE { result += vec4<f32>(grad_x[at]); }
    grad_x[at] = vec4<Real>(result);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn batch_norm_finish_gradient(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let cut = cut_of(workgroup, grid, local, values.rows_per_tile, values.all_rows);
    // Under way while the chunks are combined, as the next rows are while some are written.
    var entry: Table;
    var next: Two;
    if cut.quad < values.quads { entry = table_of(cut.quad); }
    if cut.first < cut.end { next = read_two(cut, cut.first, entry); }
    let leads = cut_leads(cut, local);
    let channel = cut_channel(cut, local);
    var inv_std = 0.0;
    var before = vec2<f32>();
    if leads {
        inv_std = table[values.quads + channel / 4u][channel % 4u];
        if ACCUMULATE_PARAMS { before = vec2<f32>(grad_bias[channel], grad_weight[channel]); }
    }
    moments_share(false, partials_sums(cut.quad, local / QUAD_LANES, cut.step), local, cut_row_lanes(), QUAD_LANES);
    if leads {
        let all = moments_shared(local / 4u);
        grad_bias[channel] = all.first[local % 4u] + before.x;
        grad_weight[channel] = all.second[local % 4u] * inv_std + before.y;
    }
    if cut.quad >= values.quads { return; }
    let all = moments_shared(local % QUAD_LANES);
    let scale = entry.scale / f32(values.rows);
    let constant = scale * all.first;
    let slope = scale * entry.inv_std * (all.second * entry.inv_std);
    for (var row = cut.first; row < cut.end; row += 2u * cut.step) {
        let two = next;
        if row + 2u * cut.step < cut.end { next = read_two(cut, row + 2u * cut.step, entry); }
        put(cut, row, entry.scale * two.g[0] - constant - (two.x[0] - entry.mean) * slope);
        put(cut, row + cut.step, entry.scale * two.g[1] - constant - (two.x[1] - entry.mean) * slope);
    }
}
