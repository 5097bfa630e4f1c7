// The arcus tangens as an activation, elementwise.
//
//   forward    output[i]  = atan(saved[i])                                       MODE 0, saved being the input
//   gradient   output[i] (+)= grad[i] / (1 + saved[i]^2)                         MODE 1
//   curvature  output[i]  += grad[i] direction[i] (-2 saved[i]) / (1 + saved[i]^2)^2   MODE 2
//
// Shapes    all [count].
// Dispatch  one invocation an element, in workgroups of 64, folded over x and y.

override MODE: u32 = 0u;
override ACCUMULATE: u32 = 0u;

var<immediate> count: u32;

@group(0) @binding(0) var<storage, read_write> saved: array<f32>;
@group(0) @binding(1) var<storage, read_write> grad: array<f32>;
@group(0) @binding(2) var<storage, read_write> direction: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn arctan(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = invocation.y * grid.x * 64u + invocation.x;
    if i >= count {
        return; // the last workgroup of the last folded row runs past the end
    }
    let x = saved[i];
    let slope = 1.0 / (1.0 + x * x);
    var value = atan(x);
    if MODE == 1u {
        value = grad[i] * slope;
    }
    if MODE == 2u {
        value = -2.0 * x * slope * slope * grad[i] * direction[i];
    }
    if ACCUMULATE == 1u {
        value += output[i];
    }
    output[i] = value;
}
