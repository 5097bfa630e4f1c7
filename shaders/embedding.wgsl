// Rows of a table by number: each token's vector.
//
//   output[row, c] = weight[token[row] - first, c];  a token past the vocabulary is taken for the last
//
// Shapes    weight: [count, features], the part of [vocabulary, features] from row `first` on, or all; tokens: [rows]; output:
//           [rows, features], of which rows of other tokens than the part's stay as they are.
// Dispatch  grid_1d(rows * features, WORKGROUP_SIZE), folded; one element an invocation.
// Source    torch.nn.Embedding.

override WORKGROUP_SIZE: u32 = 64u;

struct Shape {
    rows: u32,
    features: u32,
    vocabulary: u32,
    first: u32,
    count: u32,
}

var<immediate> values: Shape;
@group(0) @binding(0) var<storage, read_write> weight: array<Real>;
@group(0) @binding(1) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(2) var<storage, read_write> output: array<Real>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn embedding(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let row = index / values.features;
    if row >= values.rows { return; }
    let token = min(tokens[row], values.vocabulary - 1u) - values.first;
    if token >= values.count { return; }
    output[index] = weight[token * values.features + index - row * values.features];
}
