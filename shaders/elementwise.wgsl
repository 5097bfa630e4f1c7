// Elementwise steps that no product's epilogue could take in.
//
//   OPERATION 0  output = activation(left)                  forward of a stand-alone activation
//   OPERATION 1  output = left * activation'(right)         its backward; right is what forward saved
//   OPERATION 2  output = left + right                      residual sum
//   OPERATION 3  output = left                              gradient passed on
//   ACCUMULATE   adds to what output holds                  a value used twice
//
// Shapes    left, right, output: [count]; right is not read by 0 and 3.
// Dispatch  grid_1d(count, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;
override OPERATION: u32 = 0u;
override ACTIVATION: u32 = 0u;
override ACCUMULATE: bool = false;

struct Shape {
    count: u32,
}

var<immediate> values: Shape;
@group(0) @binding(0) var<storage, read_write> left: array<Real>;
@group(0) @binding(1) var<storage, read_write> right: array<Real>;
@group(0) @binding(2) var<storage, read_write> output: array<Out>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn elementwise(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i >= values.count {
        return;
    }
    var result = f32(left[i]);
    if OPERATION == 0u {
        result = activation_forward(ACTIVATION, result);
    } else if OPERATION == 1u {
        result *= activation_gradient(ACTIVATION, f32(right[i]));
    } else if OPERATION == 2u {
        result += f32(right[i]);
    }
    if ACCUMULATE {
        result += f32(output[i]);
    }
    output[i] = Out(result);
}
