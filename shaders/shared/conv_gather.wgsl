// Which element of an image meets which tap of the kernel, for convolutions as implicit matrix products that gather one
// operand: X, or dY in a data gradient. Needs shared/conv.wgsl and shared/part.wgsl, and of the kernel its overrides
// PASS and SPLIT and ConvShape `values`.
//
// A "pixel" is where a window starts: (first quad of its image, y, x, whether there is such a pixel). A "term" is a tap and a
// channel: (offset in y, in x, channel quad, tap, or -1 past the last).

// An offset that no pixel stays within its image with.
const CONV_GATHER_UNREACHED: i32 = -0x40000000;

fn conv_gather_taps() -> u32 {
    return values.kernel_height * values.kernel_width;
}

// Channel quads, height and width of the operand that is gathered.
fn conv_gather_size() -> vec3<u32> {
    if PASS == CONV_DATA_GRADIENT {
        return vec3<u32>(conv_quads(values.out_channels), values.out_height, values.out_width);
    }
    return vec3<u32>(conv_quads(values.in_channels), values.in_height, values.in_width);
}

// Height and width of the grid of pixels, and the strides from one to the next.
fn conv_gather_grid() -> vec4<u32> {
    if PASS == CONV_DATA_GRADIENT { return vec4<u32>(conv_phase_height(values), conv_phase_width(values), 1u, 1u); }
    return vec4<u32>(values.out_height, values.out_width, values.stride_height, values.stride_width);
}

fn conv_gather_pixel(row: u32) -> vec4<i32> {
    let grid = conv_gather_grid();
    let line = row / grid.y;
    let image = line / grid.x;
    let source = conv_gather_size();
    let start = vec2<u32>(line - image * grid.x, row - line * grid.y) * grid.zw;
    let first = image * source.x * source.y * source.z;
    return vec4<i32>(vec3<i32>(vec3<u32>(first, start)), select(0, 1, image < values.batch));
}

// The pixel behind `pixel`, without divisions: `grid` is conv_gather_grid().
fn conv_gather_next(pixel: vec4<i32>, grid: vec4<i32>) -> vec4<i32> {
    let size = vec3<i32>(conv_gather_size());
    let image = size.x * size.y * size.z;
    let x = pixel.z + grid.w;
    let line_ends = x >= grid.y * grid.w;
    let y = pixel.y + select(0, grid.z, line_ends);
    let image_ends = y >= grid.x * grid.z;
    let first = pixel.x + select(0, image, image_ends);
    let there = select(0, 1, first < i32(values.batch) * image);
    return vec4<i32>(first, select(y, 0, image_ends), select(x, 0, line_ends), there);
}

// Number `quad` of [taps, channel quads].
fn conv_gather_term(quad: u32, phase: vec2<u32>) -> vec4<i32> {
    let quads = conv_gather_size().x;
    let tap = quad / quads;
    if tap >= conv_gather_taps() { return vec4<i32>(0, 0, 0, -1); }
    let ky = tap / values.kernel_width;
    let kx = tap - ky * values.kernel_width;
    var offset = vec2<i32>(i32(ky * values.dilation_height) - i32(values.padding_height),
                           i32(kx * values.dilation_width) - i32(values.padding_width));
    if PASS == CONV_DATA_GRADIENT {
        let y = conv_tap(phase.y, values.padding_height, ky, values.dilation_height, values.stride_height);
        let x = conv_tap(phase.x, values.padding_width, kx, values.dilation_width, values.stride_width);
        offset = select(vec2<i32>(CONV_GATHER_UNREACHED), vec2<i32>(y.offset, x.offset), y.reaches && x.reaches);
    }
    return vec4<i32>(offset, i32(quad - tap * quads), i32(tap));
}

// Where the quad of a pixel and a tap lies in the gathered operand; negative where there is none.
fn conv_gather_source(pixel: vec4<i32>, tap: vec4<i32>) -> i32 {
    let size = conv_gather_size();
    let y = bitcast<u32>(pixel.y + tap.x); // past the edge these wrap to large numbers
    let x = bitcast<u32>(pixel.z + tap.y);
    if pixel.w == 0 || tap.w < 0 || y >= size.y || x >= size.z { return -1; }
    return pixel.x + i32((y * size.z + x) * size.x) + tap.z;
}

// The first depth from `depth` on whose tile of `tile` terms reaches the phase, in steps of whole tiles; with strides most do
// not. A tile touches one tap or two neighbours where a tap has at least as many terms; with fewer it is not worth asking.
fn conv_gather_reached(depth: u32, tile: u32, phase: vec2<u32>) -> u32 {
    let each = 4u * conv_gather_size().x;
    if PASS != CONV_DATA_GRADIENT || values.stride_height * values.stride_width == 1u || each < tile { return depth; }
    let end = conv_gather_taps() * each;
    var reached = depth;
    while reached < end {
        let last = reached + tile - 1u;
        if conv_gather_term(reached / 4u, phase).x != CONV_GATHER_UNREACHED { break; }
        if conv_gather_term(last / 4u, phase).x != CONV_GATHER_UNREACHED { break; }
        reached += ((last / each + 1u) * each - reached) / tile * tile;
    }
    return reached;
}

// Where a workgroup's sums begin and end, in tiles of `tile` terms.
fn conv_gather_depths(workgroup: vec3<u32>, grid: vec3<u32>, tile: u32, phase: vec2<u32>) -> vec2<u32> {
    if PASS == CONV_WEIGHT_GRADIENT {
        return part_of_sum(workgroup.z, grid.z, values.batch * values.out_height * values.out_width, tile);
    }
    let terms = 4u * conv_gather_taps() * conv_gather_size().x;
    if SPLIT { return part_of_sum(workgroup.z, grid.z, terms, tile); }
    return vec2<u32>(conv_gather_reached(0u, tile, phase), terms);
}
