// The diagonal model's gradient at the noisy factors, and the running sum of the clean coefficients.
//
//   grad_u[i] =  2 u_eff[i] slope[i]
//   grad_v[i] = -2 v_eff[i] slope[i]
//   sum[i]   += u[i]^2 - v[i]^2
//
// Shapes    all [runs * features]; slope is dR/dtheta at the noisy coefficients.
// Dispatch  grid_1d(count, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;

struct Shape {
    count: u32,
}

var<immediate> values: Shape;
@group(0) @binding(0) var<storage, read> u_eff: array<f32>;
@group(0) @binding(1) var<storage, read> v_eff: array<f32>;
@group(0) @binding(2) var<storage, read> slope: array<f32>;
@group(0) @binding(3) var<storage, read> u: array<f32>;
@group(0) @binding(4) var<storage, read> v: array<f32>;
@group(0) @binding(5) var<storage, read_write> grad_u: array<f32>;
@group(0) @binding(6) var<storage, read_write> grad_v: array<f32>;
@group(0) @binding(7) var<storage, read_write> sum: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn diagonal_gradient(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i >= values.count {
        return;
    }
    let doubled = 2.0 * slope[i];
    grad_u[i] = doubled * u_eff[i];
    grad_v[i] = -doubled * v_eff[i];
    sum[i] += u[i] * u[i] - v[i] * v[i];
}
