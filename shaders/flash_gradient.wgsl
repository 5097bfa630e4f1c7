// The gradient of attention in memory linear in the length: that of the queries over tiles of keys, or with KEYS that of keys and
// values over tiles of queries.
//
//   P = exp(a Q K' - L),  dP = (grad V') o Z / (1 - p),  dS = P o (dP - D),  Z being dropout's mask, all 1 without DROPOUT
//   dQ = a dS K;   dK = a dS' Q,  dV = (P o Z / (1 - p))' grad
//
// Shapes    qkv, grad_qkv: [batch, length, 3, heads, d]; grad: [batch, length, heads, d]; rows: [batch, heads, length, 4], of which
//           this takes L and D, see flash_rows.wgsl.
// Dispatch  batch * heads * ceil(length / 32) workgroups of 64, folded: tiles of a head's queries or keys, see shared/flash.wgsl.
// Source    Dao, Fu, Ermon, Rudra, Re, "FlashAttention", NeurIPS 2022; in two passes, so that nothing is added by atomics.

override KEYS: bool = false;
override DROPOUT: bool = false;
override ACCUMULATE: bool = false;

const DEPTH: u32 = 16u;
const WEIGHTS: u32 = 1u;

var<immediate> values: FlashShape;
@group(0) @binding(0) var<storage, read_write> qkv: array<Real>;
@group(0) @binding(1) var<storage, read_write> grad: array<Real>;
@group(0) @binding(2) var<storage, read_write> rows: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> grad_qkv: array<Real>;

fn flash_element(tensor: u32, at: u32) -> f32 {
    if tensor == FLASH_GRAD { return f32(grad[at]); }
    return f32(qkv[at]);
}

// L and D of a query.
fn row_of(sequence: u32, query: u32) -> vec2<f32> {
    return rows[sequence * values.length + min(query, values.length - 1u)].xz;
}

fn flash_store(part: u32, column: u32, value: vec4<f32>, place: FlashPlace) {
    if column >= values.head_dim { return; }
    let lines = flash_lines(values, place.sequence, FLASH_QKV, part);
    let at = lines.start + flash_own(place) * lines.stride + column;
    let count = flash_own_count(values, place);
    for (var k = 0u; k < count; k++) {
        var sum = value[k];
        if ACCUMULATE { sum += f32(grad_qkv[at[k]]); }
        grad_qkv[at[k]] = Real(sum);
    }
}

// Of own rows: where they are queries, L and D of each.
struct Own {
    rows: vec4<u32>,
    lse: vec4<f32>,
    mean: vec4<f32>,
}

// P o Z / (1 - p) and dS of own rows and another.
struct Weights {
    probability: vec4<f32>,
    slope: vec4<f32>,
}

fn weights(score: vec4<f32>, slope: vec4<f32>, kept: vec4<f32>, own: Own, other: u32, sequence: u32) -> Weights {
    var lse = own.lse;
    var mean = own.mean;
    if KEYS {
        let row = row_of(sequence, other);
        lse = vec4<f32>(row.x);
        mean = vec4<f32>(row.y);
    }
    let sees = flash_sees(values, own.rows, other, KEYS);
    let probability = select(vec4<f32>(), flash_exp(values.scale * score - lse), sees);
    return Weights(probability * kept, probability * (slope * kept - mean));
}

@compute @workgroup_size(64)
fn flash_gradient(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let tile = flash_tile(values, workgroup, grid);
    if tile.sequence >= values.sequences { return; }
    let place = flash_place(tile, thread);
    // What scores are products of, and what slopes are.
    let own = flash_lines(values, tile.sequence, FLASH_QKV, select(FLASH_QUERY, FLASH_KEY, KEYS));
    let other = flash_lines(values, tile.sequence, FLASH_QKV, select(FLASH_KEY, FLASH_QUERY, KEYS));
    let grads = flash_lines(values, tile.sequence, FLASH_GRAD, 0u);
    var own_slope = grads;
    var other_slope = flash_lines(values, tile.sequence, FLASH_QKV, FLASH_VALUE);
    if KEYS {
        own_slope = other_slope;
        other_slope = grads;
    }
    let at = flash_own(place);
    let row_0 = row_of(place.sequence, at.x);
    let row_1 = row_of(place.sequence, at.y);
    let row_2 = row_of(place.sequence, at.z);
    let row_3 = row_of(place.sequence, at.w);
    let lse = vec4<f32>(row_0.x, row_1.x, row_2.x, row_3.x);
    let own_rows = Own(at, lse, vec4<f32>(row_0.y, row_1.y, row_2.y, row_3.y));
    let range = flash_range(values, tile, KEYS);
    var sums: FlashSums;
    var value_sums: FlashSums;
    for (var row = range.x; row < range.y; row += FLASH_SIDE) {
        var scores = FlashScores();
        var slopes = FlashScores();
        for (var depth = 0u; depth < values.head_dim; depth += DEPTH) {
            flash_load(0u, own, place.first, depth, thread);
            flash_load(1u, own_slope, place.first, depth, thread);
            flash_load(2u, other, row, depth, thread);
            flash_load(3u, other_slope, row, depth, thread);
            workgroupBarrier();
            flash_multiply(&scores, 0u, 2u, place);
            flash_multiply(&slopes, 1u, 3u, place);
            workgroupBarrier();
        }
        let first = row + 4u * place.j;
        var kept = mat4x4<f32>(vec4<f32>(1.0), vec4<f32>(1.0), vec4<f32>(1.0), vec4<f32>(1.0));
        if DROPOUT { kept = kept_tile(values, own_rows.rows.x, first, place.sequence, KEYS); }
        let w0 = weights(scores[0], slopes[0], kept[0], own_rows, first, place.sequence);
        let w1 = weights(scores[1], slopes[1], kept[1], own_rows, first + 1u, place.sequence);
        let w2 = weights(scores[2], slopes[2], kept[2], own_rows, first + 2u, place.sequence);
        let w3 = weights(scores[3], slopes[3], kept[3], own_rows, first + 3u, place.sequence);
        if KEYS {
            flash_put(0u, FlashScores(w0.probability, w1.probability, w2.probability, w3.probability), place);
            flash_sum(&value_sums, other_slope, other_slope, row, place);
        }
        flash_put(0u, FlashScores(w0.slope, w1.slope, w2.slope, w3.slope), place);
        flash_sum(&sums, other, other, row, place);
    }
    flash_scale(&sums, vec4<f32>(values.scale));
    flash_store_all(select(FLASH_QUERY, FLASH_KEY, KEYS), &sums, place);
    if KEYS { flash_store_all(FLASH_VALUE, &value_sums, place); }
}
