// 2-d convolution as an implicit matrix product, for GPUs: register-blocked tiles, the next one fetched while the current one
// is multiplied.
//
//   forward          Y[p, o]       = epilogue( sum_{tap, i} X[p * stride + tap * dilation - padding, i] W[tap, i, o] )
//   data gradient    dX[q, i]      = epilogue( sum_{tap, o} dY[(q + padding - tap * dilation) / stride, o] W[tap, i, o] )
//   weight gradient  dW[o, i, tap] = sum_p dY[p, o] X[p * stride + tap * dilation - padding, i]
//
// Shapes    as in conv_tile.wgsl.
// Epilogue  as in matmul_block.wgsl. One group only.
// Dispatch  [row tiles, column tiles, phases * fold] workgroups of 16 x 16. A row tile is 64 BLOCK_HALVES pixels of Y, pixels
//           of one phase of dX (conv_phase_*), or outputs; row tiles beyond the adapter's limit fold into z. A column tile is
//           16 BLOCK_HALVES quads of outputs, of inputs, or of [taps, in_quads].
//           Weight gradient: z is the part of the pixels that is summed, into dW[z]; split_sum.wgsl adds the parts.
//
// The tiles are those of shared/block.wgsl. Of the gathered operand an invocation loads the same row all along (forward, data
// gradient) or the same column (weight gradient); what goes on with the depth is moved a step at a time, and found by
// divisions only where the step leaves a tap or a line of pixels.
// Every operand is read_write because they may lie in one arena buffer.

override PASS: u32 = 0u;
override EPILOGUE: u32 = 0u;
override ACTIVATION: u32 = 0u;
override STORE_PRE: bool = false;
override ACCUMULATE: bool = false;

var<immediate> values: ConvShape;
@group(0) @binding(0) var<storage, read_write> a: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> b: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> aux: array<Real>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4<Out>>;
@group(0) @binding(4) var<storage, read_write> pre: array<vec4<Real>>;

// What an invocation loads of the tiles at `depth`.
struct Place {
    row: u32, // of A: a row (forward, data gradient) or a quad of outputs
    column: u32, // of B: a quad of columns (forward), an input (data gradient)
    depth: u32, // of the whole sum: a term, or the first of a quad of terms where the operands lie along the depth
    pixel: vec4<i32>, // of the row, or of the depth in the weight gradient
    term: vec4<i32>, // of the depth, or of the column in the weight gradient
}

// Depth within a tile at which an invocation loads.
fn depth_across(thread: u32) -> u32 {
    return thread / block_quads();
}

fn depth_along(thread: u32) -> u32 {
    return 4u * (thread % (block_depth() / 4u));
}

fn side_along(thread: u32) -> u32 {
    return thread / (block_depth() / 4u);
}

fn place_at(thread: u32, row_0: u32, column_0: u32, depth_0: u32, phase: vec2<u32>) -> Place {
    let across = thread % block_quads();
    if PASS == CONV_WEIGHT_GRADIENT {
        let depth = depth_0 + depth_across(thread);
        let column = column_0 + across;
        return Place(row_0 / 4u + across, column, depth, conv_gather_pixel(depth), conv_gather_term(column, phase));
    }
    let row = row_0 + side_along(thread);
    let depth = depth_0 + depth_along(thread);
    let column = select(column_0 + across, 4u * column_0 + side_along(thread), PASS == CONV_DATA_GRADIENT);
    return Place(row, column, depth, conv_gather_pixel(row), conv_gather_term(depth / 4u, phase));
}

// `step` terms on.
fn advance(place: ptr<function, Place>, step: u32, phase: vec2<u32>) {
    (*place).depth += step;
    if PASS == CONV_WEIGHT_GRADIENT {
        (*place).pixel.z += i32(step * values.stride_width);
        let line_end = i32(values.out_width * values.stride_width);
        if (*place).pixel.z >= line_end { (*place).pixel = conv_gather_pixel((*place).depth); }
    } else {
        (*place).term.z += i32(step / 4u);
        if (*place).term.z >= i32(conv_gather_size().x) { (*place).term = conv_gather_term((*place).depth / 4u, phase); }
    }
}

fn fetch_a(place: Place) -> vec4<f32> {
    if PASS != CONV_WEIGHT_GRADIENT {
        let at = conv_gather_source(place.pixel, place.term);
        if at < 0 { return vec4<f32>(); }
        return vec4<f32>(a[at]);
    }
    let quads = conv_quads(values.out_channels);
    if place.row >= quads || place.pixel.w == 0 { return vec4<f32>(); }
    return vec4<f32>(a[place.depth * quads + place.row]);
}

// In forward the depth of B's line in the tile is not that of A's quad.
fn fetch_b(place: Place, line: u32) -> vec4<f32> {
    let outputs = conv_quads(values.out_channels);
    let inputs = 4u * conv_quads(values.in_channels);
    if PASS == CONV_FORWARD {
        if line >= conv_gather_taps() * inputs || place.column >= outputs { return vec4<f32>(); }
        return vec4<f32>(b[line * outputs + place.column]);
    } else if PASS == CONV_DATA_GRADIENT {
        if place.term.w < 0 || place.column >= inputs { return vec4<f32>(); }
        return vec4<f32>(b[(u32(place.term.w) * inputs + place.column) * outputs + u32(place.term.z)]);
    }
    let at = conv_gather_source(place.pixel, place.term);
    if at < 0 { return vec4<f32>(); }
    return vec4<f32>(b[at]);
}

// Four rows of four columns.
fn store_rows(row: u32, phase: vec2<u32>, column: u32, part: u32, thread: u32, rows: mat4x4<f32>) {
    block_hold(thread, rows);
    for (var i = 0u; i < 4u; i++) { conv_store(row + i, phase, column, part, block_held(thread, i)); }
}

@compute @workgroup_size(16, 16)
fn conv_block(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let rows_of = conv_rows(values, PASS, workgroup, grid);
    let phase = rows_of.phase;
    let row_0 = rows_of.tile * 4u * block_quads();
    let column_0 = workgroup.y * block_quads();
    let thread = local.y * BLOCK_SIDE + local.x;
    let depths = conv_gather_depths(workgroup, grid, block_depth(), phase);
    let a_along = PASS != CONV_WEIGHT_GRADIENT;
    let b_along = PASS == CONV_DATA_GRADIENT;
    var place = place_at(thread, row_0, column_0, depths.x, phase);
    var sums: BlockSums;
    var current = 0u;
    block_put(0u, a_along, thread, fetch_a(place));
    block_put(2u * BLOCK_OPERAND, b_along, thread, fetch_b(place, depths.x + depth_across(thread)));
    workgroupBarrier();
    for (var depth = depths.x; depth < depths.y;) {
        // Past the end these are zeros, or the next part's, which nobody multiplies.
        let next = conv_gather_reached(depth + block_depth(), block_depth(), phase);
        advance(&place, next - depth, phase);
        let next_a = fetch_a(place);
        let next_b = fetch_b(place, next + depth_across(thread));
        block_multiply(&sums, current, local.xy);
        current = 1u - current;
        block_put(current * BLOCK_OPERAND, a_along, thread, next_a);
        block_put((2u + current) * BLOCK_OPERAND, b_along, thread, next_b);
        workgroupBarrier();
        depth = next;
    }
    let row = row_0 + 4u * local.y;
    let column = column_0 + local.x;
    store_rows(row, phase, column, workgroup.z, thread, mat4x4<f32>(sums[0], sums[2], sums[4], sums[6]));
    if BLOCK_HALVES > 1u {
        let right = column + BLOCK_SIDE;
        store_rows(row, phase, right, workgroup.z, thread, mat4x4<f32>(sums[1], sums[3], sums[5], sums[7]));
        store_rows(row + 64u, phase, column, workgroup.z, thread, mat4x4<f32>(sums[8], sums[10], sums[12], sums[14]));
        store_rows(row + 64u, phase, right, workgroup.z, thread, mat4x4<f32>(sums[9], sums[11], sums[13], sums[15]));
    }
}
