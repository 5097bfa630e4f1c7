// Attention in memory linear in the length, forward: by the online softmax, over tiles of keys for each tile of queries.
//
//   S = a Q K', masked where causal;  L = log(sum of exp(S)) of each row, P = exp(S - L);  output = (P o Z / (1 - p)) V,
//   Z being dropout's mask, all 1 without DROPOUT
//
// Shapes    qkv: [batch, length, 3, heads, d]; output: [batch, length, heads, d]; lse (L): [batch, heads, length].
// Dispatch  batch * heads * ceil(length / 32) workgroups of 64, folded: tiles of a head's queries, see shared/flash.wgsl.
// Source    Milakov & Gimelshein, arXiv 1805.02867; Dao, Fu, Ermon, Rudra, Re, "FlashAttention", NeurIPS 2022.

override DROPOUT: bool = false;

const DEPTH: u32 = 32u;
const WEIGHTS: u32 = 1u;

var<immediate> values: FlashShape;
@group(0) @binding(0) var<storage, read_write> qkv: array<Real>;
@group(0) @binding(1) var<storage, read_write> output: array<Real>;
@group(0) @binding(2) var<storage, read_write> lse: array<f32>;

fn flash_element(_tensor: u32, at: u32) -> f32 {
    return f32(qkv[at]);
}

// The largest of the scores so far of each own row, over the invocations that share it.
fn largest(own: vec4<f32>, place: FlashPlace) -> vec4<f32> {
    flash_tiles[FLASH_CELLS + place.thread] = own;
    workgroupBarrier();
    let first = FLASH_CELLS + FLASH_QUADS * place.i;
    var all = flash_tiles[first];
    for (var j = 1u; j < FLASH_QUADS; j++) { all = max(all, flash_tiles[first + j]); }
    return all;
}

fn flash_store(part: u32, column: u32, value: vec4<f32>, place: FlashPlace) {
    if column >= values.head_dim { return; }
    let lines = flash_lines(values, place.sequence, FLASH_GRAD, part); // the output is laid out as its gradient
    let at = lines.start + flash_own(place) * lines.stride + column;
    let count = flash_own_count(values, place);
    for (var k = 0u; k < count; k++) { output[at[k]] = Real(value[k]); }
}

fn masked(score: vec4<f32>, own: vec4<u32>, other: u32) -> vec4<f32> {
    return select(vec4<f32>(FLASH_MASKED), values.scale * score, flash_sees(values, own, other, false));
}

@compute @workgroup_size(64)
fn flash(
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
    let own = flash_own(place);
    let range = flash_range(values, tile, false);
    var sums: FlashSums;
    var most = vec4<f32>(FLASH_MASKED);
    var total = vec4<f32>(); // of this invocation's keys
    for (var row = range.x; row < range.y; row += FLASH_SIDE) {
        var scores = FlashScores();
        for (var depth = 0u; depth < values.head_dim; depth += DEPTH) {
            flash_load(0u, query, place.first, depth, thread);
            flash_load(1u, key, row, depth, thread);
            workgroupBarrier();
            flash_multiply(&scores, 0u, 1u, place);
            workgroupBarrier();
        }
        let first = row + 4u * place.j;
        let s0 = masked(scores[0], own, first);
        let s1 = masked(scores[1], own, first + 1u);
        let s2 = masked(scores[2], own, first + 2u);
        let s3 = masked(scores[3], own, first + 3u);
        let peak = largest(max(most, max(max(s0, s1), max(s2, s3))), place);
        let shrunk = flash_exp(most - peak);
        most = peak;
        flash_scale(&sums, shrunk);
        let shares = mat4x4<f32>(flash_exp(s0 - peak), flash_exp(s1 - peak), flash_exp(s2 - peak), flash_exp(s3 - peak));
        total = total * shrunk + ((shares[0] + shares[1]) + (shares[2] + shares[3]));
        var kept = mat4x4<f32>(vec4<f32>(1.0), vec4<f32>(1.0), vec4<f32>(1.0), vec4<f32>(1.0));
        if DROPOUT { kept = kept_tile(values, own.x, first, place.sequence, false); }
        scores = FlashScores(shares[0] * kept[0], shares[1] * kept[1], shares[2] * kept[2], shares[3] * kept[3]);
        flash_put(0u, scores, place);
        flash_sum(&sums, value, value, row, place);
    }
    total = flash_over_others(total, place);
    flash_scale(&sums, 1.0 / total);
    flash_store_all(0u, &sums, place);
    let count = select(0u, flash_own_count(values, place), place.j == 0u);
    for (var k = 0u; k < count; k++) {
        lse[place.sequence * values.length + own[k]] = most[k] + math_log(total[k]);
    }
}
