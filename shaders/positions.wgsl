// A tensor that all samples share, added to each.
//
//   output[n, i] (+)= input[n, i] + weight[i];  without INPUT weight[i] alone
//
// Shapes    input, output: [batch, count]; weight: [count]. ACCUMULATE adds to what is there.
// Dispatch  grid_1d(batch * count, WORKGROUP_SIZE), folded; one element an invocation.

override WORKGROUP_SIZE: u32 = 64u;
override INPUT: bool = true;
override ACCUMULATE: bool = false;

struct Shape {
    batch: u32,
    count: u32,
}

var<immediate> values: Shape;
@group(0) @binding(0) var<storage, read_write> input: array<Real>;
@group(0) @binding(1) var<storage, read_write> weight: array<Real>;
@group(0) @binding(2) var<storage, read_write> output: array<Real>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn positions(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let n = index / values.count;
    if n >= values.batch { return; }
    var value = f32(weight[index - n * values.count]);
    if INPUT { value += f32(input[index]); }
    if ACCUMULATE { value += f32(output[index]); }
    output[index] = Real(value);
}
