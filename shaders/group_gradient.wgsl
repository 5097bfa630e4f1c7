// The group model's gradient at the noisy factors, times each run's step size.
//
//   grad_u[r, g] = rate[r] sum over i in g of v_eff[r, i] slope[r, i]
//   grad_v[r, i] = rate[r] u_eff[r, g] slope[r, i]
//
// Shapes    slope: [runs, coefficients], dR/dtheta at the noisy coefficients; u_eff, grad_u: [runs, stride_u];
//           v_eff, grad_v: [runs, stride_v]; rates: [runs], see shared/factored.wgsl; groups: see group_predict.wgsl.
// Dispatch  grid_1d(runs * coefficients, WORKGROUP_SIZE), folded; a group's first coefficient also takes its u.

override WORKGROUP_SIZE: u32 = 64u;

var<immediate> values: FactoredShape;
@group(0) @binding(0) var<storage, read> u_eff: array<f32>;
@group(0) @binding(1) var<storage, read> v_eff: array<f32>;
@group(0) @binding(2) var<storage, read> slope: array<f32>;
@group(0) @binding(3) var<storage, read> rates: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> grad_u: array<f32>;
@group(0) @binding(5) var<storage, read_write> grad_v: array<f32>;
@group(0) @binding(6) var<storage, read> groups: array<vec4<u32>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn group_gradient(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i >= values.count {
        return;
    }
    let run = i / values.coefficients;
    let coefficient = i % values.coefficients;
    let group = groups[coefficient];
    let rate = factored_rate(rates[run], values.step);
    let at_u = run * values.stride_u + group.x;
    let row_v = run * values.stride_v;
    grad_v[row_v + coefficient] = rate * u_eff[at_u] * slope[i];
    if coefficient == group.y {
        var along = 0.0;
        for (var j = group.y; j < group.z; j++) {
            along += v_eff[row_v + j] * slope[run * values.coefficients + j];
        }
        grad_u[at_u] = rate * along;
    }
}
