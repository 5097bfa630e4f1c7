// The network's weights on the other side of the clean ones, in place.
//
//   weights_eff[i] = 2 weights[i] - weights_eff[i]
//
// Where a draw of noise was added it is subtracted, but for the rounding of the sum, and nothing is drawn again.
//
// Shapes    weights, weights_eff: [count] vec4s. Dispatch  grid_1d(count, WORKGROUP_SIZE), folded.
// Source    Zhang, Li and Ju, "Noise stability optimization for finding flat minima", TMLR 2024, algorithm 1: the two sides of a draw.

override WORKGROUP_SIZE: u32 = 64u;

struct Mirror {
    count: u32,
}

var<immediate> values: Mirror;
@group(0) @binding(0) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> weights_eff: array<vec4<Real>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn mirror(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i < values.count {
        let weight = weights[i];
        // The difference first: 2 weights might overflow.
        weights_eff[i] = vec4<Real>(weight + (weight - vec4<f32>(weights_eff[i])));
    }
}
