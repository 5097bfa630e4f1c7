// The adapter's memory bandwidth, as training's kernels use it: straight through whole tensors, a vec4 at a time.
//
//   OPERANDS 0  output[i] = sum_k a[i + k count], k < per_invocation     little but reads, as sums over a batch
//   OPERANDS 1  output[i] = a[i]                                         copy
//   OPERANDS 2  output[i] = a[i] + scale * b[i]                          triad (McCalpin's STREAM)
//
// Shapes    a: [count * per_invocation] vec4s for 0, else [count]; b: [count], read by 2 alone; output: [count].
// Dispatch  grid_1d(count, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;
override OPERANDS: u32 = 2u;

struct Stream {
    count: u32,
    per_invocation: u32,
    scale: f32,
}

var<immediate> values: Stream;
@group(0) @binding(0) var<storage, read_write> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn stream(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i >= values.count {
        return;
    }
    if OPERANDS == 0u {
        var sum = vec4<f32>();
        for (var k = 0u; k < values.per_invocation; k++) {
            sum += a[i + k * values.count];
        }
        output[i] = sum;
    } else if OPERANDS == 1u {
        output[i] = a[i];
    } else {
        output[i] = a[i] + values.scale * b[i];
    }
}
