// Nothing: what a dispatch costs before it does anything, its barrier included.
//
//   output[0] = 0
//
// Shapes    output: [1]; bound for writing, so that one dispatch waits for the other as those of a training step do.
// Dispatch  one workgroup of one invocation.

@group(0) @binding(0) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(1)
fn empty() {
    output[0] = 0.0;
}
