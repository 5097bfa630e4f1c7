// Sums over rows: the gradient of a bias. A long sum is cut into parts, which a second run adds up.
//
//   output[part, c] (+)= sum over the part's rows of input[row, c]
//
// Shapes    input: [rows, stride], of which the first columns count; output: [parts, columns]. ACCUMULATE adds to what is
//           there.
// Dispatch  parts * ceil(columns / SUMS) workgroups of (SUMS, LANES), folded: neighbours read neighbouring columns, and each of
//           a column's LANES takes every LANES-th row of the part, then a tree; so always the same bits.

override SUMS: u32 = 32u;
override LANES: u32 = 1u;
override ACCUMULATE: bool = false;

struct Shape {
    rows: u32,
    columns: u32,
    stride: u32,
    parts: u32,
}

var<immediate> values: Shape;
@group(0) @binding(0) var<storage, read_write> input: array<Real>;
@group(0) @binding(1) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(SUMS, LANES)
fn column_sum(
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let blocks = (values.columns + SUMS - 1u) / SUMS;
    let index = index_1d(workgroup, grid, 1u);
    let part = index / blocks;
    let c = (index - part * blocks) * SUMS + local.x;
    let is_there = part < values.parts && c < values.columns;
    let rows = part_of_sum(part, values.parts, values.rows, 1u);
    let end = select(0u, rows.y, is_there);
    var own = 0.0;
    for (var row = rows.x + local.y; row < end; row += LANES) {
        own += f32(input[row * values.stride + c]);
    }
    var sum = tree_sum(tree_in_column(local, SUMS), vec4<f32>(own)).x;
    if is_there && local.y == 0u {
        let at = part * values.columns + c;
        if ACCUMULATE { sum += output[at]; }
        output[at] = sum;
    }
}
