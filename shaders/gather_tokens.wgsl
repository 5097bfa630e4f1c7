// A batch of tokens from the resident samples.
//
//   output[row, position] = samples[indices[first + row] * stride + position];  rows >= valid are 0
//
// Shapes    samples: [samples, length], where the stride is the length, or one text, where it is 1; indices: [positions of the
//           epoch], a sample's number, or the token at which its window of the text begins; output: [batch, length].
// Dispatch  grid_1d(batch * length, WORKGROUP_SIZE), folded; one token an invocation.

override WORKGROUP_SIZE: u32 = 64u;

struct Batch {
    first: u32,
    valid: u32,
    batch: u32,
    length: u32,
    stride: u32,
}

var<immediate> values: Batch;
@group(0) @binding(0) var<storage, read> samples: array<u32>;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read_write> output: array<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn gather_tokens(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let row = index / values.length;
    if row >= values.batch { return; }
    var token = 0u;
    if row < values.valid {
        token = samples[indices[values.first + row] * values.stride + index - row * values.length];
    }
    output[index] = token;
}
