// Winograd's F(2 x 2, 3 x 3): 2 x 2 pixels of a 3 x 3 correlation from 4 x 4 pixels by 16 multiplications in place of 36.
//
//   Y = A' [ (G g G') * (B' d B) ] A,  d: 4 x 4 source pixels, g: 3 x 3 weights, * elementwise, a sum over channels within
//
// Source    Lavin & Gray, "Fast algorithms for convolutional neural networks", CVPR 2016.
// A data gradient is the correlation of dY with the kernel turned by half, and 2 - padding for its padding.

// A run of tiles of 2 x 2 result pixels, numbered through images, rows and columns; of the convolution what a 3 x 3 one with
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
    let across = (result.y + 1u) / 2u;
    let down = (result.x + 1u) / 2u;
    let line = tile / across;
    let image = line / down;
    return vec3<u32>(image, 2u * (line - image * down), 2u * (tile - line * across));
}
