// The weights of a 3 x 3 convolution as Winograd's products read them.
//
//   U[SIDE r + c, i, o] = (G g G')[r, c],  g: W[., i, o], turned by half in a data gradient
//
// Shapes    packed: W [9, 4 in_quads, out_lanes], as conv_pack.wgsl leaves it; output: U [SIDE^2, 4 in_quads, out_lanes]; SIDE and
//           lanes are those of shared/winograd_*.
// Dispatch  grid_1d(4 in_quads * out_lanes, WORKGROUP_SIZE), folded; a lane of outputs an invocation.

override WORKGROUP_SIZE: u32 = 64u;
override PASS: u32 = 0u;

var<immediate> values: ConvShape;
@group(0) @binding(0) var<storage, read_write> packed: array<WinogradReal>;
@group(0) @binding(1) var<storage, read_write> output: array<WinogradLane>;

fn tap(row: u32, column: u32, at: u32, stride: u32) -> WinogradLane {
    let forward = 3u * row + column;
    return WinogradLane(packed[select(8u - forward, forward, PASS == CONV_FORWARD) * stride + at]);
}

// G of one row of g.
fn weight_row(row: u32, at: u32, stride: u32) -> WinogradLine {
    let g = winograd_four(tap(row, 0u, at, stride), tap(row, 1u, at, stride), tap(row, 2u, at, stride), WinogradLane());
    return winograd_filter(g);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn winograd_weight(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let at = index_1d(invocation, grid, WORKGROUP_SIZE);
    let stride = 4u * conv_quads(values.in_channels) * winograd_lanes(values.out_channels);
    if at >= stride { return; }
    var g: WinogradTile;
    g[0] = weight_row(0u, at, stride);
    g[1] = weight_row(1u, at, stride);
    g[2] = weight_row(2u, at, stride);
    winograd_put(0u, at, stride, winograd_filter(winograd_across(&g, 0u)));
    winograd_put(1u, at, stride, winograd_filter(winograd_across(&g, 1u)));
    winograd_put(2u, at, stride, winograd_filter(winograd_across(&g, 2u)));
    winograd_put(3u, at, stride, winograd_filter(winograd_across(&g, 3u)));
    if WINOGRAD_SIDE > 4u {
        winograd_put(4u, at, stride, winograd_filter(winograd_across(&g, 4u)));
        winograd_put(5u, at, stride, winograd_filter(winograd_across(&g, 5u)));
    }
}
