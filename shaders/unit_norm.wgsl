// A tensor over its L2 norm, which of a matrix is the Frobenius norm.
//
//   output[i] = input[i] / max(norm, least), norm = sqrt(sum_p norms[p]^2)
//   where that norm is not finite, output[i] = input[i] norm: nothing finite, for all to see
//
// Shapes    input, output: [count]; norms: [P], those of the parts of the input (filter_norm.wgsl).
// Dispatch  ceil(count / (4 LANES)) workgroups of LANES, folded: each invocation squares every LANES-th part's norm, then a
//           tree, so always the same bits; it takes four elements, LANES apart.
// Source    torch.optim.Muon, which clamps the norm where others add to it.

override LANES: u32 = 64u;

struct UnitNorm {
    count: u32,
    parts: u32,
    least: f32,
}

var<immediate> values: UnitNorm;
@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read> norms: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(LANES)
fn unit_norm(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    var own = 0.0;
    for (var p = local; p < values.parts; p += LANES) {
        own += norms[p] * norms[p];
    }
    let norm = sqrt(tree_sum(tree_in_row(local), vec4<f32>(own)).x);
    let is_finite = finite(norm);
    let divisor = max(norm, values.least);
    let first = index_1d(workgroup, grid, 1u) * 4u * LANES + local;
    for (var k = 0u; k < 4u; k++) {
        let i = first + k * LANES;
        if i < values.count {
            if is_finite { output[i] = input[i] / divisor; } else { output[i] = input[i] * norm; }
        }
    }
}
