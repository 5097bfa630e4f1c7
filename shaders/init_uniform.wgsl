// Uniform initialisation of one tensor.
//
//   weights[i] = bound * (2 u - 1),  u uniform in [0, 1) from Philox(seed, tensor, element), its own stream
//
// Shapes    weights: [count], all of a tensor or a part of it.
// Dispatch  grid_1d(ceil(count / 4), WORKGROUP_SIZE), folded; four elements an invocation.
// Source    torch.nn.Linear.reset_parameters: kaiming_uniform(a = sqrt 5), which is bound = 1 / sqrt(fan_in).

override WORKGROUP_SIZE: u32 = 64u;

const TWO_POW_MINUS_23: f32 = 1.1920928955078125e-7;

struct Init {
    count: u32,
    tensor: u32,
    seed_low: u32,
    seed_high: u32,
    bound: f32,
    // quads of the tensor before these weights
    first: u32,
}

var<immediate> values: Init;
@group(0) @binding(0) var<storage, read_write> weights: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn init_uniform(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let quad = index_1d(invocation, grid, WORKGROUP_SIZE);
    if quad * 4u >= values.count {
        return;
    }
    let key = vec2<u32>(values.seed_low, values.seed_high);
    let bits = philox(vec4<u32>(values.first + quad, values.tensor, 0u, NOISE_STREAM_INIT), key);
    let drawn = (vec4<f32>(bits >> vec4<u32>(8u)) * TWO_POW_MINUS_23 - 1.0) * values.bound;
    for (var lane = 0u; lane < min(4u, values.count - quad * 4u); lane++) {
        weights[quad * 4u + lane] = drawn[lane];
    }
}
