// Batch norm backward, third step: the gradients of the input and of the residual.
//
//   g = grad * activation'(saved);  grad_x (+)= scale g - scale mean(g) - (x - mean) scale inv_std mean(g xhat)
//   grad_residual (+)= g;  both 0 in rows that hold no sample
//
// Shapes    grad, saved, x, grad_x, grad_residual: [rows, quads] vec4s; table: [4, quads]; coefficients: [2, quads].
// Dispatch  grid_1d(ceil(rows / BATCH_NORM_ROWS) * quads, WORKGROUP_SIZE), folded, as batch_norm_apply.wgsl.
// Source    Ioffe & Szegedy, "Batch normalization", ICML 2015.

override WORKGROUP_SIZE: u32 = 64u;
override ACTIVATION: u32 = 0u;
// 0: there is no residual; 1: its gradient is written; 2: added to what is there.
override RESIDUAL: u32 = 0u;
override ACCUMULATE: bool = false;

const BATCH_NORM_ROWS: u32 = 4u;

struct Gradient {
    rows: u32,
    quads: u32,
    valid_rows: u32,
}

var<immediate> values: Gradient;
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
    if first >= values.rows { return; }
    let quad = index - block * values.quads;
    let mean = table[quad];
    let scale = table[2u * values.quads + quad];
    let constant = coefficients[quad];
    let slope = coefficients[values.quads + quad];
    for (var row = first; row < min(first + BATCH_NORM_ROWS, values.rows); row++) {
        let at = row * values.quads + quad;
        var g = vec4<f32>(grad[at]);
        if ACTIVATION != 0u { g *= activation_gradient_vec4(ACTIVATION, vec4<f32>(saved[at])); }
        let valid = row < values.valid_rows;
        g = select(vec4<f32>(), g, valid);
        var result = select(vec4<f32>(), scale * g - constant - (vec4<f32>(x[at]) - mean) * slope, valid);
        if RESIDUAL == 2u { g += vec4<f32>(grad_residual[at]); }
        if RESIDUAL != 0u { grad_residual[at] = vec4<Real>(g); }
        if ACCUMULATE { result += vec4<f32>(grad_x[at]); }
        grad_x[at] = vec4<Real>(result);
    }
}
