// Noise times a gradient, summed over the draws of a step.
//
//   products[i] = noise of the draw times grads[i], added to what is there unless `first` is 1; sigma is the draw's share
//
// Shapes    grads, products: the arena in vec4s; weights_eff: the same, not touched; blocks: one entry per 64 elements.
// Dispatch  grid_1d(count of octets, WORKGROUP_SIZE), folded, an octet's worth an invocation with SPREAD, else two octets
//           (shared/sweep.wgsl).
// Source    Shen et al., "Variational learning is effective for large deep networks", ICML 2024: the estimate of the Hessian's
//           diagonal by Price's theorem.

override WORKGROUP_SIZE: u32 = 64u;
override NOISE: u32 = 0u;
override SPREAD: bool = false;

struct Weigh {
    noise: NoiseStep,
    first: u32,
}

var<immediate> values: Weigh;
@group(0) @binding(0) var<storage, read> grads: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> products: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> weights_eff: array<vec4<Real>>;
@group(0) @binding(3) var<storage, read> blocks: array<vec4<u32>>;

fn sum(i: u32, unit: vec4<f32>) -> vec4<f32> {
    let product = unit * grads[i];
    if values.first == 1u { return product; }
    return products[i] + product;
}

fn weigh_pair(pair: SweepPair, local: u32) {
    let unit = sweep_noise(values.noise, pair, local);
    let sums = mat2x4<f32>(sum(pair.at.x, unit[0]), sum(pair.at.y, unit[1]));
    if pair.inside.x { products[pair.at.x] = sums[0]; }
    if pair.inside.y { products[pair.at.y] = sums[1]; }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn weigh(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let pair = sweep_pair(values.noise, index_1d(workgroup, grid, 1u), local);
    weigh_pair(pair, local);
    if !SPREAD { weigh_pair(sweep_next(pair), local); }
}
