// The tangent of an activation's derivative applied to a gradient, left a'(saved): a prime is a derivative, a dot a tangent.
//
//   output[i] (+)= left.[i] a'(saved[i]) + left[i] saved.[i] d a'(saved[i]) / d saved[i]     saved is what forward saved
//
// Shapes    left, left_tangent, saved, saved_tangent, output: [count].
// Dispatch  grid_1d(count, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;
override ACTIVATION: u32 = 0u;
override ACCUMULATE: bool = false;

struct Shape {
    count: u32,
}

var<immediate> values: Shape;
@group(0) @binding(0) var<storage, read_write> left: array<f32>;
@group(0) @binding(1) var<storage, read_write> left_tangent: array<f32>;
@group(0) @binding(2) var<storage, read_write> saved: array<f32>;
@group(0) @binding(3) var<storage, read_write> saved_tangent: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn activation_tangent(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i >= values.count {
        return;
    }
    let argument = saved[i];
    var result = left_tangent[i] * activation_gradient(ACTIVATION, argument);
    if ACCUMULATE {
        result += output[i];
    }
    result += left[i] * saved_tangent[i] * activation_curvature(ACTIVATION, argument);
    output[i] = result;
}
