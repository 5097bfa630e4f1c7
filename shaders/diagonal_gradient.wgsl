// The diagonal model's gradient at the noisy factors, times each run's step size.
//
//   grad_u[r, i] =  2 rate[r] u_eff[r, i] slope[r, i]
//   grad_v[r, i] = -2 rate[r] v_eff[r, i] slope[r, i]
//
// Shapes    slope: [runs, coefficients], dR/dtheta at the noisy coefficients; u_eff, v_eff, gradients: [runs, stride];
//           rates: [runs], see shared/factored.wgsl.
// Dispatch  grid_1d(runs * coefficients, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;

var<immediate> values: FactoredShape;
@group(0) @binding(0) var<storage, read> u_eff: array<f32>;
@group(0) @binding(1) var<storage, read> v_eff: array<f32>;
@group(0) @binding(2) var<storage, read> slope: array<f32>;
@group(0) @binding(3) var<storage, read> rates: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> grad_u: array<f32>;
@group(0) @binding(5) var<storage, read_write> grad_v: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn diagonal_gradient(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i >= values.count {
        return;
    }
    let run = i / values.coefficients;
    let at = run * values.stride_u + i % values.coefficients;
    let doubled = 2.0 * factored_rate(rates[run], values.step) * slope[i];
    grad_u[at] = doubled * u_eff[at];
    grad_v[at] = -doubled * v_eff[at];
}
