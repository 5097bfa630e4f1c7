// L2 norm of every filter: a row of a weight (all that feeds one output), the whole of a one-dimensional tensor.
//
//   norms[f] = sqrt(sum over the filter's elements of weights^2)
//
// Shapes    weights: the arena; filters: per filter (first element, elements), in the order of norms: [filters].
// Dispatch  grid_1d(filters, WORKGROUP_SIZE), folded; one invocation a filter, sequential, so always the same bits.
// Source    Li et al., NeurIPS 2018 (filter normalisation); for one-dimensional tensors as in LPF-SGD's code.

override WORKGROUP_SIZE: u32 = 64u;

struct Range {
    count: u32,
}

var<immediate> values: Range;
@group(0) @binding(0) var<storage, read> weights: array<f32>;
@group(0) @binding(1) var<storage, read> filters: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> norms: array<f32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn filter_norm(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let f = index_1d(invocation, grid, WORKGROUP_SIZE);
    if f >= values.count {
        return;
    }
    let range = filters[f];
    var sum = 0.0;
    for (var i = 0u; i < range.y; i++) {
        let weight = weights[range.x + i];
        sum += weight * weight;
    }
    norms[f] = sqrt(sum);
}
