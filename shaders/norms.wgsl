// Partial sums for the L1 and the squared L2 norm of all weights; the host adds the partials in f64.
//
//   partials[p] = sum over i of p LANES .. (p + 1) LANES and those that are multiples of P LANES further, of (|x_i|, x_i^2),
//                 each lane's by component, then the components, then a tree
//
// Shapes    input: [count] vec4s; partials: [P, 2].
// Dispatch  ceil(P / SUMS) workgroups of LANES * SUMS: exactly P partials count.

override SUMS: u32 = 64u;
override LANES: u32 = 1u;

struct Norms {
    count: u32,
    partials: u32,
}

var<immediate> values: Norms;
@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec2<f32>>;

@compute @workgroup_size(LANES * SUMS)
fn norms(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let lane = tree_in_row(local);
    let p = index_1d(workgroup, grid, 1u) * SUMS + local / LANES;
    let end = select(0u, values.count, p < values.partials);
    var magnitudes = vec4<f32>(0.0);
    var squares = vec4<f32>(0.0);
    for (var i = p * LANES + lane.place; i < end; i += values.partials * LANES) {
        let x = input[i];
        magnitudes += abs(x);
        squares += x * x;
    }
    let one = vec4<f32>(1.0);
    let own = vec2<f32>(dot(magnitudes, one), dot(squares, one));
    let sum = tree_sum(lane, vec4<f32>(own, own)).xy;
    if p < values.partials && lane.place == 0u {
        partials[p] = sum;
    }
}
