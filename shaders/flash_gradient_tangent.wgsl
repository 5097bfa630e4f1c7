// The tangent of the gradient of attention in memory linear in the length, along a direction of queries, keys and values and of
// the output's gradient (a dot: the tangent): that of the queries' over tiles of keys, or with KEYS that of the keys' and values'
// over tiles of queries.
//
//   S. = a (Q. K' + Q K.'),  P = exp(a Q K' - L),  P. = P o (S. - mu)
//   dP = grad V',  dP. = grad. V' + grad V.',  dS = P o (dP - D),  dS. = P. o (dP - D) + P o (dP. - D.)
//   dQ. = a (dS. K + dS K.);   dK. = a (dS.' Q + dS' Q.),  dV. = P.' grad + P' grad.
//
// Shapes    qkv, qkv_tangent, result: [batch, length, 3, heads, d]; grad, grad_tangent: [batch, length, heads, d]; rows (L, mu, D,
//           D.): [batch, heads, length, 4], see flash_rows.wgsl. Without GRAD_TANGENT grad. is 0 and not read.
// Dispatch  batch * heads * ceil(length / 32) workgroups of 64, folded: tiles of a head's queries or keys, see shared/flash.wgsl.
// Source    the derivative of flash_gradient.wgsl's formula: forward over reverse, Pearlmutter 1994.

override KEYS: bool = false;
override GRAD_TANGENT: bool = true;
override ACCUMULATE: bool = false;

const DEPTH: u32 = 16u;
const WEIGHTS: u32 = 2u;

var<immediate> values: FlashShape;
@group(0) @binding(0) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(1) var<storage, read_write> grad: array<f32>;
@group(0) @binding(2) var<storage, read_write> qkv_tangent: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_tangent: array<f32>;
@group(0) @binding(4) var<storage, read_write> rows: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> result: array<f32>;

fn flash_element(tensor: u32, at: u32) -> f32 {
    if tensor == FLASH_GRAD { return grad[at]; }
    if tensor == FLASH_QKV_TANGENT { return qkv_tangent[at]; }
    if tensor == FLASH_QKV { return qkv[at]; }
    if GRAD_TANGENT { return grad_tangent[at]; }
    return 0.0;
}

// L, mu, D and D. of a query.
fn row_of(sequence: u32, query: u32) -> vec4<f32> {
    return rows[sequence * values.length + min(query, values.length - 1u)];
}

fn flash_store(part: u32, column: u32, value: vec4<f32>, place: FlashPlace) {
    if column >= values.head_dim { return; }
    let lines = flash_lines(values, place.sequence, FLASH_QKV, part);
    let at = lines.start + flash_own(place) * lines.stride + column;
    let count = flash_own_count(values, place);
    for (var k = 0u; k < count; k++) {
        var sum = value[k];
        if ACCUMULATE { sum += result[at[k]]; }
        result[at[k]] = sum;
    }
}

// P, P., dS and dS. of own rows and another.
struct Weights {
    probability: vec4<f32>,
    probability_tangent: vec4<f32>,
    slope: vec4<f32>,
    slope_tangent: vec4<f32>,
}

// `scores` and `slopes` come with their tangents behind them; `queries` are L, mu, D and D. of the own rows where they are queries.
fn weights(
    scores: mat2x4<f32>,
    slopes: mat2x4<f32>,
    queries: mat4x4<f32>,
    own: vec4<u32>,
    other: u32,
    sequence: u32,
) -> Weights {
    var stats = queries;
    if KEYS {
        let row = row_of(sequence, other);
        stats = mat4x4<f32>(vec4<f32>(row.x), vec4<f32>(row.y), vec4<f32>(row.z), vec4<f32>(row.w));
    }
    let sees = flash_sees(values, own, other, KEYS);
    let probability = select(vec4<f32>(), flash_exp(values.scale * scores[0] - stats[0]), sees);
    let probability_tangent = probability * (values.scale * scores[1] - stats[1]);
    let slope = slopes[0] - stats[2];
    let slope_tangent = probability_tangent * slope + probability * (slopes[1] - stats[3]);
    return Weights(probability, probability_tangent, probability * slope, slope_tangent);
}

@compute @workgroup_size(64)
fn flash_gradient_tangent(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let tile = flash_tile(values, workgroup, grid);
    if tile.sequence >= values.sequences { return; }
    let place = flash_place(tile, thread);
    // What scores are products of, and what slopes are; then their tangents.
    let own = flash_lines(values, tile.sequence, FLASH_QKV, select(FLASH_QUERY, FLASH_KEY, KEYS));
    let other = flash_lines(values, tile.sequence, FLASH_QKV, select(FLASH_KEY, FLASH_QUERY, KEYS));
    let own_tangent = flash_lines(values, tile.sequence, FLASH_QKV_TANGENT, select(FLASH_QUERY, FLASH_KEY, KEYS));
    let other_tangent = flash_lines(values, tile.sequence, FLASH_QKV_TANGENT, select(FLASH_KEY, FLASH_QUERY, KEYS));
    let grads = flash_lines(values, tile.sequence, FLASH_GRAD, 0u);
    let grad_tangents = flash_lines(values, tile.sequence, FLASH_GRAD_TANGENT, 0u);
    var own_slope = grads;
    var own_slope_tangent = grad_tangents;
    var other_slope = flash_lines(values, tile.sequence, FLASH_QKV, FLASH_VALUE);
    var other_slope_tangent = flash_lines(values, tile.sequence, FLASH_QKV_TANGENT, FLASH_VALUE);
    if KEYS {
        own_slope = other_slope;
        own_slope_tangent = other_slope_tangent;
        other_slope = grads;
        other_slope_tangent = grad_tangents;
    }
    let own_rows = flash_own(place);
    let range = flash_range(values, tile, KEYS);
    // Of each own query: L, mu, D and D. of all four.
    let own_stats = transpose(mat4x4<f32>(
        row_of(place.sequence, own_rows.x),
        row_of(place.sequence, own_rows.y),
        row_of(place.sequence, own_rows.z),
        row_of(place.sequence, own_rows.w),
    ));
    var sums: FlashSums;
    var value_sums: FlashSums;
    for (var row = range.x; row < range.y; row += FLASH_SIDE) {
        var scores = FlashScores();
        var score_tangents = FlashScores();
        var slopes = FlashScores();
        var slope_tangents = FlashScores();
        flash_multiply_all(&scores, &score_tangents, own, own_tangent, other, other_tangent, row, place);
        flash_multiply_all(
            &slopes, &slope_tangents, own_slope, own_slope_tangent, other_slope, other_slope_tangent, row, place);
        let first = row + 4u * place.j;
        let w0 = weights(mat2x4<f32>(scores[0], score_tangents[0]), mat2x4<f32>(slopes[0], slope_tangents[0]),
                         own_stats, own_rows, first, place.sequence);
        let w1 = weights(mat2x4<f32>(scores[1], score_tangents[1]), mat2x4<f32>(slopes[1], slope_tangents[1]),
                         own_stats, own_rows, first + 1u, place.sequence);
        let w2 = weights(mat2x4<f32>(scores[2], score_tangents[2]), mat2x4<f32>(slopes[2], slope_tangents[2]),
                         own_stats, own_rows, first + 2u, place.sequence);
        let w3 = weights(mat2x4<f32>(scores[3], score_tangents[3]), mat2x4<f32>(slopes[3], slope_tangents[3]),
                         own_stats, own_rows, first + 3u, place.sequence);
        if KEYS {
            let tangents = FlashScores(
                w0.probability_tangent, w1.probability_tangent, w2.probability_tangent, w3.probability_tangent);
            flash_put(0u, tangents, place);
            flash_put(1u, FlashScores(w0.probability, w1.probability, w2.probability, w3.probability), place);
            flash_sum(&value_sums, other_slope, other_slope_tangent, row, place);
        }
        flash_put(0u, FlashScores(w0.slope_tangent, w1.slope_tangent, w2.slope_tangent, w3.slope_tangent), place);
        flash_put(1u, FlashScores(w0.slope, w1.slope, w2.slope, w3.slope), place);
        flash_sum(&sums, other, other_tangent, row, place);
    }
    flash_scale(&sums, vec4<f32>(values.scale));
    flash_store_all(select(FLASH_QUERY, FLASH_KEY, KEYS), &sums, place);
    if KEYS { flash_store_all(FLASH_VALUE, &value_sums, place); }
}
