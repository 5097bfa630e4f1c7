// The source pixels of a 3 x 3 convolution as Winograd's products read them.
//
//   V[SIDE r + c, tile, channel] = (B' d B)[r, c],  d: the tile's SIDE x SIDE pixels of the source, 0 outside of the image
//
// Shapes    input: X [batch, in_height, in_width, in_lanes], or dY [batch, out_height, out_width, out_lanes] in a data gradient;
//           output: V [SIDE^2, count, lanes], of tiles `first` .. `first + count`; SIDE and lanes are those of shared/winograd_*.
// Dispatch  grid_1d(count * lanes, WORKGROUP_SIZE), folded; a lane of channels of a tile an invocation: neighbours read and write
//           neighbours.

override WORKGROUP_SIZE: u32 = 64u;
override PASS: u32 = 0u;

var<immediate> values: WinogradTiles;
@group(0) @binding(0) var<storage, read_write> input: array<WinogradReal>;
@group(0) @binding(1) var<storage, read_write> output: array<WinogradLane>;

// A lane of an image, and of its pixels those of a tile, which may begin outside of it.
struct Source {
    image: u32,
    start: vec2<i32>,
    sides: vec2<u32>,
    lanes: u32,
    lane: u32,
}

// Past an edge some other pixel is read, and none of it taken: a branch for each would have them wait for each other.
fn source_at(source: Source, row: i32, column: i32) -> WinogradLane {
    // Negative numbers wrap to large ones.
    let at = bitcast<vec2<u32>>(source.start + vec2<i32>(row, column));
    let place = min(at, source.sides - 1u);
    let pixel = (source.image * source.sides.x + place.x) * source.sides.y + place.y;
    return select(WinogradLane(), WinogradLane(input[pixel * source.lanes + source.lane]), all(at == place));
}

// B' of one row of d.
fn source_row(source: Source, row: i32) -> WinogradLine {
    var d = winograd_four(source_at(source, row, 0), source_at(source, row, 1),
                          source_at(source, row, 2), source_at(source, row, 3));
    if WINOGRAD_SIDE > 4u {
        d[4] = source_at(source, row, 4);
        d[5] = source_at(source, row, 5);
    }
    return winograd_source(d);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn winograd_input(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let is_forward = PASS == CONV_FORWARD;
    let lanes = winograd_lanes(select(values.out_channels, values.in_channels, is_forward));
    let tile = index / lanes;
    if tile >= values.count { return; }
    let sides = winograd_sides(values, is_forward);
    let at = winograd_tile(values.first + tile, sides.result);
    let source = Source(at.x, vec2<i32>(at.yz) - sides.padding, sides.source, lanes, index - tile * lanes);
    var d: WinogradTile;
    d[0] = source_row(source, 0);
    d[1] = source_row(source, 1);
    d[2] = source_row(source, 2);
    d[3] = source_row(source, 3);
    if WINOGRAD_SIDE > 4u {
        d[4] = source_row(source, 4);
        d[5] = source_row(source, 5);
    }
    let stride = values.count * lanes;
    winograd_put(0u, index, stride, winograd_source(winograd_across(&d, 0u)));
    winograd_put(1u, index, stride, winograd_source(winograd_across(&d, 1u)));
    winograd_put(2u, index, stride, winograd_source(winograd_across(&d, 2u)));
    winograd_put(3u, index, stride, winograd_source(winograd_across(&d, 3u)));
    if WINOGRAD_SIDE > 4u {
        winograd_put(4u, index, stride, winograd_source(winograd_across(&d, 4u)));
        winograd_put(5u, index, stride, winograd_source(winograd_across(&d, 5u)));
    }
}
