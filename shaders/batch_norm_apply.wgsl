// Batch norm, third step: normalise, add the residual, activate, in one sweep over memory. On GPUs, unless the running statistics
// count, batch_norm_finish_apply.wgsl does the same.
//
//   y = activation( (x - mean) weight inv_std + bias [+ residual] )
//
// Shapes    x, residual, y: [all_rows, quads] vec4s; table: [4, quads] (mean, inv_std, weight, bias).
// Dispatch  grid_1d(ceil(all_rows / BATCH_NORM_ROWS) * quads, WORKGROUP_SIZE), folded; an invocation takes BATCH_NORM_ROWS rows
//           of one quad and so reads the table once.

override WORKGROUP_SIZE: u32 = 64u;
override RESIDUAL: bool = false;
override ACTIVATION: u32 = 0u;

const BATCH_NORM_ROWS: u32 = 4u;

var<immediate> values: Batch;
@group(0) @binding(0) var<storage, read_write> x: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> residual: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> table: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<Real>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn batch_norm_apply(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let block = index / values.quads;
    let first = block * BATCH_NORM_ROWS;
    if first >= values.all_rows { return; }
    let quad = index - block * values.quads;
    let entry = table_of(quad);
    for (var row = first; row < min(first + BATCH_NORM_ROWS, values.all_rows); row++) {
        let at = row * values.quads + quad;
        var value = table_applied(entry, vec4<f32>(x[at]));
        if RESIDUAL { value += vec4<f32>(residual[at]); }
        if ACTIVATION != 0u { value = activation_forward_vec4(ACTIVATION, value); }
        y[at] = vec4<Real>(value);
    }
}
