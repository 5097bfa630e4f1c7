// The group model's coefficients of many runs at once, and the running sum of the clean ones.
//
//   theta[r, i] = u_eff[r, g] v_eff[r, i]     with g the group of i
//   sum[r, i]  += u[r, g] v[r, i]
//
// Shapes    theta, sum: [runs, coefficients]; u: [runs, stride_u], one element a group; v: [runs, stride_v], rows padded;
//           groups: per coefficient (group, first coefficient of the group, one past its last, 0).
// Dispatch  grid_1d(runs * coefficients, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;

var<immediate> values: FactoredShape;
@group(0) @binding(0) var<storage, read> u_eff: array<f32>;
@group(0) @binding(1) var<storage, read> v_eff: array<f32>;
@group(0) @binding(2) var<storage, read> u: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> theta: array<f32>;
@group(0) @binding(5) var<storage, read_write> sum: array<f32>;
@group(0) @binding(6) var<storage, read> groups: array<vec4<u32>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn group_predict(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i >= values.count {
        return;
    }
    let run = i / values.coefficients;
    let coefficient = i % values.coefficients;
    let at_u = run * values.stride_u + groups[coefficient].x;
    let at_v = run * values.stride_v + coefficient;
    theta[i] = u_eff[at_u] * v_eff[at_v];
    sum[i] += u[at_u] * v[at_v];
}
