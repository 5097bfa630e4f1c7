// 2-d convolution as an implicit matrix product, for software adapters with subgroups of 4, 8 or 16 lanes: registers and
// shuffles.
//
//   forward          Y[p, o]       = epilogue( sum_{tap, i} X[p * stride + tap * dilation - padding, i] W[tap, i, o] )
//   data gradient    dX[q, i]      = epilogue( sum_{tap, o} dY[(q + padding - tap * dilation) / stride, o] W[tap, i, o] )
//   weight gradient  dW[o, i, tap] = sum_p dY[p, o] X[p * stride + tap * dilation - padding, i]
//
// Shapes    X, dX: [batch, in_height, in_width, in_quads]; Y, dY: [batch, out_height, out_width, out_quads];
//           W: [taps, 4 in_quads, out_quads], as conv_pack.wgsl leaves it; all vec4s; dW: [out, in, taps], PyTorch's layout.
//           a, b: X, W | dY, W | dY, X. aux: bias [out] (EPILOGUE 1) or what forward saved, as dX (EPILOGUE 2).
// Epilogue  as in matmul_block.wgsl. One group only.
// Dispatch  [row tiles, column tiles, phases * fold] workgroups of one subgroup. A row tile is 4 LANES rows: pixels of Y,
//           pixels of one phase of dX (conv_phase_*), or outputs; row tiles beyond the adapter's limit fold into z.
//           A column tile is LANES COLUMN_BLOCKS quads of outputs, of inputs, or of [taps, in_quads].
//           With NARROW_QUADS there is one column tile, of that many quads.
//           Weight gradient: z is the part of Y's lines that is summed, into dW[z]; split_sum.wgsl adds the parts.
//
// Nothing is gathered ahead: a lane keeps where its 4 rows start and steps through taps, then channels, as
// matmul_software.wgsl steps through depth. Up to half as many quads of result channels as lanes would leave half of these
// without columns, so that there (NARROW_QUADS) lanes keep their rows to themselves and weights are what they hand to each
// other.
// Every operand is read_write because they may lie in one arena buffer.

override PASS: u32 = 0u;
override SPLIT: bool = false;
// Lanes of a subgroup, and so of a workgroup: 4, 8 or 16.
override LANES: u32 = 8u;
override COLUMN_BLOCKS: u32 = 1u;
// Fewer than LANES where all rows are the first lanes': see shared/tile.wgsl.
override ROW_LANES: u32 = LANES;
// The quads of the result's channels where they are 1 to LANES / 2, for a layout of sums of their own; not for weight
// gradients.
override NARROW_QUADS: u32 = 0u;
// Nothing happens to the sums and rows are pixels in order: written straight from registers.
override DIRECT: bool = false;
override EPILOGUE: u32 = 0u;
override ACTIVATION: u32 = 0u;
override STORE_PRE: bool = false;
override ACCUMULATE: bool = false;

override BLOCK: u32 = 4u * LANES;

var<immediate> values: ConvShape;
@group(0) @binding(0) var<storage, read_write> a: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> b: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> aux: array<Real>;
@group(0) @binding(3) var<storage, read_write> c: array<StoreOut>;
@group(0) @binding(4) var<storage, read_write> pre: array<PreReal>;

// A finished tile on its way through an epilogue, as in matmul_software.wgsl.
var<workgroup> finished: array<vec4<f32>, BLOCK * COLUMN_BLOCKS * LANES>;

// The four rows that a lane reads: first element of their image, and where their window starts.
struct Rows {
    image: vec4<u32>,
    y: vec4<i32>,
    x: vec4<i32>,
}

// Pixels `row` .. `row + 3` of a grid [batch, height, width]; those past the end repeat the last.
fn rows_at(row: u32, height: u32, width: u32, source_size: u32) -> Rows {
    let last = values.batch * height * width - 1u;
    let r = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(last));
    let line = r / width;
    let image = line / height;
    return Rows(image * source_size, vec4<i32>(line - image * height), vec4<i32>(r - line * width));
}

// Where the rows' source pixels of one tap start, in quads; `inside` tells which are there at all.
struct Sources {
    at: vec4<u32>,
    inside: vec4<bool>,
}

fn sources(rows: Rows, dy: i32, dx: i32, height: u32, width: u32, quads: u32) -> Sources {
    let y = bitcast<vec4<u32>>(rows.y + dy);
    let x = bitcast<vec4<u32>>(rows.x + dx);
    let inside = (y < vec4<u32>(height)) & (x < vec4<u32>(width));
    return Sources(select(vec4<u32>(), rows.image + (y * width + x) * quads, inside), inside);
}

// Four channels of the four rows, as one vec4 of rows for each channel.
fn a_block(source: Sources, quad: u32) -> mat4x4<f32> {
    let none = vec4<f32>();
    return transpose(mat4x4<f32>(
        select(none, vec4<f32>(a[source.at.x + quad]), source.inside.x),
        select(none, vec4<f32>(a[source.at.y + quad]), source.inside.y),
        select(none, vec4<f32>(a[source.at.z + quad]), source.inside.z),
        select(none, vec4<f32>(a[source.at.w + quad]), source.inside.w),
    ));
}

fn forward_weights(tap: u32, quad: u32, column: u32) -> mat4x4<f32> {
    let columns = conv_quads(values.out_channels);
    let at = (tap * conv_quads(values.in_channels) + quad) * 4u * columns + min(column, columns - 1u);
    return mat4x4<f32>(vec4<f32>(b[at]), vec4<f32>(b[at + columns]),
                       vec4<f32>(b[at + 2u * columns]), vec4<f32>(b[at + 3u * columns]));
}

fn data_weights(tap: u32, quad: u32, column: u32) -> mat4x4<f32> {
    let depth = conv_quads(values.out_channels);
    let columns = conv_quads(values.in_channels);
    let at = (tap * columns + min(column, columns - 1u)) * 4u * depth + quad;
    return transpose(mat4x4<f32>(vec4<f32>(b[at]), vec4<f32>(b[at + depth]),
                                 vec4<f32>(b[at + 2u * depth]), vec4<f32>(b[at + 3u * depth])));
}

// The weights of a tap between four source channels and all result channels, spread over the lanes: one vec4 of each
// lane, and where that is not enough a second one.
struct Spread {
    first: vec4<f32>,
    second: vec4<f32>,
}

// Which vec4 of the spread is lane `lane`'s: [depth, result quad] forward, result channels in a data gradient.
fn spread_at(lane: u32, tap: u32, quad: u32) -> u32 {
    let i = min(lane, 4u * NARROW_QUADS - 1u);
    if PASS == CONV_FORWARD { return (tap * conv_quads(values.in_channels) + quad) * 4u * NARROW_QUADS + i; }
    return (tap * 4u * NARROW_QUADS + i) * conv_quads(values.out_channels) + quad;
}

fn spread(lane: u32, tap: u32, quad: u32) -> Spread {
    let first = vec4<f32>(b[spread_at(lane, tap, quad)]);
    var second = first;
    if 4u * NARROW_QUADS > LANES { second = vec4<f32>(b[spread_at(lane + LANES, tap, quad)]); }
    return Spread(first, second);
}

// Component `part` of vec4 `i` of the spread.
fn spread_part(weights: Spread, i: u32, part: u32) -> f32 {
    if i < LANES { return subgroupShuffle(weights.first[part], i); }
    return subgroupShuffle(weights.second[part], i - LANES);
}

// Result channels 4 q .. 4 q + 3 at one depth.
fn spread_columns(weights: Spread, q: u32, depth: u32) -> vec4<f32> {
    if PASS == CONV_FORWARD {
        let i = depth * NARROW_QUADS + q;
        return vec4<f32>(spread_part(weights, i, 0u), spread_part(weights, i, 1u),
                         spread_part(weights, i, 2u), spread_part(weights, i, 3u));
    }
    return vec4<f32>(spread_part(weights, 4u * q, depth), spread_part(weights, 4u * q + 1u, depth),
                     spread_part(weights, 4u * q + 2u, depth), spread_part(weights, 4u * q + 3u, depth));
}

// sums[4 q + row] of the lane's own four rows, given as one vec4 of rows for each depth.
fn narrow_add_quad(sums: ptr<function, TileSums>, q: u32, rows: mat4x4<f32>, spread_weights: Spread) {
    let weights = mat4x4<f32>(spread_columns(spread_weights, q, 0u), spread_columns(spread_weights, q, 1u),
                              spread_columns(spread_weights, q, 2u), spread_columns(spread_weights, q, 3u));
    let terms = transpose(rows);
    (*sums)[4u * q] += weights * terms[0];
    (*sums)[4u * q + 1u] += weights * terms[1];
    (*sums)[4u * q + 2u] += weights * terms[2];
    (*sums)[4u * q + 3u] += weights * terms[3];
}

fn narrow_add_block(sums: ptr<function, TileSums>, rows: mat4x4<f32>, spread_weights: Spread) {
    narrow_add_quad(sums, 0u, rows, spread_weights);
    if NARROW_QUADS > 1u { narrow_add_quad(sums, 1u, rows, spread_weights); }
    if NARROW_QUADS > 2u { narrow_add_quad(sums, 2u, rows, spread_weights); }
    if NARROW_QUADS > 3u { narrow_add_quad(sums, 3u, rows, spread_weights); }
    if NARROW_QUADS > 4u { narrow_add_quad(sums, 4u, rows, spread_weights); }
    if NARROW_QUADS > 5u { narrow_add_quad(sums, 5u, rows, spread_weights); }
    if NARROW_QUADS > 6u { narrow_add_quad(sums, 6u, rows, spread_weights); }
    if NARROW_QUADS > 7u { narrow_add_quad(sums, 7u, rows, spread_weights); }
}

fn forward_sums(sums: ptr<function, TileSums>, rows: Rows, column: u32) {
    let quads = conv_quads(values.in_channels);
    for (var ky = 0u; ky < values.kernel_height; ky++) {
        for (var kx = 0u; kx < values.kernel_width; kx++) {
            let dy = i32(ky * values.dilation_height) - i32(values.padding_height);
            let dx = i32(kx * values.dilation_width) - i32(values.padding_width);
            let source = sources(rows, dy, dx, values.in_height, values.in_width, quads);
            let tap = ky * values.kernel_width + kx;
            for (var quad = 0u; quad < quads; quad++) {
                if NARROW_QUADS > 0u {
                    narrow_add_block(sums, a_block(source, quad), spread(column, tap, quad));
                    continue;
                }
                let b0 = forward_weights(tap, quad, column);
                var b1 = b0;
                if COLUMN_BLOCKS > 1u { b1 = forward_weights(tap, quad, column + LANES); }
                tile_add_block(sums, a_block(source, quad), b0, b1);
            }
        }
    }
}

fn data_sums(sums: ptr<function, TileSums>, rows: Rows, phase: vec2<u32>, column: u32) {
    let quads = conv_quads(values.out_channels);
    for (var ky = 0u; ky < values.kernel_height; ky++) {
        let in_y = conv_tap(phase.y, values.padding_height, ky, values.dilation_height, values.stride_height);
        if !in_y.reaches { continue; }
        for (var kx = 0u; kx < values.kernel_width; kx++) {
            let in_x = conv_tap(phase.x, values.padding_width, kx, values.dilation_width, values.stride_width);
            if !in_x.reaches { continue; }
            let source = sources(rows, in_y.offset, in_x.offset, values.out_height, values.out_width, quads);
            let tap = ky * values.kernel_width + kx;
            for (var quad = 0u; quad < quads; quad++) {
                if NARROW_QUADS > 0u {
                    narrow_add_block(sums, a_block(source, quad), spread(column, tap, quad));
                    continue;
                }
                let b0 = data_weights(tap, quad, column);
                var b1 = b0;
                if COLUMN_BLOCKS > 1u { b1 = data_weights(tap, quad, column + LANES); }
                tile_add_block(sums, a_block(source, quad), b0, b1);
            }
        }
    }
}

// A lane's quad of the weight gradient's columns: one tap and four input channels.
struct Column {
    quad: u32,
    dy: i32,
    dx: i32,
}

fn column_at(index: u32) -> Column {
    let quads = conv_quads(values.in_channels);
    let tap = min(index / quads, values.kernel_height * values.kernel_width - 1u);
    let ky = tap / values.kernel_width;
    let kx = tap - ky * values.kernel_width;
    return Column(index % quads, i32(ky * values.dilation_height) - i32(values.padding_height),
                  i32(kx * values.dilation_width) - i32(values.padding_width));
}

// The input's pixels under outputs (oy, ox .. ox + 3) of image n, zero outside of it.
fn input_block(column: Column, n: u32, oy: u32, ox: u32) -> mat4x4<f32> {
    let quads = conv_quads(values.in_channels);
    let y = bitcast<u32>(i32(oy * values.stride_height) + column.dy);
    let x = bitcast<vec4<u32>>(vec4<i32>((ox + vec4<u32>(0u, 1u, 2u, 3u)) * values.stride_width) + column.dx);
    let inside = (x < vec4<u32>(values.in_width)) & vec4<bool>(y < values.in_height)
        & (ox + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(values.out_width));
    let at = select(vec4<u32>(), ((n * values.in_height + y) * values.in_width + x) * quads, inside) + column.quad;
    let none = vec4<f32>();
    return mat4x4<f32>(select(none, vec4<f32>(b[at.x]), inside.x), select(none, vec4<f32>(b[at.y]), inside.y),
                       select(none, vec4<f32>(b[at.z]), inside.z), select(none, vec4<f32>(b[at.w]), inside.w));
}

fn output_block(quad: u32, line: u32, ox: u32) -> mat4x4<f32> {
    let quads = conv_quads(values.out_channels);
    let at = line * values.out_width * quads + quad;
    let x = ox + vec4<u32>(0u, 1u, 2u, 3u);
    let inside = x < vec4<u32>(values.out_width);
    let i = at + select(vec4<u32>(), x, inside) * quads;
    let none = vec4<f32>();
    return mat4x4<f32>(select(none, vec4<f32>(a[i.x]), inside.x), select(none, vec4<f32>(a[i.y]), inside.y),
                       select(none, vec4<f32>(a[i.z]), inside.z), select(none, vec4<f32>(a[i.w]), inside.w));
}

// Part `part` of `parts` of the sum over Y's lines.
fn weight_sums(sums: ptr<function, TileSums>, row_quad: u32, column: u32, part: u32, parts: u32) {
    let outputs = min(row_quad, conv_quads(values.out_channels) - 1u);
    let first = column_at(column);
    let second = column_at(column + LANES);
    let lines = values.batch * values.out_height;
    let each = (lines + parts - 1u) / parts;
    let end = min((part + 1u) * each, lines);
    for (var line = part * each; line < end; line++) {
        let n = line / values.out_height;
        let oy = line - n * values.out_height;
        for (var ox = 0u; ox < values.out_width; ox += 4u) {
            let b0 = input_block(first, n, oy, ox);
            var b1 = b0;
            if COLUMN_BLOCKS > 1u { b1 = input_block(second, n, oy, ox); }
            tile_add_block(sums, output_block(outputs, line, ox), b0, b1);
        }
    }
}

fn write_finished(row: u32, rows: u32, phase: vec2<u32>, column: u32, columns: u32, lane: u32, part: u32) {
    let bias_0 = conv_store_bias(column);
    let bias_1 = conv_store_bias(column + LANES);
    for (var i = 0u; i < rows; i++) {
        let first = finished[COLUMN_BLOCKS * i * LANES + lane];
        var second = first;
        if COLUMN_BLOCKS > 1u { second = finished[(COLUMN_BLOCKS * i + 1u) * LANES + lane]; }
        if PASS == CONV_WEIGHT_GRADIENT {
            conv_store_weight(row + i, column, part, first);
            if COLUMN_BLOCKS > 1u { conv_store_weight(row + i, column + LANES, part, second); }
        } else {
            let pixel = conv_pixel(values, PASS, row + i, phase);
            if pixel.there && column < columns { conv_store_pixel(pixel.index * columns + column, first, bias_0); }
            if COLUMN_BLOCKS > 1u && pixel.there && column + LANES < columns {
                conv_store_pixel(pixel.index * columns + column + LANES, second, bias_1);
            }
        }
    }
}

// The lane's own rows, from `row` on.
fn write_narrow(sums: ptr<function, TileSums>, row: u32, row_count: u32, phase: vec2<u32>, columns: u32, lane: u32) {
    for (var i = 0u; i < 4u * NARROW_QUADS; i++) {
        if DIRECT {
            if row + i % 4u < row_count { store_c(4u * ((row + i % 4u) * columns + i / 4u), 4u, (*sums)[i]); }
        } else {
            finished[i * LANES + lane] = (*sums)[i];
        }
    }
    if DIRECT { return; }
    for (var i = 0u; i < 4u * columns; i++) {
        let pixel = conv_pixel(values, PASS, row + i % 4u, phase);
        if row + i % 4u < row_count && pixel.there {
            conv_store_pixel(pixel.index * columns + i / 4u, finished[i * LANES + lane], conv_store_bias(i / 4u));
        }
    }
}

// What becomes of the sums of up to 32 rows from the tile's row `first` on. Unrolled by the driver, as in matmul_software.wgsl:
// only plain vectors are written from it.
fn write_plain(
    sums: ptr<function, TileSums>, first: u32, row: u32, row_count: u32, column: u32, columns: u32, lane: u32,
) {
    for (var i = first; i < min(first + 32u, BLOCK); i++) {
        if DIRECT {
            let at = (row + i) * columns + column;
            if row + i < row_count {
                if column < columns { store_c(4u * at, 4u, (*sums)[2u * i]); }
                if COLUMN_BLOCKS > 1u && column + LANES < columns { store_c(4u * (at + LANES), 4u, (*sums)[2u * i + 1u]); }
            }
        } else {
            finished[COLUMN_BLOCKS * i * LANES + lane] = (*sums)[2u * i];
            if COLUMN_BLOCKS > 1u { finished[(COLUMN_BLOCKS * i + 1u) * LANES + lane] = (*sums)[2u * i + 1u]; }
        }
    }
}

@compute @workgroup_size(LANES)
fn conv_software(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let rows_of = conv_rows(values, PASS, SPLIT, workgroup, grid);
    let phase = rows_of.phase;
    let row = rows_of.tile * BLOCK;
    let column = workgroup.y * LANES * COLUMN_BLOCKS + lane;
    var sums: TileSums;
    var columns = conv_quads(values.out_channels);
    var row_count = values.batch * values.out_height * values.out_width;
    if PASS == CONV_FORWARD {
        let source_size = values.in_height * values.in_width * conv_quads(values.in_channels);
        var rows = rows_at(row + 4u * lane, values.out_height, values.out_width, source_size);
        rows.y *= i32(values.stride_height);
        rows.x *= i32(values.stride_width);
        forward_sums(&sums, rows, column);
    } else if PASS == CONV_DATA_GRADIENT {
        columns = conv_quads(values.in_channels);
        let height = conv_phase_height(values);
        let width = conv_phase_width(values);
        row_count = values.batch * height * width;
        let source_size = values.out_height * values.out_width * conv_quads(values.out_channels);
        data_sums(&sums, rows_at(row + 4u * lane, height, width, source_size), phase, column);
    } else {
        row_count = values.out_channels;
        weight_sums(&sums, row / 4u + lane, column, workgroup.z, grid.z);
    }
    if row >= row_count { return; }
    if NARROW_QUADS > 0u {
        write_narrow(&sums, row + 4u * lane, row_count, phase, columns, lane);
        return;
    }
    write_plain(&sums, 0u, row, row_count, column, columns, lane);
    if BLOCK > 32u { write_plain(&sums, 32u, row, row_count, column, columns, lane); }
    if DIRECT { return; }
    write_finished(row, min(BLOCK, row_count - row), phase, column, columns, lane, workgroup.z);
}
