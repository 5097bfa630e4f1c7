// Sum over the batch: the gradient of a bias.
//
//   output[c] (+)= sum_row input[row, c]
//
// Shapes    input: [rows, stride], of which the first columns count; output: [columns]. ACCUMULATE adds to what is there.
// Dispatch  grid_1d(columns, WORKGROUP_SIZE), folded; one invocation a column, sequential, so always the same bits.

override WORKGROUP_SIZE: u32 = 64u;
override ACCUMULATE: bool = false;

struct Shape {
    rows: u32,
    columns: u32,
    stride: u32,
}

var<immediate> values: Shape;
@group(0) @binding(0) var<storage, read_write> input: array<Real>;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn column_sum(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let c = index_1d(invocation, grid, WORKGROUP_SIZE);
    if c >= values.columns {
        return;
    }
    var sum = 0.0;
    for (var row = 0u; row < values.rows; row++) {
        sum += f32(input[row * values.stride + c]);
    }
    if ACCUMULATE {
        sum += output[c];
    }
    output[c] = sum;
}
