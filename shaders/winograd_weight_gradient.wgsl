// The gradient of a 3 x 3 convolution's weights from Winograd's products.
//
//   dW[o, i, 3 r + c] = (G' m G)[r, c],  m[r, c] = sum_part M[SIDE r + c, part, o, i]
//
// Shapes    sums: M, runs of [SIDE^2, parts, 4 out_quads, in_lanes] one after the other, `whole_runs` of `parts` parts and,
//           where last_parts is not 0, one of last_parts; c: dW [out, in, 9]. SIDE and lanes are those of shared/winograd_*.
// Dispatch  grid_1d(out * in_lanes, PAIRS) workgroups of PAIRS x ROWS, folded: PAIRS pairs of an output and a lane of inputs. An
//           invocation adds up the parts of every ROWS-th product of one pair; then nine invocations a pair make a tap each.
// Source    the transpose of Winograd's algorithm (shared/winograd.wgsl): of y = A' ((G g) * (B' d)), which is linear in g, the
//           gradient by g is G' ((A dy) * (B' d)).

override ACCUMULATE: bool = false;

const PAIRS: u32 = 16u;
const PRODUCTS: u32 = WINOGRAD_SIDE * WINOGRAD_SIDE;
// A divisor of PRODUCTS, not below the taps: 16, or 12 of 36.
override ROWS: u32 = 16u;

struct Sums {
    in_channels: u32,
    out_channels: u32,
    whole_runs: u32,
    parts: u32,
    last_parts: u32,
}

var<immediate> values: Sums;
@group(0) @binding(0) var<storage, read> sums: array<WinogradLane>;
@group(0) @binding(1) var<storage, read_write> c: array<f32>;

var<workgroup> products: array<WinogradLane, PAIRS * PRODUCTS>;

fn product(row: u32, column: u32, pair: u32) -> WinogradLane {
    return products[(WINOGRAD_SIDE * row + column) * PAIRS + pair];
}

// Row `row` of m G at the tap's column.
fn product_row(row: u32, column: u32, pair: u32) -> WinogradLane {
    var m = winograd_four(product(row, 0u, pair), product(row, 1u, pair), product(row, 2u, pair), product(row, 3u, pair));
    if WINOGRAD_SIDE > 4u {
        m[4] = product(row, 4u, pair);
        m[5] = product(row, 5u, pair);
    }
    return winograd_tap(column, m);
}

fn tap(row: u32, column: u32, pair: u32) -> WinogradLane {
    var m = winograd_four(product_row(0u, column, pair), product_row(1u, column, pair),
                          product_row(2u, column, pair), product_row(3u, column, pair));
    if WINOGRAD_SIDE > 4u {
        m[4] = product_row(4u, column, pair);
        m[5] = product_row(5u, column, pair);
    }
    return winograd_tap(row, m);
}

// The sum of `count` parts, a stride apart; four at a time, so that their reads wait together.
fn sum_of_parts(first: u32, count: u32, stride: u32) -> WinogradLane {
    var total = WinogradLane(0.0);
    var part = 0u;
    for (; part + 4u <= count; part += 4u) {
        let at = first + part * stride;
        total += (sums[at] + sums[at + stride]) + (sums[at + 2u * stride] + sums[at + 3u * stride]);
    }
    for (; part < count; part++) { total += sums[first + part * stride]; }
    return total;
}

// The sum of all parts of one product of a pair.
fn sum_of_product(number: u32, pair: u32, stride: u32) -> WinogradLane {
    var total = WinogradLane(0.0);
    for (var run = 0u; run < values.whole_runs; run++) {
        total += sum_of_parts((run * PRODUCTS + number) * values.parts * stride + pair, values.parts, stride);
    }
    let last = values.whole_runs * PRODUCTS * values.parts * stride;
    return total + sum_of_parts(last + number * values.last_parts * stride + pair, values.last_parts, stride);
}

@compute @workgroup_size(PAIRS, ROWS)
fn winograd_weight_gradient(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let lanes = winograd_lanes(values.in_channels);
    let pair = index_1d(workgroup, grid, 1u) * PAIRS + local.x;
    let is_there = pair < values.out_channels * lanes;
    let stride = 4u * conv_quads(values.out_channels) * lanes;
    let own = select(0u, pair, is_there);
    for (var number = local.y; number < PRODUCTS; number += ROWS) {
        products[number * PAIRS + local.x] = sum_of_product(number, own, stride);
    }
    workgroupBarrier();
    if !is_there || local.y >= 9u { return; }
    let row = local.y / 3u;
    let value = winograd_padded(tap(row, local.y - 3u * row, local.x));
    let output = pair / lanes;
    let input = WINOGRAD_LANES * (pair - output * lanes);
    for (var j = 0u; j < WINOGRAD_LANES && input + j < values.in_channels; j++) {
        let at = (output * values.in_channels + input + j) * 9u + local.y;
        var sum = value[j];
        if ACCUMULATE { sum += c[at]; }
        c[at] = sum;
    }
}
