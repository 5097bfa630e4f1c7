// 2-d convolution as an implicit matrix product by cooperative matrices (tensor cores); sums are f32.
//
//   forward          Y[p, o]       = epilogue( sum_{tap, i} X[p * stride + tap * dilation - padding, i] W[tap, i, o] )
//   data gradient    dX[q, i]      = epilogue( sum_{tap, o} dY[(q + padding - tap * dilation) / stride, o] W[tap, i, o] )
//   weight gradient  dW[o, i, tap] = sum_p dY[p, o] X[p * stride + tap * dilation - padding, i]
//
// Shapes    as in conv_tile.wgsl.
// Epilogue  as in matmul_block.wgsl. One group only.
// Dispatch  [row tiles, column tiles, phases * fold] workgroups of COOP_THREADS. A row tile is COOP_TILE_ROWS
//           pixels of Y, pixels of one phase of dX (conv_phase_*), or outputs; row tiles beyond the adapter's limit fold into
//           z. A column tile is COOP_TILE_COLUMNS / 4 quads of outputs, of inputs, or of [taps, in_quads].
//           Weight gradient: z is the part of the pixels that is summed, into dW[z]; split_sum.wgsl adds the parts.
// Every operand is read_write because they may lie in one arena buffer.
//
// Each quad of the gathered operand is found from a pixel and a tap, both from tables in workgroup memory, because to divide
// for every quad would cost more than to load it: one of the tables lasts, the other is made anew for each COOP_DEPTH terms,
// while the tiles before them are multiplied.
enable wgpu_cooperative_matrix;

override PASS: u32 = 0u;
override EPILOGUE: u32 = 0u;
override ACTIVATION: u32 = 0u;
override STORE_PRE: bool = false;
override ACCUMULATE: bool = false;

override COLUMN_QUADS: u32 = COOP_TILE_COLUMNS / 4u;

var<immediate> values: ConvShape;
@group(0) @binding(0) var<storage, read_write> a: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> b: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> aux: array<Real>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4<Out>>;
@group(0) @binding(4) var<storage, read_write> pre: array<vec4<Real>>;

// Pixels of the rows, or of the terms in the weight gradient: first quad of the image, y and x where the window starts, and
// whether there is such a pixel.
var<workgroup> pixels: array<vec4<i32>, COOP_TILE_ROWS>;
// Quads of the terms, or of the columns in the weight gradient: offset in y and x, channel quad, and tap (-1: none).
var<workgroup> taps: array<vec4<i32>, COLUMN_QUADS>;

// The table that lasts for the whole tile.
fn prepare_tile(thread: u32, row_0: u32, column_0: u32) {
    if PASS == CONV_WEIGHT_GRADIENT {
        for (var i = thread; i < COLUMN_QUADS; i += COOP_THREADS) { taps[i] = conv_gather_term(column_0 + i, vec2<u32>()); }
    } else {
        for (var i = thread; i < COOP_TILE_ROWS; i += COOP_THREADS) { pixels[i] = conv_gather_pixel(row_0 + i); }
    }
}

// The table of the terms from depth_0 on.
fn prepare_terms(thread: u32, phase: vec2<u32>, depth_0: u32) {
    if PASS == CONV_WEIGHT_GRADIENT {
        for (var i = thread; i < COOP_DEPTH; i += COOP_THREADS) { pixels[i] = conv_gather_pixel(depth_0 + i); }
    } else {
        for (var i = thread; i < COOP_DEPTH / 4u; i += COOP_THREADS) { taps[i] = conv_gather_term(depth_0 / 4u + i, phase); }
    }
}

fn a_quad(slot: vec2<u32>, row_0: u32, depth_0: u32) -> vec4<Real> {
    if PASS != CONV_WEIGHT_GRADIENT {
        let at = conv_gather_source(pixels[slot.x], taps[slot.y]);
        if at < 0 { return vec4<Real>(); }
        return a[at];
    }
    let quads = conv_quads(values.out_channels);
    let depth = depth_0 + slot.x;
    let row_quad = row_0 / 4u + slot.y;
    if row_quad >= quads || depth >= values.batch * values.out_height * values.out_width { return vec4<Real>(); }
    return a[depth * quads + row_quad];
}

fn b_quad(slot: vec2<u32>, column_0: u32, depth_0: u32) -> vec4<Real> {
    let outputs = conv_quads(values.out_channels);
    let inputs = conv_quads(values.in_channels);
    if PASS == CONV_FORWARD {
        let depth = depth_0 + slot.x;
        let column = column_0 + slot.y;
        if depth >= conv_gather_taps() * 4u * inputs || column >= outputs { return vec4<Real>(); }
        return b[depth * outputs + column];
    } else if PASS == CONV_DATA_GRADIENT {
        let tap = taps[slot.y];
        let input = 4u * column_0 + slot.x;
        if tap.w < 0 || input >= 4u * inputs { return vec4<Real>(); }
        return b[(u32(tap.w) * 4u * inputs + input) * outputs + u32(tap.z)];
    }
    let at = conv_gather_source(pixels[slot.x], taps[slot.y]);
    if at < 0 { return vec4<Real>(); }
    return b[at];
}

// Fills both tiles with the COOP_DEPTH terms from depth_0 on.
fn stage(thread: u32, row_0: u32, column_0: u32, depth_0: u32) {
    for (var i = thread; i < coop_quads(COOP_TILE_ROWS); i += COOP_THREADS) {
        let slot = coop_slot(i, COOP_TILE_ROWS, COOP_A_ACROSS);
        coop_put_a(slot, a_quad(slot, row_0, depth_0));
    }
    for (var i = thread; i < coop_quads(COOP_TILE_COLUMNS); i += COOP_THREADS) {
        let slot = coop_slot(i, COOP_TILE_COLUMNS, COOP_B_ACROSS);
        coop_put_b(slot, b_quad(slot, column_0, depth_0));
    }
}

@compute @workgroup_size(COOP_THREADS)
fn conv_coop(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let rows_of = conv_rows(values, PASS, workgroup, grid);
    let phase = rows_of.phase;
    let row_0 = rows_of.tile * COOP_TILE_ROWS;
    let column_0 = workgroup.y * COLUMN_QUADS;
    let depths = conv_gather_depths(workgroup, grid, COOP_DEPTH, phase);

    prepare_tile(thread, row_0, column_0);
    for (var first = 0u; first < COOP_SHARES; first += subgroups) {
        let share = coop_share(first, subgroup);
        prepare_terms(thread, phase, depths.x);
        workgroupBarrier();
        var sums: CoopSums;
        for (var depth_0 = depths.x; depth_0 < depths.y;) {
            stage(thread, row_0, column_0, depth_0);
            workgroupBarrier();
            coop_multiply(share, &sums);
            depth_0 = conv_gather_reached(depth_0 + COOP_DEPTH, COOP_DEPTH, phase);
            prepare_terms(thread, phase, depth_0);
            workgroupBarrier();
        }
        for (var fragment = 0u; fragment < COOP_FRAGMENTS; fragment++) {
            coop_spill(first, subgroup, fragment, &sums);
            workgroupBarrier();
            for (var i = 4u * thread; i < coop_spilt(first, subgroups); i += 4u * COOP_THREADS) {
                let at = coop_place(first, fragment, i);
                let found = vec4<f32>(coop_c[i], coop_c[i + 1u], coop_c[i + 2u], coop_c[i + 3u]);
                conv_store(row_0 + at.x, phase, column_0 + at.y / 4u, workgroup.z, found);
            }
            workgroupBarrier();
        }
    }
}
