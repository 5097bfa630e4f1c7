// L2 norm of every filter: a row of a weight (all that feeds one output), the whole of a one-dimensional tensor.
//
//   norms[f] = sqrt(sum over the filter's elements of weights^2)
//
// Shapes    weights: the arena, or neighbouring tensors of it; filters: per filter (first element, elements), in the order of
//           norms: [filters].
// Dispatch  ceil(filters / SUMS) workgroups of LANES * SUMS, folded; LANES invocations a filter, neighbours taking neighbouring
//           elements, then a tree; so always the same bits.
// Source    Li et al., NeurIPS 2018 (filter normalisation); for one-dimensional tensors as in LPF-SGD's code.

override SUMS: u32 = 1u;
override LANES: u32 = 64u;

struct Range {
    count: u32,
}

var<immediate> values: Range;
@group(0) @binding(0) var<storage, read> weights: array<f32>;
@group(0) @binding(1) var<storage, read> filters: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> norms: array<f32>;

@compute @workgroup_size(LANES * SUMS)
fn filter_norm(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let lane = tree_in_row(local);
    let f = index_1d(workgroup, grid, 1u) * SUMS + local / LANES;
    var range = vec2<u32>();
    if f < values.count { range = filters[f]; }
    var own = 0.0;
    for (var i = lane.place; i < range.y; i += LANES) {
        let weight = weights[range.x + i];
        own += weight * weight;
    }
    let sum = tree_sum(lane, vec4<f32>(own)).x;
    if f < values.count && lane.place == 0u {
        norms[f] = sqrt(sum);
    }
}
