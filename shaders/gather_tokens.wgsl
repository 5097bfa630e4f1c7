// A batch of tokens from the resident samples.
//
//   output[row, position] = samples[indices[first + row], position];  rows >= valid are 0
//
// Shapes    samples: [samples, length]; indices: [positions of the epoch], a sample's place in `samples`; output: [batch, length].
// Dispatch  grid_1d(batch * length, WORKGROUP_SIZE), folded; one token an invocation.

override WORKGROUP_SIZE: u32 = 64u;

struct Batch {
    first: u32,
    valid: u32,
    batch: u32,
    length: u32,
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
        token = samples[indices[values.first + row] * values.length + index - row * values.length];
    }
    output[index] = token;
}
