// Gradients of Winograd's products from the gradient of the output, for a 3 x 3 convolution's weight gradient.
//
//   D[4 r + c, tile, channel] = (A dy A')[r, c],  dy: the tile's 2 x 2 pixels of dY, zero past its edges
//   A = 1  0
//       1  1
//       1 -1
//       0 -1
//
// Shapes    gradient: dY [batch, out_height, out_width, out_quads]; output: D [16, count, out_quads], of tiles
//           `first` .. `first + count`; vec4s.
// Dispatch  grid_1d(count * quads, WORKGROUP_SIZE), folded; a quad of channels of a tile an invocation.

override WORKGROUP_SIZE: u32 = 64u;

var<immediate> values: WinogradTiles;
@group(0) @binding(0) var<storage, read_write> gradient: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

// dy A' of one row of dy.
fn gradient_row(image: u32, at: vec2<u32>, sides: vec2<u32>, quads: u32, quad: u32) -> mat4x4<f32> {
    if at.x >= sides.x { return mat4x4<f32>(); }
    let first = ((image * sides.x + at.x) * sides.y + at.y) * quads + quad;
    let d0 = vec4<f32>(gradient[first]);
    var d1 = vec4<f32>();
    if at.y + 1u < sides.y { d1 = vec4<f32>(gradient[first + quads]); }
    return mat4x4<f32>(d0, d0 + d1, d0 - d1, -d1);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn winograd_gradient(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let quads = conv_quads(values.out_channels);
    let tile = index / quads;
    if tile >= values.count { return; }
    let quad = index - tile * quads;
    let sides = vec2<u32>(values.out_height, values.out_width);
    let at = winograd_tile(values.first + tile, sides);
    let d0 = gradient_row(at.x, at.yz, sides, quads, quad);
    let d1 = gradient_row(at.x, at.yz + vec2<u32>(1u, 0u), sides, quads, quad);
    let stride = values.count * quads;
    winograd_put(0u, index, stride, d0);
    winograd_put(1u, index, stride, d0 + d1);
    winograd_put(2u, index, stride, d0 - d1);
    winograd_put(3u, index, stride, -1.0 * d1);
}
