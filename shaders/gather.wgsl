// A batch from the resident bytes.
//
//   output[row, f] = pixels[indices[first + row], f] * scale + shift   for row < valid, else 0
//
// Shapes    pixels: [samples, features] bytes, four to a word; indices: [samples]; output: [batch, features].
// Dispatch  grid_1d(batch * features, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;

struct Batch {
    first: u32,
    valid: u32,
    count: u32,
    features: u32,
    scale: f32,
    shift: f32,
}

var<immediate> values: Batch;
@group(0) @binding(0) var<storage, read> pixels: array<u32>;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn gather(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i >= values.count {
        return;
    }
    let row = i / values.features;
    var value = 0.0;
    if row < values.valid {
        let byte = indices[values.first + row] * values.features + i % values.features;
        value = f32((pixels[byte / 4u] >> (8u * (byte % 4u))) & 255u) * values.scale + values.shift;
    }
    output[i] = value;
}
