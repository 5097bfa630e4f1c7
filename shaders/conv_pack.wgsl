// The weights of convolutions as their products read them: taps outermost, outputs in vec4s innermost.
//
//   output[tap, i, o] = weight[o, i, tap], 0 where o or i is padding
//
// Shapes    table: a row for each convolution; weight: from element `weight` of a row on its [out, in, taps], PyTorch's layout;
//           output: from vec4 `output` of a row on its [taps, 4 in_quads, out_quads] vec4s.
// Dispatch  grid_1d(workgroups of all rows, 1), folded. TILED: tiles of PACK_TERMS terms x PACK_OUTPUTS outputs, of 256
//           invocations: a workgroup reads along the terms [in, taps] and writes along the outputs, through its memory, so that
//           both are whole lines of a GPU's memory. Else ceil(taps * 4 in_quads * out_quads / WORKGROUP_SIZE) workgroups, one vec4
//           an invocation, without a barrier.

override WORKGROUP_SIZE: u32 = 64u;
override TILED: bool = false;

const PACK_TERMS: u32 = 32u;
const PACK_OUTPUTS: u32 = 64u;
const PACK_QUADS: u32 = PACK_OUTPUTS / 4u;
// One more than a row, so that a column lies in different banks.
const PACK_PITCH: u32 = PACK_TERMS + 1u;

struct PackRow {
    first: u32,
    weight: u32,
    output: u32,
    in_channels: u32,
    out_channels: u32,
    taps: u32,
}

@group(0) @binding(0) var<storage, read> table: array<PackRow>;
@group(0) @binding(1) var<storage, read_write> weight: array<Real>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<Real>>;

// [outputs, terms]
var<workgroup> tile: array<Real, PACK_OUTPUTS * PACK_PITCH>;

// Term `term` of output `o`.
fn pack_read(row: PackRow, terms: u32, o: u32, term: u32) -> Real {
    if o < row.out_channels && term < terms { return weight[row.weight + o * terms + term]; }
    return Real();
}

// Tile number `number` of a row, along the terms first.
fn pack_tile(row: PackRow, number: u32, local: u32) {
    let inputs = 4u * conv_quads(row.in_channels);
    let quads = conv_quads(row.out_channels);
    let terms = row.in_channels * row.taps;
    let columns = (inputs * row.taps + PACK_TERMS - 1u) / PACK_TERMS;
    let first_term = number % columns * PACK_TERMS;
    let first_output = number / columns * PACK_OUTPUTS;
    let column = local % PACK_TERMS;
    let lines = WORKGROUP_SIZE / PACK_TERMS;
    // Four at a time, so that their reads wait together.
    for (var line = local / PACK_TERMS; line < PACK_OUTPUTS; line += 4u * lines) {
        let o = first_output + line;
        let v0 = pack_read(row, terms, o, first_term + column);
        let v1 = pack_read(row, terms, o + lines, first_term + column);
        let v2 = pack_read(row, terms, o + 2u * lines, first_term + column);
        let v3 = pack_read(row, terms, o + 3u * lines, first_term + column);
        let at = line * PACK_PITCH + column;
        tile[at] = v0;
        tile[at + lines * PACK_PITCH] = v1;
        tile[at + 2u * lines * PACK_PITCH] = v2;
        tile[at + 3u * lines * PACK_PITCH] = v3;
    }
    workgroupBarrier();
    for (var at = local; at < PACK_QUADS * PACK_TERMS; at += WORKGROUP_SIZE) {
        let quad = first_output / 4u + at % PACK_QUADS;
        let term = first_term + at / PACK_QUADS;
        let i = term / row.taps;
        let tap = term - i * row.taps;
        let place = 4u * (at % PACK_QUADS) * PACK_PITCH + at / PACK_QUADS;
        if i < inputs && quad < quads {
            output[row.output + (tap * inputs + i) * quads + quad] = vec4<Real>(
                tile[place],
                tile[place + PACK_PITCH],
                tile[place + 2u * PACK_PITCH],
                tile[place + 3u * PACK_PITCH],
            );
        }
    }
}

// Vec4 number `index` of a row, neighbours taking neighbouring taps, which lie together in `weight`.
fn pack_vector(row: PackRow, index: u32) {
    let inputs = 4u * conv_quads(row.in_channels);
    let quads = conv_quads(row.out_channels);
    let tap = index % row.taps;
    let i = (index / row.taps) % inputs;
    let quad = index / (row.taps * inputs);
    if quad >= quads { return; }
    var packed = vec4<f32>();
    for (var j = 0u; j < 4u; j++) {
        let o = 4u * quad + j;
        if o < row.out_channels && i < row.in_channels {
            packed[j] = f32(weight[row.weight + (o * row.in_channels + i) * row.taps + tap]);
        }
    }
    output[row.output + (tap * inputs + i) * quads + quad] = vec4<Real>(packed);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn conv_pack(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let group = index_1d(workgroup, grid, 1u);
    let row = table[jobs_row(group)];
    if TILED {
        pack_tile(row, group - row.first, local);
    } else {
        pack_vector(row, WORKGROUP_SIZE * (group - row.first) + local);
    }
}
