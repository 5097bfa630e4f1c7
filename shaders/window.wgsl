// A part of each sample copied to a place in another tensor's, behind a head that all samples share: tokens before sequences, single
// vectors out of sequences, and the gradients of both.
//
//   output[n, i] (+)= head[i]                     i < head_count, with HEAD
//                     input[n, first + i - to]     to <= i < to + count, with INPUT
//                     0                           elsewhere
//
// Shapes    head: [head_count]; input: [batch, input_stride]; output: [batch, output_stride]. ACCUMULATE adds to what is there.
// Dispatch  grid_1d(batch * output_stride, WORKGROUP_SIZE), folded; one element an invocation.

override WORKGROUP_SIZE: u32 = 64u;
override HEAD: bool = false;
override INPUT: bool = true;
override ACCUMULATE: bool = false;

struct Shape {
    batch: u32,
    input_stride: u32,
    output_stride: u32,
    head_count: u32,
    // Elements of a sample: the first that is read, the first that is written, how many.
    first: u32,
    to: u32,
    count: u32,
}

var<immediate> values: Shape;
@group(0) @binding(0) var<storage, read_write> input: array<Real>;
@group(0) @binding(1) var<storage, read_write> head: array<Real>;
@group(0) @binding(2) var<storage, read_write> output: array<Real>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn window(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let n = index / values.output_stride;
    if n >= values.batch { return; }
    let i = index - n * values.output_stride;
    var value = 0.0;
    if HEAD {
        if i < values.head_count { value = f32(head[i]); }
    }
    if INPUT {
        // Before `to` the difference wraps to a large number.
        let place = i - values.to;
        if place < values.count { value = f32(input[n * values.input_stride + values.first + place]); }
    }
    if ACCUMULATE { value += f32(output[index]); }
    output[index] = Real(value);
}
