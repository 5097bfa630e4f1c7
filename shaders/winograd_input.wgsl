// The source pixels of a 3 x 3 convolution as Winograd's products read them.
//
//   V[4 r + c, tile, channel] = (B' d B)[r, c],  d: the tile's 4 x 4 pixels of the source, 0 outside of the image
//   B' = 1  0 -1  0
//        0  1  1  0
//        0 -1  1  0
//        0  1  0 -1
//
// Shapes    input: X [batch, in_height, in_width, in_quads], or dY [batch, out_height, out_width, out_quads] in a data
//           gradient, vec4s; output: V [16, count, quads] vec4s, tiles `first` .. `first + count`.
// Dispatch  grid_1d(count * quads, WORKGROUP_SIZE), folded; a quad of channels of a tile an invocation: neighbours read
//           and write neighbours.

override WORKGROUP_SIZE: u32 = 64u;
override PASS: u32 = 0u;

var<immediate> values: WinogradTiles;
@group(0) @binding(0) var<storage, read_write> input: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

fn source_at(image: u32, position: vec2<i32>, source: vec2<u32>, quads: u32, quad: u32) -> vec4<f32> {
    let at = bitcast<vec2<u32>>(position); // past an edge it is as large as a wrapped negative number
    if at.x >= source.x || at.y >= source.y { return vec4<f32>(); }
    return vec4<f32>(input[((image * source.x + at.x) * source.y + at.y) * quads + quad]);
}

// d B of one row of d.
fn source_row(image: u32, start: vec2<i32>, source: vec2<u32>, quads: u32, quad: u32) -> mat4x4<f32> {
    let d0 = source_at(image, start, source, quads, quad);
    let d1 = source_at(image, start + vec2<i32>(0, 1), source, quads, quad);
    let d2 = source_at(image, start + vec2<i32>(0, 2), source, quads, quad);
    let d3 = source_at(image, start + vec2<i32>(0, 3), source, quads, quad);
    return mat4x4<f32>(d0 - d2, d1 + d2, d2 - d1, d1 - d3);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn winograd_input(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let is_forward = PASS == CONV_FORWARD;
    let quads = conv_quads(select(values.out_channels, values.in_channels, is_forward));
    let tile = index / quads;
    if tile >= values.count { return; }
    let quad = index - tile * quads;
    let sides = winograd_sides(values, is_forward);
    let at = winograd_tile(values.first + tile, sides.result);
    let start = vec2<i32>(at.yz) - sides.padding;
    let d0 = source_row(at.x, start, sides.source, quads, quad);
    let d1 = source_row(at.x, start + vec2<i32>(1, 0), sides.source, quads, quad);
    let d2 = source_row(at.x, start + vec2<i32>(2, 0), sides.source, quads, quad);
    let d3 = source_row(at.x, start + vec2<i32>(3, 0), sides.source, quads, quad);
    let stride = values.count * quads;
    winograd_put(0u, index, stride, d0 - d2);
    winograd_put(1u, index, stride, d1 + d2);
    winograd_put(2u, index, stride, d2 - d1);
    winograd_put(3u, index, stride, d1 - d3);
}
