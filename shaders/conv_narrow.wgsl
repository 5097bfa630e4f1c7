// 2-d convolution to few channels as an implicit matrix product, for software adapters with subgroups of 4, 8 or 16 lanes:
// registers and shuffles.
//
//   forward          Y[p, o]   = epilogue( sum_{tap, i} X[p * stride + tap * dilation - padding, i] W[tap, i, o] )
//   data gradient    dX[q, i]  = epilogue( sum_{tap, o} dY[(q + padding - tap * dilation) / stride, o] W[tap, i, o] )
//
// Shapes    as in conv_software.wgsl. One group only.
// Epilogue  as in matmul_block.wgsl.
// Dispatch  [row tiles, 1, phases * fold] workgroups of one subgroup. A row tile is 4 LANES rows: pixels of Y, or pixels of one
//           phase of dX (conv_phase_*); row tiles beyond the adapter's limit fold into z.
//
// Up to half as many quads of result channels as lanes would leave half of conv_software.wgsl's lanes without columns: here
// lanes keep their rows to themselves, and weights are what they hand to each other.
// Every operand is read_write because they may lie in one arena buffer.

override PASS: u32 = 0u;
override SPLIT: bool = false;
// Lanes of a subgroup, and so of a workgroup: 4, 8 or 16.
override LANES: u32 = 8u;
// The quads of the result's channels: 1 to LANES / 2.
override NARROW_QUADS: u32 = 1u;
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
var<workgroup> finished: array<vec4<f32>, 4u * NARROW_QUADS * LANES>;

// Four vec4s (one for each row) for each quad, of which 16 lanes have 8.
alias TileSums = array<vec4<f32>, 32>;

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
fn add_quad(sums: ptr<function, TileSums>, q: u32, rows: mat4x4<f32>, spread_weights: Spread) {
    let weights = mat4x4<f32>(spread_columns(spread_weights, q, 0u), spread_columns(spread_weights, q, 1u),
                              spread_columns(spread_weights, q, 2u), spread_columns(spread_weights, q, 3u));
    let terms = transpose(rows);
    (*sums)[4u * q] += weights * terms[0];
    (*sums)[4u * q + 1u] += weights * terms[1];
    (*sums)[4u * q + 2u] += weights * terms[2];
    (*sums)[4u * q + 3u] += weights * terms[3];
}

fn add_taps(sums: ptr<function, TileSums>, rows: mat4x4<f32>, tap: u32, quad: u32, lane: u32) {
    let weights = spread(lane, tap, quad);
    add_quad(sums, 0u, rows, weights);
    if NARROW_QUADS > 1u { add_quad(sums, 1u, rows, weights); }
    if NARROW_QUADS > 2u { add_quad(sums, 2u, rows, weights); }
    if NARROW_QUADS > 3u { add_quad(sums, 3u, rows, weights); }
    if NARROW_QUADS > 4u { add_quad(sums, 4u, rows, weights); }
    if NARROW_QUADS > 5u { add_quad(sums, 5u, rows, weights); }
    if NARROW_QUADS > 6u { add_quad(sums, 6u, rows, weights); }
    if NARROW_QUADS > 7u { add_quad(sums, 7u, rows, weights); }
}

// What becomes of quad `q` of the lane's own rows, from `row` on. The loop is unrolled by the driver, as in shared/tile.wgsl.
fn write_quad(sums: ptr<function, TileSums>, q: u32, row: u32, row_count: u32, lane: u32) {
    for (var i = 0u; i < 4u; i++) {
        if DIRECT {
            if row + i < row_count { store_c(4u * ((row + i) * NARROW_QUADS + q), 4u, (*sums)[4u * q + i]); }
        } else {
            finished[(4u * q + i) * LANES + lane] = (*sums)[4u * q + i];
        }
    }
}

@compute @workgroup_size(LANES)
fn conv_narrow(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let rows_of = conv_rows(values, PASS, SPLIT, workgroup, grid);
    let row = rows_of.tile * BLOCK + 4u * lane;
    var sums: TileSums;
    window_sums(&sums, row, rows_of.phase, lane);
    let row_count = window_result_rows();
    if rows_of.tile * BLOCK >= row_count { return; }
    write_quad(&sums, 0u, row, row_count, lane);
    if NARROW_QUADS > 1u { write_quad(&sums, 1u, row, row_count, lane); }
    if NARROW_QUADS > 2u { write_quad(&sums, 2u, row, row_count, lane); }
    if NARROW_QUADS > 3u { write_quad(&sums, 3u, row, row_count, lane); }
    if NARROW_QUADS > 4u { write_quad(&sums, 4u, row, row_count, lane); }
    if NARROW_QUADS > 5u { write_quad(&sums, 5u, row, row_count, lane); }
    if NARROW_QUADS > 6u { write_quad(&sums, 6u, row, row_count, lane); }
    if NARROW_QUADS > 7u { write_quad(&sums, 7u, row, row_count, lane); }
    if DIRECT { return; }
    // NARROW_QUADS, and not known to the compiler: one copy of the epilogue.
    let columns = window_result_quads();
    for (var i = 0u; i < 4u * columns; i++) {
        let pixel = conv_pixel(values, PASS, row + i % 4u, rows_of.phase);
        if row + i % 4u < row_count && pixel.there {
            conv_store_pixel(pixel.index * columns + i / 4u, finished[i * LANES + lane], conv_store_bias(i / 4u));
        }
    }
}
