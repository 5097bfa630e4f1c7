// Gradients of Winograd's products from the gradient of the output, for a 3 x 3 convolution's weight gradient.
//
//   D[SIDE r + c, tile, channel] = (A dy A')[r, c],  dy: the tile's pixels of dY, zero past its edges
//
// Shapes    gradient: dY [batch, out_height, out_width, out_lanes]; output: D [SIDE^2, count, out_lanes], of tiles
//           `first` .. `first + count`; SIDE and lanes are those of shared/winograd_*.
// Dispatch  grid_1d(count * lanes, WORKGROUP_SIZE), folded; a lane of channels of a tile an invocation.

override WORKGROUP_SIZE: u32 = 64u;

var<immediate> values: WinogradTiles;
@group(0) @binding(0) var<storage, read_write> gradient: array<WinogradReal>;
@group(0) @binding(1) var<storage, read_write> output: array<WinogradLane>;

// Past an edge some other pixel is read, and none of it taken: a branch for each would have them wait for each other.
fn gradient_at(tile: vec3<u32>, row: u32, column: u32, lanes: u32, lane: u32) -> WinogradLane {
    let at = tile.yz + vec2<u32>(row, column);
    let place = min(at, vec2<u32>(values.out_height, values.out_width) - 1u);
    let pixel = (tile.x * values.out_height + place.x) * values.out_width + place.y;
    return select(WinogradLane(0.0), WinogradLane(gradient[pixel * lanes + lane]), all(at == place));
}

// A of one row of dy.
fn gradient_row(at: vec3<u32>, row: u32, lanes: u32, lane: u32) -> WinogradLine {
    var dy = winograd_four(gradient_at(at, row, 0u, lanes, lane), gradient_at(at, row, 1u, lanes, lane),
                           WinogradLane(0.0), WinogradLane(0.0));
    if WINOGRAD_PIXELS > 2u {
        dy[2] = gradient_at(at, row, 2u, lanes, lane);
        dy[3] = gradient_at(at, row, 3u, lanes, lane);
    }
    return winograd_gradients(dy);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn winograd_gradient(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let lanes = winograd_lanes(values.out_channels);
    let tile = index / lanes;
    if tile >= values.count { return; }
    let lane = index - tile * lanes;
    let at = winograd_tile(values.first + tile, vec2<u32>(values.out_height, values.out_width));
    var dy: WinogradTile;
    dy[0] = gradient_row(at, 0u, lanes, lane);
    dy[1] = gradient_row(at, 1u, lanes, lane);
    if WINOGRAD_PIXELS > 2u {
        dy[2] = gradient_row(at, 2u, lanes, lane);
        dy[3] = gradient_row(at, 3u, lanes, lane);
    }
    let stride = values.count * lanes;
    winograd_put(0u, index, stride, winograd_gradients(winograd_across(&dy, 0u)));
    winograd_put(1u, index, stride, winograd_gradients(winograd_across(&dy, 1u)));
    winograd_put(2u, index, stride, winograd_gradients(winograd_across(&dy, 2u)));
    winograd_put(3u, index, stride, winograd_gradients(winograd_across(&dy, 3u)));
    if WINOGRAD_SIDE > 4u {
        winograd_put(4u, index, stride, winograd_gradients(winograd_across(&dy, 4u)));
        winograd_put(5u, index, stride, winograd_gradients(winograd_across(&dy, 5u)));
    }
}
