// Sums over the window of a convolution for software adapters: a lane keeps where its 4 rows of the product start and steps
// through taps, then quads of channels; nothing is gathered ahead.
// Needs shared/conv.wgsl, and of the kernel its override PASS (forward or data gradient), its ConvShape `values`, its binding a
// [vec4<Real>], its TileSums (shared/tile.wgsl's or its own) and add_taps(sums, rows, tap, quad, column), which adds four
// channels' terms of one tap.

// The pixels that rows of the product are: Y's, or those of one phase of dX.
fn window_result_size() -> vec2<u32> {
    if PASS == CONV_FORWARD { return vec2<u32>(values.out_height, values.out_width); }
    return vec2<u32>(conv_phase_height(values), conv_phase_width(values));
}

fn window_result_rows() -> u32 {
    let size = window_result_size();
    return values.batch * size.x * size.y;
}

fn window_result_quads() -> u32 {
    return conv_quads(select(values.in_channels, values.out_channels, PASS == CONV_FORWARD));
}

// The four rows that a lane reads: first element of their image, and where their window starts.
struct WindowRows {
    image: vec4<u32>,
    y: vec4<i32>,
    x: vec4<i32>,
}

// Pixels `row` .. `row + 3` of the result, whose images' sources have `source_size` quads each; those past the end repeat the last.
fn window_rows_at(row: u32, source_size: u32) -> WindowRows {
    let size = window_result_size();
    let last = window_result_rows() - 1u;
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(last));
    let line = r / size.y;
    let image = line / size.x;
    return WindowRows(image * source_size, vec4<i32>(line - image * size.x), vec4<i32>(r - line * size.y));
}

// Where the rows' source pixels of one tap start, in quads; `inside` tells which are there at all.
struct WindowSources {
    at: vec4<u32>,
    inside: vec4<bool>,
}

fn window_sources(rows: WindowRows, dy: i32, dx: i32, height: u32, width: u32, quads: u32) -> WindowSources {
    let y = bitcast<vec4<u32>>(rows.y + dy);
    let x = bitcast<vec4<u32>>(rows.x + dx);
    let inside = (y < vec4<u32>(height)) & (x < vec4<u32>(width));
    return WindowSources(select(vec4<u32>(), rows.image + (y * width + x) * quads, inside), inside);
}

// Four channels of the four rows, as one vec4 of rows for each channel.
fn window_block(source: WindowSources, quad: u32) -> mat4x4<f32> {
    let none = vec4<f32>();
    return transpose(mat4x4<f32>(
        select(none, vec4<f32>(a[source.at.x + quad]), source.inside.x),
        select(none, vec4<f32>(a[source.at.y + quad]), source.inside.y),
        select(none, vec4<f32>(a[source.at.z + quad]), source.inside.z),
        select(none, vec4<f32>(a[source.at.w + quad]), source.inside.w),
    ));
}

// Where tap `tap` along one axis finds its source, from a row's start.
fn window_tap(phase: u32, padding: u32, tap: u32, dilation: u32, stride: u32) -> ConvTap {
    if PASS == CONV_FORWARD { return ConvTap(i32(tap * dilation) - i32(padding), true); }
    return conv_tap(phase, padding, tap, dilation, stride);
}

// Of rows `row` .. `row + 3` of a phase.
fn window_sums(sums: ptr<function, TileSums>, row: u32, phase: vec2<u32>, column: u32) {
    let is_forward = PASS == CONV_FORWARD;
    let size = select(vec2<u32>(values.out_height, values.out_width), vec2<u32>(values.in_height, values.in_width), is_forward);
    let quads = conv_quads(select(values.out_channels, values.in_channels, is_forward));
    var rows = window_rows_at(row, size.x * size.y * quads);
    if is_forward {
        rows.y *= i32(values.stride_height);
        rows.x *= i32(values.stride_width);
    }
    for (var ky = 0u; ky < values.kernel_height; ky++) {
        let in_y = window_tap(phase.y, values.padding_height, ky, values.dilation_height, values.stride_height);
        if !in_y.reaches { continue; }
        for (var kx = 0u; kx < values.kernel_width; kx++) {
            let in_x = window_tap(phase.x, values.padding_width, kx, values.dilation_width, values.stride_width);
            if !in_x.reaches { continue; }
            let source = window_sources(rows, in_y.offset, in_x.offset, size.x, size.y, quads);
            let tap = ky * values.kernel_width + kx;
            for (var quad = 0u; quad < quads; quad++) {
                add_taps(sums, window_block(source, quad), tap, quad, column);
            }
        }
    }
}
