// The diagonal model's coefficients, of many runs at once.
//
//   theta[i] = u[i]^2 - v[i]^2
//
// Shapes    u, v, theta: [runs * features].
// Dispatch  grid_1d(count, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;

struct Shape {
    count: u32,
}

var<immediate> values: Shape;
@group(0) @binding(0) var<storage, read> u: array<f32>;
@group(0) @binding(1) var<storage, read> v: array<f32>;
@group(0) @binding(2) var<storage, read_write> theta: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn diagonal_predict(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i >= values.count {
        return;
    }
    theta[i] = u[i] * u[i] - v[i] * v[i];
}
