// The weights of a convolution as its products read them: taps outermost, outputs in vec4s innermost.
//
//   output[tap, i, o] = weight[o, i, tap], 0 where o or i is padding
//
// Shapes    weight: [out, in, taps], PyTorch's layout; output: [taps, 4 in_quads, out_quads] vec4s.
// Dispatch  grid_1d(taps * 4 in_quads * out_quads, WORKGROUP_SIZE), folded; one vec4 an invocation.

override WORKGROUP_SIZE: u32 = 64u;

var<immediate> values: ConvShape;
@group(0) @binding(0) var<storage, read_write> weight: array<Real>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<Real>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv_pack(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let taps = values.kernel_height * values.kernel_width;
    let inputs = 4u * conv_quads(values.in_channels);
    let quads = conv_quads(values.out_channels);
    // Neighbouring invocations take neighbouring taps, which lie together in `weight`.
    let tap = index % taps;
    let i = (index / taps) % inputs;
    let quad = index / (taps * inputs);
    if quad >= quads { return; }
    var packed = vec4<f32>();
    for (var j = 0u; j < 4u; j++) {
        let o = 4u * quad + j;
        if o < values.out_channels && i < values.in_channels {
            packed[j] = f32(weight[(o * values.in_channels + i) * taps + tap]);
        }
    }
    output[(tap * inputs + i) * quads + quad] = vec4<Real>(packed);
}
