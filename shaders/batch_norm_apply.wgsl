// Batch norm, third step: normalise, add the residual, activate, in one sweep over memory. On GPUs batch_norm_finish_apply.wgsl
// does the same by the batch's statistics, and this one with EVALUATE.
//
//   y = activation( (x - mean) weight inv_std + bias [+ residual] );  mean, inv_std: the table's; with EVALUATE those of the running
//   statistics, and no other step comes before
//
// Shapes    x, residual, y: [all_rows, quads] vec4s; weight, bias, running_mean, running_var: [channels]; table: [4, quads] vec4s
//           (mean, inv_std, weight, bias).
// Dispatch  grid_1d(ceil(all_rows / BATCH_NORM_ROWS) * quads, WORKGROUP_SIZE), folded; an invocation takes BATCH_NORM_ROWS rows
//           of one quad and so reads the table once.

override WORKGROUP_SIZE: u32 = 64u;
override RESIDUAL: bool = false;
override ACTIVATION: u32 = 0u;
override EVALUATE: bool = false;

const BATCH_NORM_ROWS: u32 = 4u;

var<immediate> values: Batch;
@group(0) @binding(0) var<storage, read_write> x: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> residual: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> weight: array<Real>;
@group(0) @binding(3) var<storage, read_write> bias: array<Real>;
@group(0) @binding(4) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(5) var<storage, read_write> running_var: array<f32>;
@group(0) @binding(6) var<storage, read_write> table: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> y: array<vec4<Real>>;

// As table_of; zeros for channels that are padding.
fn running_table(quad: u32) -> Table {
    var entry: Table;
    for (var j = 0u; j < 4u; j++) {
        let channel = 4u * quad + j;
        if channel >= values.channels { break; }
        entry.mean[j] = running_mean[channel];
        entry.inv_std[j] = 1.0 / sqrt(running_var[channel] + values.eps);
        entry.scale[j] = f32(weight[channel]) * entry.inv_std[j];
        entry.shift[j] = f32(bias[channel]);
    }
    return entry;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn batch_norm_apply(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let block = index / values.quads;
    let first = block * BATCH_NORM_ROWS;
    if first >= values.all_rows { return; }
    let quad = index - block * values.quads;
    var entry: Table;
    if EVALUATE {
        entry = running_table(quad);
    } else {
        entry = table_of(quad);
    }
    for (var row = first; row < min(first + BATCH_NORM_ROWS, values.all_rows); row++) {
        let at = row * values.quads + quad;
        var value = table_applied(entry, vec4<f32>(x[at]));
        if RESIDUAL { value += vec4<f32>(residual[at]); }
        if ACTIVATION != 0u { value = activation_forward_vec4(ACTIVATION, value); }
        y[at] = vec4<Real>(value);
    }
}
