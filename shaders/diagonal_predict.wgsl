// The diagonal model's coefficients of many runs at once, and the running sum of the clean ones.
//
//   theta[r, i] = u_eff[r, i]^2 - v_eff[r, i]^2
//   sum[r, i]  += u[r, i]^2 - v[r, i]^2
//
// Shapes    theta, sum: [runs, coefficients]; u, v and their noisy twins: [runs, stride], rows padded.
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
fn diagonal_predict(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i >= values.count {
        return;
    }
    let at = i / values.coefficients * values.stride_u + i % values.coefficients;
    theta[i] = u_eff[at] * u_eff[at] - v_eff[at] * v_eff[at];
    sum[i] += u[at] * u[at] - v[at] * v[at];
}
