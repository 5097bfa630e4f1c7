// A gradient times the factor of clip_factor.wgsl.
//
//   grads[i] = grads[i] * factor[0]
//
// Shapes    grads: [count] vec4s; factor: [1]. Dispatch  grid_1d(count, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;

struct Scale {
    count: u32,
}

var<immediate> values: Scale;
@group(0) @binding(0) var<storage, read_write> grads: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> factor: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn clip_scale(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i < values.count {
        grads[i] = grads[i] * factor[0];
    }
}
