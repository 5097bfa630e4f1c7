// One step of an exponential moving average.
//
//   average[i] = average[i] + (1 - decay) (input[i] - average[i])
//
// Shapes    input, average: [count] vec4s. Dispatch  grid_1d(count, WORKGROUP_SIZE), folded.

override WORKGROUP_SIZE: u32 = 64u;

struct Average {
    count: u32,
    one_minus_decay: f32,
}

var<immediate> values: Average;
@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> average: array<vec4<f32>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn moving_average(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i < values.count {
        average[i] += values.one_minus_decay * (input[i] - average[i]);
    }
}
