// The weights of a 3 x 3 convolution as Winograd's products read them.
//
//   U[4 r + c, i, o] = (G g G')[r, c],  g: W[., i, o], turned by half in a data gradient
//   G = 1    0    0
//       1/2  1/2  1/2
//       1/2 -1/2  1/2
//       0    0    1
//
// Shapes    packed: W [9, 4 in_quads, out_quads], as conv_pack.wgsl leaves it; output: U [16, 4 in_quads, out_quads]; vec4s.
// Dispatch  grid_1d(4 in_quads * out_quads, WORKGROUP_SIZE), folded; one vec4 of outputs an invocation.

override WORKGROUP_SIZE: u32 = 64u;
override PASS: u32 = 0u;

var<immediate> values: ConvShape;
@group(0) @binding(0) var<storage, read_write> packed: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

fn tap(row: u32, column: u32, at: u32, stride: u32) -> vec4<f32> {
    let forward = 3u * row + column;
    return vec4<f32>(packed[select(8u - forward, forward, PASS == CONV_FORWARD) * stride + at]);
}

// g G' of one row of g.
fn weight_row(row: u32, at: u32, stride: u32) -> mat4x4<f32> {
    let g0 = tap(row, 0u, at, stride);
    let g1 = tap(row, 1u, at, stride);
    let g2 = tap(row, 2u, at, stride);
    return mat4x4<f32>(g0, 0.5 * (g0 + g1 + g2), 0.5 * (g0 - g1 + g2), g2);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn winograd_weight(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let at = index_1d(invocation, grid, WORKGROUP_SIZE);
    let stride = 4u * conv_quads(values.in_channels) * conv_quads(values.out_channels);
    if at >= stride { return; }
    let g0 = weight_row(0u, at, stride);
    let g1 = weight_row(1u, at, stride);
    let g2 = weight_row(2u, at, stride);
    winograd_put(0u, at, stride, g0);
    winograd_put(1u, at, stride, 0.5 * (g0 + g1 + g2));
    winograd_put(2u, at, stride, 0.5 * (g0 - g1 + g2));
    winograd_put(3u, at, stride, g2);
}
