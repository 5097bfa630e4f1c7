// The weights that the network sees, a fixed distance along a direction from the clean ones.
//
//   weights_eff[i] = weights[i] + rho inverse[0] T^2 direction[i]
//
// T is 1, or with ADAPTIVE abs(weights[i]) + eta in tensors that are marked; inverse is 1 / norm(T direction)
// (inverse_norm.wgsl).
//
// Shapes    direction, weights, weights_eff: [count] vec4s; inverse: [1]; blocks: one entry per 64 elements of the arena, whose
//           first is the tensor; marked: [tensors], 1 or 0. Without ADAPTIVE nothing is read of the last two.
// Dispatch  grid_1d(count, WORKGROUP_SIZE), folded.
// Source    Foret et al., "Sharpness-aware minimization", ICLR 2021; Kwon et al., "ASAM", ICML 2021.

override WORKGROUP_SIZE: u32 = 64u;
override ADAPTIVE: bool = false;

struct Ascend {
    count: u32,
    // First block of the bound part.
    block_base: u32,
    rho: f32,
    eta: f32,
}

var<immediate> values: Ascend;
@group(0) @binding(0) var<storage, read> direction: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> weights_eff: array<vec4<Real>>;
@group(0) @binding(3) var<storage, read> inverse: array<f32>;
@group(0) @binding(4) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> marked: array<u32>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn ascend(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i >= values.count { return; }
    let weight = weights[i];
    var along = (values.rho * inverse[0]) * direction[i];
    if ADAPTIVE {
        if marked[blocks[values.block_base + i / 16u].x] == 1u {
            let unit = abs(weight) + values.eta;
            along *= unit * unit;
        }
    }
    weights_eff[i] = vec4<Real>(weight + along);
}
