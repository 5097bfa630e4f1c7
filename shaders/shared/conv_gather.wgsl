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

// The way from pixels to those so many further on.
struct ConvGatherStep {
    by: vec3<i32>, // quads of whole images, y and x
    line: vec2<i32>, // from a line of the grid to the next, and how far x reaches
    image: vec2<i32>, // quads of an image, and how far y reaches
}

fn conv_gather_step(count: u32) -> ConvGatherStep {
    let grid = conv_gather_grid();
    let size = conv_gather_size();
    let image = size.x * size.y * size.z;
    let lines = count / grid.y;
    let images = lines / grid.x;
    let by = vec3<u32>(images * image, (lines - images * grid.x) * grid.z, (count - lines * grid.y) * grid.w);
    return ConvGatherStep(vec3<i32>(by), vec2<i32>(vec2<u32>(grid.z, grid.y * grid.w)),
                          vec2<i32>(vec2<u32>(image, grid.x * grid.z)));
}

// The pixel a step on, without divisions.
fn conv_gather_onward(pixel: vec4<i32>, step: ConvGatherStep) -> vec4<i32> {
    let x = pixel.z + step.by.z;
    let line_ends = x >= step.line.y;
    let y = pixel.y + step.by.y + select(0, step.line.x, line_ends);
    let image_ends = y >= step.image.y;
    let first = pixel.x + step.by.x + select(0, step.image.x, image_ends);
    let there = select(0, 1, first < i32(values.batch) * step.image.x);
    return vec4<i32>(first, y - select(0, step.image.y, image_ends), x - select(0, step.line.y, line_ends), there);
}

// Whether the taps of a data gradient's phase are some of all.
fn conv_gather_has_phases() -> bool {
    return PASS == CONV_DATA_GRADIENT && values.stride_height * values.stride_width > 1u;
}

// The offset of the first tap in y and x, from one to the next, and where they end.
struct ConvGatherTaps {
    first: vec2<i32>,
    by: vec2<i32>,
    end: vec2<i32>,
}

fn conv_gather_all_taps() -> ConvGatherTaps {
    let way = select(-1, 1, PASS == CONV_DATA_GRADIENT);
    let first = way * vec2<i32>(vec2<u32>(values.padding_height, values.padding_width));
    let by = -way * vec2<i32>(vec2<u32>(values.dilation_height, values.dilation_width));
    return ConvGatherTaps(first, by, first + by * vec2<i32>(vec2<u32>(values.kernel_height, values.kernel_width)));
}

// Offset in y and x of a tap (x, y), or CONV_GATHER_UNREACHED where it does not reach the phase.
fn conv_gather_offset(tap: vec2<u32>, phase: vec2<u32>) -> vec2<i32> {
    if !conv_gather_has_phases() {
        let taps = conv_gather_all_taps();
        return taps.first + taps.by * vec2<i32>(tap.yx);
    }
    let y = conv_tap(phase.y, values.padding_height, tap.y, values.dilation_height, values.stride_height);
    let x = conv_tap(phase.x, values.padding_width, tap.x, values.dilation_width, values.stride_width);
    return select(vec2<i32>(CONV_GATHER_UNREACHED), vec2<i32>(y.offset, x.offset), y.reaches && x.reaches);
}

// Number `quad` of [taps, channel quads].
fn conv_gather_term(quad: u32, phase: vec2<u32>) -> vec4<i32> {
    let quads = conv_gather_size().x;
    let tap = quad / quads;
    if tap >= conv_gather_taps() { return vec4<i32>(0, 0, 0, -1); }
    let ky = tap / values.kernel_width;
    let offset = conv_gather_offset(vec2<u32>(tap - ky * values.kernel_width, ky), phase);
    return vec4<i32>(offset, i32(quad - tap * quads), i32(tap));
}

// The term `step` quads on, which is number `quad`; without divisions but where taps may be left out.
fn conv_gather_term_onward(term: vec4<i32>, step: u32, quad: u32, phase: vec2<u32>) -> vec4<i32> {
    let quads = i32(conv_gather_size().x);
    var next = term + vec4<i32>(0, 0, i32(step), 0);
    if next.z < quads || next.w < 0 { return next; }
    if conv_gather_has_phases() { return conv_gather_term(quad, phase); }
    let taps = conv_gather_all_taps();
    while next.z >= quads {
        next += vec4<i32>(0, taps.by.y, -quads, 1);
        if next.y == taps.end.y { next = vec4<i32>(next.x + taps.by.x, taps.first.y, next.zw); }
    }
    return select(next, vec4<i32>(0, 0, 0, -1), next.w >= i32(conv_gather_taps()));
}

// Where the quad of a pixel and a tap lies in the gathered operand; negative where there is none.
fn conv_gather_source(pixel: vec4<i32>, tap: vec4<i32>) -> i32 {
    let size = conv_gather_size();
    let y = bitcast<u32>(pixel.y + tap.x); // past the edge these wrap to large numbers
    let x = bitcast<u32>(pixel.z + tap.y);
    if pixel.w == 0 || tap.w < 0 || y >= size.y || x >= size.z { return -1; }
    return pixel.x + i32((y * size.z + x) * size.x) + tap.z;
}

// The first depth from `depth` on whose tile of `tile` terms reaches the phase, in steps of whole tiles, and up to where tiles
// that begin behind it do too: the end of a tap. With strides most do not. A tile touches one tap or two neighbours where a tap
// has at least as many terms; with fewer it is not worth asking.
fn conv_gather_reached(depth: u32, tile: u32, phase: vec2<u32>) -> vec2<u32> {
    let each = 4u * conv_gather_size().x;
    if !conv_gather_has_phases() || each < tile { return vec2<u32>(depth, 0xFFFFFFFFu); }
    let end = conv_gather_taps() * each;
    var reached = depth;
    while reached < end {
        let taps = vec2<u32>(reached, reached + tile - 1u) / each;
        if conv_gather_term(reached / 4u, phase).x != CONV_GATHER_UNREACHED {
            return vec2<u32>(reached, (taps.x + 1u) * each);
        }
        let next = (taps.y + 1u) * each;
        if taps.y > taps.x && conv_gather_term(taps.y * each / 4u, phase).x != CONV_GATHER_UNREACHED {
            return vec2<u32>(reached, next);
        }
        reached += (next - reached) / tile * tile;
    }
    return vec2<u32>(reached, reached);
}

// Where a workgroup's sums begin and end, in tiles of `tile` terms.
fn conv_gather_depths(workgroup: vec3<u32>, grid: vec3<u32>, tile: u32, phase: vec2<u32>) -> vec2<u32> {
    if PASS == CONV_WEIGHT_GRADIENT {
        return part_of_sum(workgroup.z, grid.z, values.batch * values.out_height * values.out_width, tile);
    }
    let terms = 4u * conv_gather_taps() * conv_gather_size().x;
    if SPLIT { return part_of_sum(workgroup.z, grid.z, terms, tile); }
    return vec2<u32>(conv_gather_reached(0u, tile, phase).x, terms);
}
