// Partial sums for the L2 norm of a direction in units of the weights' magnitudes.
//
//   partials[p] = (0, sum over i of p LANES .. (p + 1) LANES and those that are multiples of P LANES further, of (T_i x_i)^2),
//                 T = abs(weights) + eta in tensors that are marked, else 1; summed as in norms.wgsl
//
// Shapes    input, weights: [count] vec4s; blocks: one entry per 64 elements of the arena, whose first is the tensor;
//           marked: [tensors], 1 or 0; partials: [P, 2], as norms.wgsl has them.
// Dispatch  ceil(P / SUMS) workgroups of LANES * SUMS: exactly P partials count.
// Source    Kwon et al., "ASAM", ICML 2021.

override SUMS: u32 = 64u;
override LANES: u32 = 1u;

struct AdaptiveNorms {
    count: u32,
    partials: u32,
    // First block of the bound part.
    block_base: u32,
    eta: f32,
}

var<immediate> values: AdaptiveNorms;
@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> marked: array<u32>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec2<f32>>;

@compute @workgroup_size(LANES * SUMS)
fn adaptive_norms(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let lane = tree_in_row(local);
    let p = index_1d(workgroup, grid, 1u) * SUMS + local / LANES;
    let end = select(0u, values.count, p < values.partials);
    var squares = vec4<f32>(0.0);
    for (var i = p * LANES + lane.place; i < end; i += values.partials * LANES) {
        var x = input[i];
        if marked[blocks[values.block_base + i / 16u].x] == 1u {
            x *= abs(weights[i]) + values.eta;
        }
        squares += x * x;
    }
    let own = vec4<f32>(dot(squares, vec4<f32>(1.0)));
    let sum = tree_sum(lane, own).x;
    if p < values.partials && lane.place == 0u {
        partials[p] = vec2<f32>(0.0, sum);
    }
}
