// The tangent of attention in memory linear in the length, along a direction of queries, keys and values (a dot: the tangent).
//
//   S. = a (Q. K' + Q K.'),  P = exp(a Q K' - L),  mu = rowsum(P o S.), which is L.;  output. = (P o S.) V + P V. - mu output
//
// Shapes    qkv, qkv_tangent: [batch, length, 3, heads, d]; output, output_tangent: [batch, length, heads, d]; lse (L), mu:
//           [batch, heads, length].
// Dispatch  batch * heads * ceil(length / 32) workgroups of 64, folded: tiles of a head's queries, see shared/flash.wgsl.
// Source    the derivative of flash.wgsl's formula; P. = P o (S. - mu) is never formed.

const DEPTH: u32 = 16u;
const WEIGHTS: u32 = 2u;

var<immediate> values: FlashShape;
@group(0) @binding(0) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(1) var<storage, read_write> qkv_tangent: array<f32>;
@group(0) @binding(2) var<storage, read_write> lse: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;
@group(0) @binding(4) var<storage, read_write> output_tangent: array<f32>;
@group(0) @binding(5) var<storage, read_write> mu: array<f32>;

var<private> row_means: vec4<f32>; // mu of the own rows, for flash_store

fn flash_element(tensor: u32, at: u32) -> f32 {
    if tensor == FLASH_QKV_TANGENT { return qkv_tangent[at]; }
    return qkv[at];
}

fn lse_of(sequence: u32, query: u32) -> f32 {
    return lse[sequence * values.length + min(query, values.length - 1u)];
}

fn flash_store(part: u32, column: u32, value: vec4<f32>, place: FlashPlace) {
    if column >= values.head_dim { return; }
    let lines = flash_lines(values, place.sequence, FLASH_GRAD, part); // the output is laid out as its gradient
    let at = lines.start + flash_own(place) * lines.stride + column;
    let count = flash_own_count(values, place);
    for (var k = 0u; k < count; k++) {
        output_tangent[at[k]] = value[k] - row_means[k] * output[at[k]];
    }
}

// P and P o S. of own rows and another.
struct Weights {
    probability: vec4<f32>,
    tangent: vec4<f32>,
}

fn weights(score: vec4<f32>, tangent: vec4<f32>, lse: vec4<f32>, own: vec4<u32>, other: u32) -> Weights {
    let sees = flash_sees(values, own, other, false);
    let probability = select(vec4<f32>(), flash_exp(values.scale * score - lse), sees);
    return Weights(probability, values.scale * tangent * probability);
}

@compute @workgroup_size(64)
fn flash_tangent(
    @builtin(local_invocation_index) thread: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let tile = flash_tile(values, workgroup, grid);
    if tile.sequence >= values.sequences { return; }
    let place = flash_place(tile, thread);
    let query = flash_lines(values, tile.sequence, FLASH_QKV, FLASH_QUERY);
    let key = flash_lines(values, tile.sequence, FLASH_QKV, FLASH_KEY);
    let value = flash_lines(values, tile.sequence, FLASH_QKV, FLASH_VALUE);
    let query_tangent = flash_lines(values, tile.sequence, FLASH_QKV_TANGENT, FLASH_QUERY);
    let key_tangent = flash_lines(values, tile.sequence, FLASH_QKV_TANGENT, FLASH_KEY);
    let value_tangent = flash_lines(values, tile.sequence, FLASH_QKV_TANGENT, FLASH_VALUE);
    let own = flash_own(place);
    let range = flash_range(values, tile, false);
    let own_lse = vec4<f32>(
        lse_of(place.sequence, own.x),
        lse_of(place.sequence, own.y),
        lse_of(place.sequence, own.z),
        lse_of(place.sequence, own.w),
    );
    var sums: FlashSums;
    var mean = vec4<f32>();
    for (var row = range.x; row < range.y; row += FLASH_SIDE) {
        var scores = FlashScores();
        var tangents = FlashScores();
        flash_multiply_all(&scores, &tangents, query, query_tangent, key, key_tangent, row, place);
        let first = row + 4u * place.j;
        let w0 = weights(scores[0], tangents[0], own_lse, own, first);
        let w1 = weights(scores[1], tangents[1], own_lse, own, first + 1u);
        let w2 = weights(scores[2], tangents[2], own_lse, own, first + 2u);
        let w3 = weights(scores[3], tangents[3], own_lse, own, first + 3u);
        mean += (w0.tangent + w1.tangent) + (w2.tangent + w3.tangent);
        flash_put(0u, FlashScores(w0.tangent, w1.tangent, w2.tangent, w3.tangent), place);
        flash_put(1u, FlashScores(w0.probability, w1.probability, w2.probability, w3.probability), place);
        flash_sum(&sums, value, value_tangent, row, place);
    }
    mean = flash_over_others(mean, place);
    let count = select(0u, flash_own_count(values, place), place.j == 0u);
    for (var k = 0u; k < count; k++) { mu[place.sequence * values.length + own[k]] = mean[k]; }
    row_means = mean;
    flash_store_all(0u, &sums, place);
}
