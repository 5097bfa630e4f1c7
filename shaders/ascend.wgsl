// The weights that the network sees, a fixed distance along a gradient from the clean ones.
//
//   weights_eff[i] = weights[i] + rho grads[i] / (norm + 1e-6), norm the L2 norm of the whole arena of gradients
//
// Shapes    weights, grads, weights_eff: [count] vec4s; scaling: one ScalingState (shared/scaling.wgsl), whose factor is
//           LEAST / (norm + LEAST) as gradient_factor.wgsl leaves it for a limit of LEAST: below 1 whatever the norm.
// Dispatch  grid_1d(count, WORKGROUP_SIZE), folded.
// Source    Foret, Kleiner, Mobahi and Neyshabur, "Sharpness-aware minimization", ICLR 2021.

override WORKGROUP_SIZE: u32 = 64u;

struct Ascend {
    count: u32,
    // rho / LEAST
    scale: f32,
}

var<immediate> values: Ascend;
@group(0) @binding(0) var<storage, read> grads: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> weights_eff: array<vec4<Real>>;
@group(0) @binding(3) var<storage, read> scaling: ScalingState;

@compute @workgroup_size(WORKGROUP_SIZE)
fn ascend(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i < values.count {
        weights_eff[i] = vec4<Real>(weights[i] + (values.scale * scaling.factor) * grads[i]);
    }
}
