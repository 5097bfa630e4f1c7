// The weights of a convolution as its products read them: taps outermost, outputs in vec4s innermost.
//
//   output[tap, i, o] = weight[o, i, tap], 0 where o or i is padding
//
// Shapes    weight: [out, in, taps], PyTorch's layout; output: [taps, 4 in_quads, out_quads] vec4s.
// Dispatch  TILED: grid_1d(tiles of PACK_TERMS terms x PACK_OUTPUTS outputs, 1), folded, of 256 invocations: a workgroup reads along
//           the terms [in, taps] and writes along the outputs, through its memory, so that both are whole lines of a GPU's memory.
//           Else grid_1d(taps * 4 in_quads * out_quads, WORKGROUP_SIZE), folded; one vec4 an invocation, without a barrier.

override WORKGROUP_SIZE: u32 = 64u;
override TILED: bool = false;

const PACK_TERMS: u32 = 32u;
const PACK_OUTPUTS: u32 = 64u;
const PACK_QUADS: u32 = PACK_OUTPUTS / 4u;
// One more than a row, so that a column lies in different banks.
const PACK_PITCH: u32 = PACK_TERMS + 1u;

var<immediate> values: ConvShape;
@group(0) @binding(0) var<storage, read_write> weight: array<Real>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<Real>>;

// [outputs, terms]
var<workgroup> tile: array<Real, PACK_OUTPUTS * PACK_PITCH>;

// Tile number `number`, along the terms first.
fn pack_tile(number: u32, local: u32) {
    let taps = values.kernel_height * values.kernel_width;
    let inputs = 4u * conv_quads(values.in_channels);
    let quads = conv_quads(values.out_channels);
    let terms = values.in_channels * taps;
    let columns = (inputs * taps + PACK_TERMS - 1u) / PACK_TERMS;
    let first_term = number % columns * PACK_TERMS;
    let first_output = number / columns * PACK_OUTPUTS;
    for (var at = local; at < PACK_OUTPUTS * PACK_TERMS; at += WORKGROUP_SIZE) {
        let o = first_output + at / PACK_TERMS;
        let term = first_term + at % PACK_TERMS;
        var value = Real();
        if o < values.out_channels && term < terms { value = weight[o * terms + term]; }
        tile[at / PACK_TERMS * PACK_PITCH + at % PACK_TERMS] = value;
    }
    workgroupBarrier();
    for (var at = local; at < PACK_QUADS * PACK_TERMS; at += WORKGROUP_SIZE) {
        let quad = first_output / 4u + at % PACK_QUADS;
        let term = first_term + at / PACK_QUADS;
        let i = term / taps;
        let tap = term % taps;
        let place = 4u * (at % PACK_QUADS) * PACK_PITCH + at / PACK_QUADS;
        if i < inputs && quad < quads {
            output[(tap * inputs + i) * quads + quad] = vec4<Real>(
                tile[place],
                tile[place + PACK_PITCH],
                tile[place + 2u * PACK_PITCH],
                tile[place + 3u * PACK_PITCH],
            );
        }
    }
}

// Vec4 number `index`, neighbours taking neighbouring taps, which lie together in `weight`.
fn pack_vector(index: u32) {
    let taps = values.kernel_height * values.kernel_width;
    let inputs = 4u * conv_quads(values.in_channels);
    let quads = conv_quads(values.out_channels);
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

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv_pack(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let group = index_1d(workgroup, grid, 1u);
    if TILED {
        pack_tile(group, local);
    } else {
        pack_vector(WORKGROUP_SIZE * group + local);
    }
}
