// The gradient of a 3 x 3 convolution's weights from Winograd's products.
//
//   dW[o, i, 3 r + c] = (G' m G)[r, c],  m[r, c] = sum_part M[4 r + c, part, o, i]
//   G' = 1  1/2  1/2  0
//        0  1/2 -1/2  0
//        0  1/2  1/2  1
//
// Shapes    sums: M, runs of [16, parts, 4 out_quads, in_quads] vec4s one after the other, `whole_runs` of `parts` parts and,
//           where last_parts is not 0, one of last_parts; c: dW [out, in, 9].
// Dispatch  grid_1d(out * in_quads, PAIRS) workgroups of 16 PAIRS, folded: PAIRS pairs of an output and a quad of inputs. An
//           invocation adds up the parts of one product of one pair; then nine invocations a pair make a tap each.
// Source    the transpose of Winograd's F(2 x 2, 3 x 3) (shared/winograd.wgsl): of y = A' ((G g) * (B' d)), which is linear in g,
//           the gradient by g is G' ((A dy) * (B' d)).

override ACCUMULATE: bool = false;

const PAIRS: u32 = 16u;
const PRODUCTS: u32 = 16u;

struct Sums {
    in_channels: u32,
    out_channels: u32,
    whole_runs: u32,
    parts: u32,
    last_parts: u32,
}

var<immediate> values: Sums;
@group(0) @binding(0) var<storage, read> sums: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> c: array<f32>;

var<workgroup> products: array<vec4<f32>, PAIRS * PRODUCTS>;

fn product(row: u32, column: u32, pair: u32) -> vec4<f32> {
    return products[(4u * row + column) * PAIRS + pair];
}

// Row `row` of m G, whose column is that of the tap.
fn product_row(row: u32, column: u32, pair: u32) -> vec4<f32> {
    let m1 = product(row, 1u, pair);
    let m2 = product(row, 2u, pair);
    if column == 0u { return product(row, 0u, pair) + 0.5 * (m1 + m2); }
    if column == 1u { return 0.5 * (m1 - m2); }
    return 0.5 * (m1 + m2) + product(row, 3u, pair);
}

fn tap(row: u32, column: u32, pair: u32) -> vec4<f32> {
    let m1 = product_row(1u, column, pair);
    let m2 = product_row(2u, column, pair);
    if row == 0u { return product_row(0u, column, pair) + 0.5 * (m1 + m2); }
    if row == 1u { return 0.5 * (m1 - m2); }
    return 0.5 * (m1 + m2) + product_row(3u, column, pair);
}

// The sum of `count` parts, a stride apart; four at a time, so that their reads wait together.
fn sum_of_parts(first: u32, count: u32, stride: u32) -> vec4<f32> {
    var total = vec4<f32>();
    var part = 0u;
    for (; part + 4u <= count; part += 4u) {
        let at = first + part * stride;
        total += (sums[at] + sums[at + stride]) + (sums[at + 2u * stride] + sums[at + 3u * stride]);
    }
    for (; part < count; part++) { total += sums[first + part * stride]; }
    return total;
}

@compute @workgroup_size(PAIRS, PRODUCTS)
fn winograd_weight_gradient(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let quads = conv_quads(values.in_channels);
    let pair = index_1d(workgroup, grid, 1u) * PAIRS + local.x;
    let is_there = pair < values.out_channels * quads;
    let stride = 4u * conv_quads(values.out_channels) * quads;
    let own = select(0u, pair, is_there);
    var total = vec4<f32>();
    for (var run = 0u; run < values.whole_runs; run++) {
        total += sum_of_parts((run * PRODUCTS + local.y) * values.parts * stride + own, values.parts, stride);
    }
    let last = values.whole_runs * PRODUCTS * values.parts * stride;
    total += sum_of_parts(last + local.y * values.last_parts * stride + own, values.last_parts, stride);
    products[local.y * PAIRS + local.x] = total;
    workgroupBarrier();
    if !is_there || local.y >= 9u { return; }
    let row = local.y / 3u;
    let value = tap(row, local.y - 3u * row, local.x);
    let output = pair / quads;
    let input = 4u * (pair - output * quads);
    for (var j = 0u; j < min(4u, values.in_channels - input); j++) {
        let at = (output * values.in_channels + input + j) * 9u + local.y;
        var sum = value[j];
        if ACCUMULATE { sum += c[at]; }
        c[at] = sum;
    }
}
