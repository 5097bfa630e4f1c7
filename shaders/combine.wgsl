// A weighted sum of two gradients, in place.
//
//   sum[i] = keep sum[i] + add other[i]
//
// Shapes    sum, other: [count] vec4s. Dispatch  grid_1d(count, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;

struct Combine {
    count: u32,
    keep: f32,
    add: f32,
}

var<immediate> values: Combine;
@group(0) @binding(0) var<storage, read> other: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> sum: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn combine(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i < values.count {
        sum[i] = values.keep * sum[i] + values.add * other[i];
    }
}
