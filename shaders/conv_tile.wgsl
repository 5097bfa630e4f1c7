// 2-d convolution as an implicit matrix product, for GPUs: register-blocked tiles through workgroup memory.
//
//   forward          Y[p, o]       = epilogue( sum_{tap, i} X[p * stride + tap * dilation - padding, i] W[tap, i, o] )
//   data gradient    dX[q, i]      = epilogue( sum_{tap, o} dY[(q + padding - tap * dilation) / stride, o] W[tap, i, o] )
//   weight gradient  dW[o, i, tap] = sum_p dY[p, o] X[p * stride + tap * dilation - padding, i]
//
// Shapes    X, dX: [batch, in_height, in_width, in_quads]; Y, dY: [batch, out_height, out_width, out_quads];
//           W: [taps, 4 in_quads, out_quads], as conv_pack.wgsl leaves it; all vec4s; dW: [out, in, taps], PyTorch's layout.
//           a, b: X, W | dY, W | dY, X. aux: bias [out] (EPILOGUE 1) or what forward saved, as dX (EPILOGUE 2).
// Epilogue  as in matmul_block.wgsl. One group only.
// Dispatch  [row tiles, column tiles, phases * fold] workgroups of 256; each invocation makes 4 x 4 elements. A row tile is
//           1024 / COLUMN_QUADS rows: pixels of Y, pixels of one phase of dX (conv_phase_*), or outputs; row tiles beyond the
//           adapter's limit fold into z. A column tile is COLUMN_QUADS quads of outputs, of inputs, or of [taps, in_quads].
//           Weight gradient: z is the part of the pixels that is summed, into dW[z]; split_sum.wgsl adds the parts.
//
// 64 x 64 tiles of depth 16; 128 x 32 of depth 8 or 256 x 16 of depth 4 for few channels, where 64 columns would mostly
// multiply nothing. The rows of a tile are always 256 vec4s, one for each invocation.
// Every operand is read_write because they may lie in one arena buffer.

// Quads of a tile's columns and also its depth: 16, 8 or 4.
override COLUMN_QUADS: u32 = 16u;
const INVOCATIONS: u32 = 256u;

override PASS: u32 = 0u;
override SPLIT: bool = false;
override EPILOGUE: u32 = 0u;
override ACTIVATION: u32 = 0u;
override STORE_PRE: bool = false;
override ACCUMULATE: bool = false;

var<immediate> values: ConvShape;
@group(0) @binding(0) var<storage, read_write> a: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> b: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> aux: array<Real>;
@group(0) @binding(3) var<storage, read_write> c: array<StoreOut>;
@group(0) @binding(4) var<storage, read_write> pre: array<PreReal>;

// Both tiles are kept depth-first, [depth][side], as vec4s along the tile's side.
var<workgroup> tile_a: array<vec4<f32>, 256>;
var<workgroup> tile_b: array<vec4<f32>, 256>;

// Four rows that an invocation loads: first element of their image, and where their window starts; `there` for each.
struct Rows {
    image: vec4<u32>,
    y: vec4<i32>,
    x: vec4<i32>,
    there: vec4<bool>,
}

fn rows_at(row: u32, height: u32, width: u32, source_size: u32) -> Rows {
    let r = row + vec4<u32>(0u, 1u, 2u, 3u);
    let line = r / width;
    let image = line / height;
    return Rows(image * source_size, vec4<i32>(line - image * height), vec4<i32>(r - line * width),
                image < vec4<u32>(values.batch));
}

// Element `channel` of the rows' source pixels (rows + (dy, dx)), zero outside of the image.
fn gathered(rows: Rows, dy: i32, dx: i32, channel: u32, height: u32, width: u32, quads: u32) -> vec4<f32> {
    let y = bitcast<vec4<u32>>(rows.y + dy);
    let x = bitcast<vec4<u32>>(rows.x + dx);
    let inside = (y < vec4<u32>(height)) & (x < vec4<u32>(width)) & rows.there;
    let at = select(vec4<u32>(), rows.image + (y * width + x) * quads, inside) + channel / 4u;
    let part = channel % 4u;
    return select(vec4<f32>(), vec4<f32>(vec4<Real>(a[at.x][part], a[at.y][part], a[at.z][part], a[at.w][part])), inside);
}

// Depth is [tap, 4 in_quads]; rows are pixels of Y.
fn forward_a(rows: Rows, depth: u32) -> vec4<f32> {
    let quads = conv_quads(values.in_channels);
    let tap = depth / (4u * quads);
    if tap >= values.kernel_height * values.kernel_width { return vec4<f32>(); }
    let ky = tap / values.kernel_width;
    let dy = i32(ky * values.dilation_height) - i32(values.padding_height);
    let dx = i32((tap - ky * values.kernel_width) * values.dilation_width) - i32(values.padding_width);
    return gathered(rows, dy, dx, depth - tap * 4u * quads, values.in_height, values.in_width, quads);
}

fn forward_b(depth: u32, column: u32) -> vec4<f32> {
    let quads = conv_quads(values.out_channels);
    let depths = values.kernel_height * values.kernel_width * 4u * conv_quads(values.in_channels);
    if depth >= depths || column >= quads { return vec4<f32>(); }
    return vec4<f32>(b[depth * quads + column]);
}

// Depth is [tap, 4 out_quads]; rows are pixels of one phase of dX.
fn data_a(rows: Rows, phase: vec2<u32>, depth: u32) -> vec4<f32> {
    let quads = conv_quads(values.out_channels);
    let tap = depth / (4u * quads);
    if tap >= values.kernel_height * values.kernel_width { return vec4<f32>(); }
    let ky = tap / values.kernel_width;
    let kx = tap - ky * values.kernel_width;
    let in_y = conv_tap(phase.y, values.padding_height, ky, values.dilation_height, values.stride_height);
    let in_x = conv_tap(phase.x, values.padding_width, kx, values.dilation_width, values.stride_width);
    if !in_y.reaches || !in_x.reaches { return vec4<f32>(); }
    let channel = depth - tap * 4u * quads;
    return gathered(rows, in_y.offset, in_x.offset, channel, values.out_height, values.out_width, quads);
}

fn data_b(depth: u32, column: u32) -> vec4<f32> {
    let quads = conv_quads(values.out_channels);
    let columns = conv_quads(values.in_channels);
    let tap = depth / (4u * quads);
    if tap >= values.kernel_height * values.kernel_width || column >= columns { return vec4<f32>(); }
    let channel = depth - tap * 4u * quads;
    let at = (tap * columns + column) * 4u * quads + channel / 4u;
    let part = channel % 4u;
    return vec4<f32>(vec4<Real>(b[at][part], b[at + quads][part], b[at + 2u * quads][part], b[at + 3u * quads][part]));
}

// Depth is the pixels of Y; rows are outputs, columns [taps, in_quads].
fn weight_a(row_quad: u32, depth: u32) -> vec4<f32> {
    let quads = conv_quads(values.out_channels);
    if row_quad >= quads || depth >= values.batch * values.out_height * values.out_width { return vec4<f32>(); }
    return vec4<f32>(a[depth * quads + row_quad]);
}

fn weight_b(depth: u32, column: u32) -> vec4<f32> {
    let quads = conv_quads(values.in_channels);
    let tap = column / quads;
    let line = depth / values.out_width;
    let n = line / values.out_height;
    if tap >= values.kernel_height * values.kernel_width || n >= values.batch { return vec4<f32>(); }
    let ky = tap / values.kernel_width;
    let kx = tap - ky * values.kernel_width;
    // Past the edge these wrap to large numbers.
    let y = (line - n * values.out_height) * values.stride_height + ky * values.dilation_height - values.padding_height;
    let x = (depth - line * values.out_width) * values.stride_width + kx * values.dilation_width - values.padding_width;
    if y >= values.in_height || x >= values.in_width { return vec4<f32>(); }
    return vec4<f32>(b[((n * values.in_height + y) * values.in_width + x) * quads + column - tap * quads]);
}

@compute @workgroup_size(INVOCATIONS)
fn conv_tile(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let rows_of = conv_rows(values, PASS, SPLIT, workgroup, grid);
    let phase = rows_of.phase;
    let row_quads = INVOCATIONS / COLUMN_QUADS;
    let row_0 = rows_of.tile * 4u * row_quads;
    let column_0 = workgroup.y * COLUMN_QUADS;
    let local = vec2<u32>(thread % COLUMN_QUADS, thread / COLUMN_QUADS);
    // Which vec4 of the tiles this invocation loads, (depth, side): neighbours take what lies together.
    let at_a = select(local, vec2<u32>(thread / row_quads, thread % row_quads), PASS == CONV_WEIGHT_GRADIENT);
    let at_b = select(local.yx, local, PASS == CONV_DATA_GRADIENT);
    let loads_b = thread < COLUMN_QUADS * COLUMN_QUADS;

    var rows: Rows;
    let size = conv_gather_size();
    if PASS == CONV_FORWARD {
        rows = rows_at(row_0 + 4u * at_a.y, values.out_height, values.out_width, size.x * size.y * size.z);
        rows.y *= i32(values.stride_height);
        rows.x *= i32(values.stride_width);
    } else if PASS == CONV_DATA_GRADIENT {
        let phase_size = vec2<u32>(conv_phase_height(values), conv_phase_width(values));
        rows = rows_at(row_0 + 4u * at_a.y, phase_size.x, phase_size.y, size.x * size.y * size.z);
    }
    // The same for the whole workgroup, which goes from barrier to barrier together.
    let depths = conv_gather_depths(workgroup, grid, COLUMN_QUADS, phase);
    var reached_to = 0u;
    var sums: array<vec4<f32>, 4>;
    for (var depth_0 = depths.x; depth_0 < depths.y;) {
        var from_a: vec4<f32>;
        var from_b: vec4<f32>;
        if PASS == CONV_FORWARD {
            from_a = forward_a(rows, depth_0 + at_a.x);
            if loads_b { from_b = forward_b(depth_0 + at_b.x, column_0 + at_b.y); }
        } else if PASS == CONV_DATA_GRADIENT {
            from_a = data_a(rows, phase, depth_0 + at_a.x);
            if loads_b { from_b = data_b(depth_0 + at_b.x, column_0 + at_b.y); }
        } else {
            from_a = weight_a(row_0 / 4u + at_a.y, depth_0 + at_a.x);
            if loads_b { from_b = weight_b(depth_0 + at_b.x, column_0 + at_b.y); }
        }
        tile_a[at_a.x * row_quads + at_a.y] = from_a;
        if loads_b { tile_b[at_b.x * COLUMN_QUADS + at_b.y] = from_b; }
        workgroupBarrier();
        for (var depth = 0u; depth < COLUMN_QUADS; depth++) {
            let row_terms = tile_a[depth * row_quads + local.y];
            let column_terms = tile_b[depth * COLUMN_QUADS + local.x];
            sums[0] += row_terms.x * column_terms;
            sums[1] += row_terms.y * column_terms;
            sums[2] += row_terms.z * column_terms;
            sums[3] += row_terms.w * column_terms;
        }
        workgroupBarrier();
        depth_0 += COLUMN_QUADS;
        if depth_0 >= reached_to {
            let reached = conv_gather_reached(depth_0, COLUMN_QUADS, phase);
            depth_0 = reached.x;
            reached_to = reached.y;
        }
    }
    let row = row_0 + 4u * local.y;
    for (var i = 0u; i < 4u; i++) {
        conv_store(row + i, phase, column_0 + local.x, workgroup.z, sums[i]);
    }
}
