// Sums of chunks of rows, the first stage of a long sum over rows; column_sum.wgsl is the second.
//
//   output[chunk, c] = sum over the chunk's rows of input[row, c]
//
// Shapes    input: [rows, quads] vec4s; output: [chunks, quads] vec4s.
// Dispatch  grid_1d(chunks * quads, WORKGROUP_SIZE), folded; one invocation a quad of a chunk, sequential.

override WORKGROUP_SIZE: u32 = 64u;

struct Shape {
    rows: u32,
    quads: u32,
    rows_per_chunk: u32,
}

var<immediate> values: Shape;
@group(0) @binding(0) var<storage, read_write> input: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn chunk_sum(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let chunk = index / values.quads;
    let first = chunk * values.rows_per_chunk;
    if first >= values.rows { return; }
    let quad = index - chunk * values.quads;
    var sum = vec4<f32>();
    for (var row = first; row < min(first + values.rows_per_chunk, values.rows); row++) {
        sum += vec4<f32>(input[row * values.quads + quad]);
    }
    output[index] = sum;
}
