// Normal initialisation of one tensor.
//
//   weights[i] = deviation z,  z standard normal from Philox(seed, tensor, element), the stream of initialisation
//
// Shapes    weights: [count], all of a tensor or a part of it.
// Dispatch  grid_1d(ceil(count / 8), WORKGROUP_SIZE), folded; eight elements an invocation, those of a call of Philox
//           (shared/noise.wgsl).
// Source    torch.nn.init.normal_; GPT-2 begins with a standard deviation of 0.02.

override WORKGROUP_SIZE: u32 = 64u;

struct Init {
    count: u32,
    tensor: u32,
    seed_low: u32,
    seed_high: u32,
    deviation: f32,
    // octets of the tensor before these weights
    first: u32,
}

var<immediate> values: Init;
@group(0) @binding(0) var<storage, read_write> weights: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn init_normal(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let octet = index_1d(invocation, grid, WORKGROUP_SIZE);
    if octet * 8u >= values.count {
        return;
    }
    let key = vec2<u32>(values.seed_low, values.seed_high);
    let bits = philox(vec4<u32>(values.first + octet, values.tensor, 0u, NOISE_STREAM_INIT), key);
    var drawn = noise_unit(NOISE_GAUSSIAN, bits);
    for (var lane = 0u; lane < min(8u, values.count - octet * 8u); lane++) {
        weights[octet * 8u + lane] = drawn[lane / 4u][lane % 4u] * values.deviation;
    }
}
