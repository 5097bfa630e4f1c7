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
//           Weight gradient: z is the part of Y's lines that is summed, into dW[z]; split_sum.wgsl adds the parts.
//
// The window is shared/window.wgsl's, the tile shared/tile.wgsl's. Where half of the lanes would have no columns,
// conv_narrow.wgsl takes its place.
// Every operand is read_write because they may lie in one arena buffer.

override PASS: u32 = 0u;
override SPLIT: bool = false;
// Lanes of a subgroup, and so of a workgroup: 4, 8 or 16.
override LANES: u32 = 8u;
override COLUMN_BLOCKS: u32 = 1u;
// Fewer than LANES where all rows are the first lanes': see shared/tile.wgsl.
override ROW_LANES: u32 = LANES;
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

fn weights_at(tap: u32, quad: u32, column: u32) -> mat4x4<f32> {
    if PASS == CONV_FORWARD { return forward_weights(tap, quad, column); }
    return data_weights(tap, quad, column);
}

fn add_taps(sums: ptr<function, TileSums>, rows: mat4x4<f32>, tap: u32, quad: u32, column: u32) {
    let b0 = weights_at(tap, quad, column);
    var b1 = b0;
    if COLUMN_BLOCKS > 1u { b1 = weights_at(tap, quad, column + LANES); }
    tile_add_block(sums, rows, b0, b1);
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

struct Place {
    row: u32,
    row_count: u32,
    column: u32,
    columns: u32,
    lane: u32,
}

// What becomes of the sums of 8 rows: see shared/tile.wgsl.
fn write_eight(sums: ptr<function, TileSums>, first: u32, place: Place) {
    let row = place.row;
    let column = place.column;
    let columns = place.columns;
    let lane = place.lane;
    for (var i = first; i < first + 8u; i++) {
        if DIRECT {
            let at = (row + i) * columns + column;
            if row + i < place.row_count {
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
    var row_count = values.out_channels;
    if PASS == CONV_WEIGHT_GRADIENT {
        weight_sums(&sums, row / 4u + lane, column, workgroup.z, grid.z);
    } else {
        row_count = window_result_rows();
        window_sums(&sums, row + 4u * lane, phase, column);
    }
    if row >= row_count { return; }
    let columns = window_result_quads();
    tile_write(&sums, Place(row, row_count, column, columns, lane));
    if DIRECT { return; }
    write_finished(row, min(BLOCK, row_count - row), phase, column, columns, lane, workgroup.z);
}
