// Winograd's F(m x m, 3 x 3): m x m pixels of a 3 x 3 correlation from m + 2 x m + 2 pixels, by (m + 2)^2 multiplications in place
// of 9 m^2.
//
//   Y = A' [ (G g G') * (B' d B) ] A,  d: m + 2 x m + 2 source pixels, g: 3 x 3 weights, * elementwise, a sum over channels within
//
// The matrices are those of shared/winograd_2.wgsl (m = 2) or shared/winograd_4.wgsl (m = 4), which transform a line at a time.
// A data gradient is the correlation of dY with the kernel turned by half, and 2 - padding for its padding.

// Of each line of a tile what its kernel says; of F(2 x 2) there are four at most, and the rest is nothing. Always indexed by what
// is a constant where the functions are put together, so that tiles stay in registers.
alias WinogradLine = array<WinogradLane, 6>;
alias WinogradTile = array<WinogradLine, 6>;

fn winograd_four(x0: WinogradLane, x1: WinogradLane, x2: WinogradLane, x3: WinogradLane) -> WinogradLine {
    return WinogradLine(x0, x1, x2, x3, WinogradLane(0.0), WinogradLane(0.0));
}

// Element i of every line.
fn winograd_across(tile: ptr<function, WinogradTile>, i: u32) -> WinogradLine {
    return WinogradLine((*tile)[0][i], (*tile)[1][i], (*tile)[2][i], (*tile)[3][i], (*tile)[4][i], (*tile)[5][i]);
}

// Lanes that the channels of an image are, padded to quads as they are.
fn winograd_lanes(channels: u32) -> u32 {
    return conv_quads(channels) * (4u / WINOGRAD_LANES);
}

// A run of tiles of m x m result pixels, numbered through images, rows and columns; of the convolution what a 3 x 3 one with
// neither strides nor dilation nor groups leaves open, because WebGPU grants 64 bytes of immediates.
struct WinogradTiles {
    in_height: u32,
    in_width: u32,
    in_channels: u32,
    out_height: u32,
    out_width: u32,
    out_channels: u32,
    padding_height: u32,
    padding_width: u32,
    first: u32,
    count: u32,
}

// Height and width of what is read and of what is made, and the padding, which a data gradient may have below 0.
struct WinogradSides {
    source: vec2<u32>,
    result: vec2<u32>,
    padding: vec2<i32>,
}

fn winograd_sides(tiles: WinogradTiles, is_forward: bool) -> WinogradSides {
    let input = vec2<u32>(tiles.in_height, tiles.in_width);
    let output = vec2<u32>(tiles.out_height, tiles.out_width);
    let padding = vec2<i32>(vec2<u32>(tiles.padding_height, tiles.padding_width));
    if is_forward { return WinogradSides(input, output, padding); }
    return WinogradSides(output, input, vec2<i32>(2, 2) - padding);
}

// Image, and first row and column of the result, of a tile.
fn winograd_tile(tile: u32, result: vec2<u32>) -> vec3<u32> {
    let tiles = (result + vec2<u32>(WINOGRAD_PIXELS - 1u)) / WINOGRAD_PIXELS;
    let line = tile / tiles.y;
    let image = line / tiles.x;
    return vec3<u32>(image, WINOGRAD_PIXELS * (line - image * tiles.x), WINOGRAD_PIXELS * (tile - line * tiles.y));
}
