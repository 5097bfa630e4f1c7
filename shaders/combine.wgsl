// A weighted sum of two gradients, or of two of their tensors, in place.
//
//   sum[i] = keep sum[i] + add other[i]
//
// Shapes    sum, other: [count] elements in vec4s; what the last vec4 holds beyond them stays.
// Dispatch  grid_1d(ceil(count / 4), WORKGROUP_SIZE), folded.

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
    let element = 4u * i + vec4<u32>(0u, 1u, 2u, 3u);
    if element.x < values.count {
        let held = sum[i];
        sum[i] = select(held, values.keep * held + values.add * other[i], element < vec4<u32>(values.count));
    }
}
