// Batch norm backward, third step on software adapters: the gradients of the input and of the residual.
//
//   g = grad * activation' (shared/upstream.wgsl);  scale = weight inv_std
//   grad_x (+)= scale g - scale mean(g) - (x - mean) scale inv_std mean(g xhat);  grad_residual (+)= g;  both 0 in rows that hold
//   no sample
//
// Shapes    grad, saved, x, grad_x, grad_residual: [all_rows, quads] vec4s; table: [4, quads] (mean, inv_std, weight, bias);
//           coefficients: [2, quads] (scale mean(g), scale inv_std mean(g xhat)).
// Dispatch  grid_1d(ceil(all_rows / BATCH_NORM_ROWS) * quads, WORKGROUP_SIZE), folded, as batch_norm_apply.wgsl.
// Source    Ioffe & Szegedy, "Batch normalization", ICML 2015.

override WORKGROUP_SIZE: u32 = 64u;
override ACTIVATION: u32 = 0u;
override RECOMPUTE: bool = false;
// 0: there is no residual; 1: its gradient is written; 2: added to what is there.
override RESIDUAL: u32 = 0u;
override ACCUMULATE: bool = false;

const BATCH_NORM_ROWS: u32 = 4u;

var<immediate> values: Batch;
@group(0) @binding(0) var<storage, read_write> grad: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> saved: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> x: array<vec4<Real>>;
@group(0) @binding(3) var<storage, read_write> table: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> coefficients: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> grad_x: array<vec4<Real>>;
@group(0) @binding(6) var<storage, read_write> grad_residual: array<vec4<Real>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn batch_norm_gradient(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let block = index / values.quads;
    let first = block * BATCH_NORM_ROWS;
    if first >= values.all_rows { return; }
    let quad = index - block * values.quads;
    let entry = table_of(quad);
    let constant = coefficients[quad];
    let slope = coefficients[values.quads + quad];
    for (var row = first; row < min(first + BATCH_NORM_ROWS, values.all_rows); row++) {
        let at = row * values.quads + quad;
        let value = vec4<f32>(x[at]);
        let valid = row < values.rows;
        var g = select(vec4<f32>(), upstream(at, value, entry), valid);
        var result = select(vec4<f32>(), entry.scale * g - constant - (value - entry.mean) * slope, valid);
        if RESIDUAL == 2u { g += vec4<f32>(grad_residual[at]); }
        if RESIDUAL != 0u { grad_residual[at] = vec4<Real>(g); }
        if ACCUMULATE { result += vec4<f32>(grad_x[at]); }
        grad_x[at] = vec4<Real>(result);
    }
}
