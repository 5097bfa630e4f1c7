// SwiGLU without its products, and its derivatives: the first half of each vector gates the second.
//
//   gate, value = halves of input[row];  silu(x) = x sigmoid(x)
//   OPERATION 0  output[row] = silu(gate) value                             forward
//   OPERATION 1  output[row] = silu'(gate) gate' value + silu(gate) value'  its tangent; a prime is `tangent`
//   OPERATION 2  output[row] = (g silu'(gate) value, g silu(gate))          its gradient
//   OPERATION 3  output[row] = (g (silu''(gate) gate' value + silu'(gate) value'), g silu'(gate) gate')
//                                                                           the gradient's tangent at a fixed g
//   ACCUMULATE   adds to what output holds
//
// Shapes    input, tangent: [rows, 2 features]; grad (g): [rows, features]; output: [rows, features], of 2 and 3 [rows, 2 features].
//           grad is read by 2 and 3 alone, tangent by 1 and 3.
// Dispatch  grid_1d(rows * features, WORKGROUP_SIZE), folded; a gate with its value an invocation.
// Source    Shazeer, "GLU variants improve transformer", 2020.

override WORKGROUP_SIZE: u32 = 64u;
override OPERATION: u32 = 0u;
override ACCUMULATE: bool = false;

struct Shape {
    rows: u32,
    features: u32,
}

var<immediate> values: Shape;
@group(0) @binding(0) var<storage, read_write> input: array<Real>;
@group(0) @binding(1) var<storage, read_write> grad: array<Real>;
@group(0) @binding(2) var<storage, read_write> tangent: array<Real>;
@group(0) @binding(3) var<storage, read_write> output: array<Real>;

fn put(at: u32, result: f32) {
    var value = result;
    if ACCUMULATE { value += f32(output[at]); }
    output[at] = Real(value);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn swiglu(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let row = index / values.features;
    if row >= values.rows { return; }
    let first = index + row * values.features; // of the gate in [rows, 2 features]
    let second = first + values.features;
    let gate = f32(input[first]);
    let value = f32(input[second]);
    let gated = activation_forward(ACTIVATION_SILU, gate);
    if OPERATION == 0u {
        put(index, gated * value);
        return;
    }
    let slope = activation_gradient(ACTIVATION_SILU, gate);
    if OPERATION == 1u {
        put(index, slope * f32(tangent[first]) * value + gated * f32(tangent[second]));
        return;
    }
    let g = f32(grad[index]);
    if OPERATION == 2u {
        put(first, g * slope * value);
        put(second, g * gated);
        return;
    }
    let gate_tangent = f32(tangent[first]);
    let bend = activation_curvature(ACTIVATION_SILU, gate);
    put(first, g * (bend * gate_tangent * value + slope * f32(tangent[second])));
    put(second, g * slope * gate_tangent);
}
