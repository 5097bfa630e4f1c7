// Sum of a batch's (loss, correct) into one slot of the metrics ring.
//
//   metrics[slot] = sum_row row_stats[row], added to what is there if `adds` is 1
//
// Shapes    row_stats: [batch, 2]; metrics: [slots, 2].
// Dispatch  one workgroup of LANES: each invocation sums every LANES-th row, then a tree, so always the same bits.

override LANES: u32 = 64u;

struct Slot {
    batch: u32,
    slot: u32,
    adds: u32,
}

var<immediate> values: Slot;
@group(0) @binding(0) var<storage, read_write> row_stats: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> metrics: array<vec2<f32>>;

@compute @workgroup_size(LANES)
fn metrics_sum(@builtin(local_invocation_index) local: u32) {
    var own = vec2<f32>(0.0);
    for (var row = local; row < values.batch; row += LANES) {
        own += row_stats[row];
    }
    let sum = tree_sum(tree_in_row(local), vec4<f32>(own, own)).xy;
    if local == 0u {
        metrics[values.slot] = sum + select(vec2<f32>(0.0), metrics[values.slot], values.adds == 1u);
    }
}
