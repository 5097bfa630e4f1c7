// Sums, and first largest values, over invocations of a workgroup, by halves: a rounding error grows with the logarithm of
// their number, and the order depends on the number alone.
//
// Needs of the kernel its override LANES, a power of two: the invocations that share a sum. All invocations of the workgroup
// have to call, and each gets the result of the lanes that it is one of. With one lane there is nothing to do, and no barrier.

const TREE_INVOCATIONS: u32 = 256u; // of a workgroup at most

// Where an invocation stands: its index in the workgroup, its place among its LANES, and how far one lane is from the next.
struct TreeLane {
    index: u32,
    place: u32,
    stride: u32,
}

var<workgroup> tree_values: array<vec4<f32>, TREE_INVOCATIONS>;
var<workgroup> tree_indices: array<u32, TREE_INVOCATIONS>;

// In a workgroup of LANES after LANES: neighbours share a sum, because neighbours in memory go into one.
fn tree_in_row(index: u32) -> TreeLane {
    return TreeLane(index, index % LANES, 1u);
}

// In a workgroup of (columns, LANES): neighbours are of different sums, because neighbours in memory go into different ones.
fn tree_in_column(local: vec3<u32>, columns: u32) -> TreeLane {
    return TreeLane(local.y * columns + local.x, local.y, columns);
}

// Four sums at once.
fn tree_sum(lane: TreeLane, value: vec4<f32>) -> vec4<f32> {
    if LANES == 1u { return value; }
    tree_values[lane.index] = value;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane.place < half {
            tree_values[lane.index] += tree_values[lane.index + half * lane.stride];
        }
        workgroupBarrier();
    }
    let sum = tree_values[lane.index - lane.place * lane.stride];
    workgroupBarrier(); // all have read before the next tree writes
    return sum;
}

struct TreeLargest {
    value: f32,
    index: u32,
}

// The larger of two, of equals the one of the smaller index; a NaN is never larger.
fn tree_larger(a: TreeLargest, b: TreeLargest) -> TreeLargest {
    if b.value > a.value || (b.value == a.value && b.index < a.index) { return b; }
    return a;
}

fn tree_largest(lane: TreeLane, value: TreeLargest) -> TreeLargest {
    if LANES == 1u { return value; }
    var largest = value;
    tree_values[lane.index] = vec4<f32>(largest.value);
    tree_indices[lane.index] = largest.index;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane.place < half {
            let other = lane.index + half * lane.stride;
            largest = tree_larger(largest, TreeLargest(tree_values[other].x, tree_indices[other]));
            tree_values[lane.index] = vec4<f32>(largest.value);
            tree_indices[lane.index] = largest.index;
        }
        workgroupBarrier();
    }
    let first = lane.index - lane.place * lane.stride;
    largest = TreeLargest(tree_values[first].x, tree_indices[first]);
    workgroupBarrier(); // all have read before the next tree writes
    return largest;
}
