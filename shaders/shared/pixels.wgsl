// Four pixels at a time, as shared/conv_gather.wgsl has them, for kernels that keep theirs in registers. Needs what that needs.

// Where four windows start: first quads of their images, y and x. Pixels past the last lie nowhere.
struct Pixels {
    first: vec4<i32>,
    y: vec4<i32>,
    x: vec4<i32>,
}

// A height that no tap brings back into an image.
const PIXELS_NOWHERE: i32 = -0x20000000;

fn pixels_at(row: vec4<u32>) -> Pixels {
    let p = conv_gather_pixel(row.x);
    let q = conv_gather_pixel(row.y);
    let r = conv_gather_pixel(row.z);
    let s = conv_gather_pixel(row.w);
    let there = vec4<i32>(p.w, q.w, r.w, s.w) != vec4<i32>();
    let y = select(vec4<i32>(PIXELS_NOWHERE), vec4<i32>(p.y, q.y, r.y, s.y), there);
    return Pixels(vec4<i32>(p.x, q.x, r.x, s.x), y, vec4<i32>(p.z, q.z, r.z, s.z));
}

// conv_gather_source of each.
fn pixels_source(pixels: Pixels, term: vec4<i32>) -> vec4<i32> {
    let size = conv_gather_size();
    let y = pixels.y + term.x;
    let x = pixels.x + term.y;
    // Past the edge these wrap to large numbers.
    let there = (bitcast<vec4<u32>>(y) < vec4<u32>(size.y)) & (bitcast<vec4<u32>>(x) < vec4<u32>(size.z));
    let at = pixels.first + (y * i32(size.z) + x) * i32(size.x) + term.z;
    return select(vec4<i32>(-1), at, there & vec4<bool>(term.w >= 0));
}

// The pixels a step on, without divisions.
fn pixels_next(pixels: Pixels, step: ConvGatherStep) -> Pixels {
    let zero = vec4<i32>();
    let x = pixels.x + step.by.z;
    let line_ends = x >= vec4<i32>(step.line.y);
    let y = pixels.y + step.by.y + select(zero, vec4<i32>(step.line.x), line_ends);
    let image_ends = y >= vec4<i32>(step.image.y);
    let first = pixels.first + step.by.x + select(zero, vec4<i32>(step.image.x), image_ends);
    return Pixels(first, y - select(zero, vec4<i32>(step.image.y), image_ends),
                      x - select(zero, vec4<i32>(step.line.y), line_ends));
}
