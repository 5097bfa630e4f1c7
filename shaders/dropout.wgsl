// Dropout: a mask that is a pure function of (seed, step, layer, element), the same forward and backward.
//
//   output[i] (+)= input[i] / (1 - p) where the element's word is at least p 2^32, else 0
//
// Shapes    input, output: [count]. Dispatch  grid_1d(ceil(count / 4), WORKGROUP_SIZE), folded; four elements an invocation.
// Noise     counter (element / 4, layer, step, NOISE_STREAM_DROPOUT), key = seed; word element % 4.
// Source    Srivastava et al., JMLR 2014, scaled in training as torch.nn.Dropout.

override WORKGROUP_SIZE: u32 = 64u;
override ACCUMULATE: bool = false;

struct Dropout {
    count: u32,
    layer: u32,
    threshold: u32,
    scale: f32,
    step: u32,
    seed_low: u32,
    seed_high: u32,
}

var<immediate> values: Dropout;
@group(0) @binding(0) var<storage, read_write> input: array<Real>;
@group(0) @binding(1) var<storage, read_write> output: array<Real>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn dropout(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let quad = index_1d(invocation, grid, WORKGROUP_SIZE);
    if quad * 4u >= values.count { return; }
    let key = vec2<u32>(values.seed_low, values.seed_high);
    let bits = philox(vec4<u32>(quad, values.layer, values.step, NOISE_STREAM_DROPOUT), key);
    for (var j = 0u; j < min(4u, values.count - quad * 4u); j++) {
        let i = quad * 4u + j;
        var value = select(0.0, f32(input[i]) * values.scale, bits[j] >= values.threshold);
        if ACCUMULATE { value += f32(output[i]); }
        output[i] = Real(value);
    }
}
