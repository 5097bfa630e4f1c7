// Sum of a batch's (loss, correct) into one slot of the metrics ring.
//
//   metrics[slot] = sum_row row_stats[row], added to what is there if `adds` is 1
//
// Shapes    row_stats: [batch, 2]; metrics: [slots, 2].
// Dispatch  one workgroup: each invocation sums every WORKGROUP_SIZE-th row, then a tree, so always the same bits.

const WORKGROUP_SIZE: u32 = 64u; // the host launches one workgroup whatever it is

struct Slot {
    batch: u32,
    slot: u32,
    adds: u32,
}

var<immediate> values: Slot;
@group(0) @binding(0) var<storage, read_write> row_stats: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> metrics: array<vec2<f32>>;

var<workgroup> partial: array<vec2<f32>, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn metrics_sum(@builtin(local_invocation_index) lane: u32) {
    var sum = vec2<f32>(0.0);
    for (var row = lane; row < values.batch; row += WORKGROUP_SIZE) {
        sum += row_stats[row];
    }
    partial[lane] = sum;
    workgroupBarrier();
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        if lane < half {
            partial[lane] += partial[lane + half];
        }
        workgroupBarrier();
    }
    if lane == 0u {
        metrics[values.slot] = partial[0] + select(vec2<f32>(0.0), metrics[values.slot], values.adds == 1u);
    }
}
