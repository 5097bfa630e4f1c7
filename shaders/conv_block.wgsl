// 2-d convolution as an implicit matrix product, for GPUs: register-blocked tiles, the next one fetched while the current one
// is multiplied.
//
//   forward          Y[p, o]       = epilogue( sum_{tap, i} X[p * stride + tap * dilation - padding, i] W[tap, i, o] )
//   data gradient    dX[q, i]      = epilogue( sum_{tap, o} dY[(q + padding - tap * dilation) / stride, o] W[tap, i, o] )
//   weight gradient  dW[o, i, tap] = sum_p dY[p, o] X[p * stride + tap * dilation - padding, i]
//
// Shapes    as in conv_tile.wgsl.
// Epilogue  as in matmul_block.wgsl. One group only.
// Dispatch  [row tiles, column tiles, phases * fold] workgroups of 16 x 16. A row tile is 64 BLOCK_ROW_HALVES pixels of Y,
//           pixels of one phase of dX (conv_phase_*), or outputs; row tiles beyond the adapter's limit fold into z. A column
//           tile is 16 BLOCK_COLUMN_HALVES quads of outputs, of inputs, or of [taps, in_quads].
//           Weight gradient: z is the part of the pixels that is summed, into dW[z]; split_sum.wgsl adds the parts. With SPLIT z is
//           the part of the terms of another pass likewise, into an image of its own.
//
// The tiles are those of shared/block.wgsl. Of the gathered operand a loader takes one term of four neighbouring pixels, which
// are its rows (forward, data gradient) or its depths (weight gradient). What goes on with the depth is moved a step at a
// time, without divisions but where a strided data gradient comes to another tap.
// Every operand is read_write because they may lie in one arena buffer.

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

// Whether the lines of an operand run across the depth.
fn is_across(operand: u32) -> bool {
    if operand == 0u { return PASS == CONV_WEIGHT_GRADIENT; }
    return PASS != CONV_DATA_GRADIENT;
}

// Where a loader's patch begins.
struct Place {
    side: u32, // of the whole product: a row or a column
    depth: u32, // of the whole sum
    pixel: vec4<i32>, // of the side, or of the depth in the weight gradient
    term: vec4<i32>, // of the depth, or of the side in the weight gradient
}

fn place_at(loader: vec2<u32>, row_0: u32, column_0: u32, depth_0: u32, phase: vec2<u32>) -> Place {
    var at = vec2<u32>(row_0, depth_0) + block_patch_a(loader.y, is_across(0u));
    if loader.x == 1u { at = vec2<u32>(column_0, depth_0) + block_patch_b(loader.y, is_across(1u)); }
    if PASS == CONV_WEIGHT_GRADIENT {
        return Place(at.x, at.y, conv_gather_pixel(at.y), conv_gather_term(at.x / 4u, phase));
    }
    return Place(at.x, at.y, conv_gather_pixel(at.x), conv_gather_term(at.y / 4u, phase));
}

// `terms` on, which in a weight gradient are a `step`.
fn advance(place: ptr<function, Place>, terms: u32, step: ConvGatherStep, phase: vec2<u32>) {
    (*place).depth += terms;
    if PASS == CONV_WEIGHT_GRADIENT {
        (*place).pixel = conv_gather_onward((*place).pixel, step);
    } else {
        (*place).term = conv_gather_term_onward((*place).term, terms / 4u, (*place).depth / 4u, phase);
    }
}

// Where the four lines of a loader's patch lie in its operand, and which are there (block_bits).
struct Lines {
    at: vec4<u32>,
    there: u32,
}

fn gathered_lines(place: Place, grid: vec4<i32>) -> Lines {
    let second = conv_gather_next(place.pixel, grid);
    let third = conv_gather_next(second, grid);
    let fourth = conv_gather_next(third, grid);
    let found = vec4<i32>(conv_gather_source(place.pixel, place.term), conv_gather_source(second, place.term),
                          conv_gather_source(third, place.term), conv_gather_source(fourth, place.term));
    return Lines(vec4<u32>(max(found, vec4<i32>())), block_bits(found >= vec4<i32>()));
}

// The other operand: packed weights, whose lines are there in fours, or dY.
fn plain_lines(place: Place) -> Lines {
    let outputs = conv_quads(values.out_channels);
    let inputs = 4u * conv_quads(values.in_channels);
    let step = vec4<u32>(0u, 1u, 2u, 3u);
    var first = place.depth; // of the lines
    var quad = place.side / 4u; // in each
    var there = vec4<bool>(first < conv_gather_taps() * inputs && quad < outputs);
    if PASS == CONV_DATA_GRADIENT {
        there = vec4<bool>(place.term.w >= 0 && place.side < inputs);
        first = u32(place.term.w) * inputs + place.side;
        quad = u32(place.term.z);
    } else if PASS == CONV_WEIGHT_GRADIENT {
        let pixels = values.batch * values.out_height * values.out_width;
        there = (first + step < vec4<u32>(pixels)) & vec4<bool>(quad < outputs);
    }
    return Lines(select(vec4<u32>(), (first + step) * outputs + quad, there), block_bits(there));
}

fn lines_at(operand: u32, place: Place, grid: vec4<i32>) -> Lines {
    if (operand == 1u) == (PASS == CONV_WEIGHT_GRADIENT) { return gathered_lines(place, grid); }
    return plain_lines(place);
}

fn fetch_a(lines: Lines) -> BlockPatch {
    return BlockPatch(a[lines.at.x], a[lines.at.y], a[lines.at.z], a[lines.at.w], lines.there);
}

fn fetch_b(lines: Lines) -> BlockPatch {
    return BlockPatch(b[lines.at.x], b[lines.at.y], b[lines.at.z], b[lines.at.w], lines.there);
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
    @builtin(local_invocation_index) thread: u32,
) {
    let rows_of = conv_rows(values, PASS, SPLIT, workgroup, grid);
    let phase = rows_of.phase;
    let row_0 = rows_of.tile * 4u * BLOCK_ROW_QUADS;
    let column_0 = workgroup.y * 4u * BLOCK_COLUMN_QUADS;
    let cell = block_cell(thread);
    let depths = conv_gather_depths(workgroup, grid, BLOCK_DEPTH, phase);
    let pixel_grid = vec4<i32>(conv_gather_grid());
    let step = conv_gather_step(BLOCK_DEPTH);
    let loader = block_loader(thread);
    var place = place_at(loader, row_0, column_0, depths.x, phase);
    var carried: BlockPatch;
    let first = lines_at(loader.x, place, pixel_grid);
    if loader.x == 0u { carried = fetch_a(first); }
    if loader.x == 1u { carried = fetch_b(first); }
    var sums: BlockSums;
    var current = 0u;
    block_put(current, vec2<bool>(is_across(0u), is_across(1u)), loader, carried);
    workgroupBarrier();
    var reached_to = 0u;
    for (var depth = depths.x; depth < depths.y;) {
        // Past the end these are zeros, or the next part's, which nobody multiplies.
        var next = depth + BLOCK_DEPTH;
        if next >= reached_to {
            let reached = conv_gather_reached(next, BLOCK_DEPTH, phase);
            next = reached.x;
            reached_to = reached.y;
        }
        var lines: Lines;
        if loader.x < 2u {
            advance(&place, next - depth, step, phase);
            lines = lines_at(loader.x, place, pixel_grid);
        }
        if loader.x == 0u { carried = fetch_a(lines); }
        if loader.x == 1u { carried = fetch_b(lines); }
        block_multiply(&sums, current, cell);
        current = 1u - current;
        block_put(current, vec2<bool>(is_across(0u), is_across(1u)), loader, carried);
        workgroupBarrier();
        depth = next;
    }
    let row = row_0 + 4u * cell.y;
    let column = column_0 / 4u + cell.x;
    let right = column + BLOCK_SIDE;
    store_rows(row, phase, column, workgroup.z, thread, mat4x4<f32>(sums[0], sums[2], sums[4], sums[6]));
    if BLOCK_COLUMN_HALVES > 1u {
        store_rows(row, phase, right, workgroup.z, thread, mat4x4<f32>(sums[1], sums[3], sums[5], sums[7]));
    }
    if BLOCK_ROW_HALVES > 1u {
        store_rows(row + 64u, phase, column, workgroup.z, thread, mat4x4<f32>(sums[8], sums[10], sums[12], sums[14]));
    }
    if BLOCK_ROW_HALVES * BLOCK_COLUMN_HALVES == 4u {
        store_rows(row + 64u, phase, right, workgroup.z, thread, mat4x4<f32>(sums[9], sums[11], sums[13], sums[15]));
    }
}
