// The two-layer linear model's coefficients of many runs at once, and the running sum of the clean ones.
//
//   theta[r, i + rows * j] = sum over k of u_eff[r, i, k] v_eff[r, j, k]     Theta = U V', stored by columns
//   sum[r, i + rows * j]  += the same of the clean factors
//
// Shapes    theta, sum: [runs, rows * columns]; u: [runs, stride_u] holding [rows, width]; v: [runs, stride_v] holding
//           [columns, width]; rows of runs padded.
// Dispatch  grid_1d(runs * coefficients, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;

var<immediate> values: FactoredShape;
@group(0) @binding(0) var<storage, read> u_eff: array<f32>;
@group(0) @binding(1) var<storage, read> v_eff: array<f32>;
@group(0) @binding(2) var<storage, read> u: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> theta: array<f32>;
@group(0) @binding(5) var<storage, read_write> sum: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn two_layer_predict(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i >= values.count {
        return;
    }
    let run = i / values.coefficients;
    let coefficient = i % values.coefficients;
    let at_u = run * values.stride_u + coefficient % values.rows * values.width;
    let at_v = run * values.stride_v + coefficient / values.rows * values.width;
    var noisy = 0.0;
    var clean = 0.0;
    for (var k = 0u; k < values.width; k++) {
        noisy += u_eff[at_u + k] * v_eff[at_v + k];
        clean += u[at_u + k] * v[at_v + k];
    }
    theta[i] = noisy;
    sum[i] += clean;
}
