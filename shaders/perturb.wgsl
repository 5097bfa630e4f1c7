// The noisy weights of a step, from the clean ones: what the network sees.
//
//   weights_eff[i] = weights[i] + sigma * scale[tensor] * norm * unit noise(seed, step, tensor, element)
//
// norm is 1; with FILTER_SCALED the L2 norm of the filter that holds element i (filter_norm.wgsl), or what stands for it
// (filter_history.wgsl); with DEVIATION 1 / sqrt(ess (hess[i] + delta)), a posterior's standard deviation (update_ivon.wgsl).
// NOISE = 0 copies. With MASKED a dispatch takes one block, and of its elements only those marked in the mask get noise: the edge of
// a part of a tensor, which need not begin or end where blocks do.
//
// Shapes    weights, hess, weights_eff: the arena in vec4s, hess read with DEVIATION alone; blocks: one entry per 64 elements of the arena;
//           filters: per tensor (first filter, elements per filter, 0, 0); norms: [filters].
// Dispatch  grid_1d(count of octets, WORKGROUP_SIZE), folded, an octet's worth an invocation with SPREAD, else two octets
//           (shared/sweep.wgsl).

override WORKGROUP_SIZE: u32 = 64u;
override NOISE: u32 = 0u;
override SPREAD: bool = false;
override FILTER_SCALED: bool = false;
override DEVIATION: bool = false;
override MASKED: bool = false;

struct PerturbStep {
    noise: NoiseStep,
    // Bit i: element i of the block, or 32 + i.
    mask_low: u32,
    mask_high: u32,
    ess: f32,
    delta: f32,
}

var<immediate> values: PerturbStep;
@group(0) @binding(0) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> hess: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> weights_eff: array<vec4<Real>>;
@group(0) @binding(3) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> filters: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> norms: array<f32>;

// Elements past the tensor's end share the last filter: they are padding that nothing reads.
fn norm_of(range: vec4<u32>, element: u32) -> f32 {
    return norms[min(range.x + element / range.y, arrayLength(&norms) - 1u)];
}

// The norms of the filters that hold vec4 number `at`, in the block with the entry `block`.
fn norms_of(at: u32, block: vec4<u32>) -> vec4<f32> {
    let range = filters[block.x];
    let element = 8u * block.y + 4u * (at & 15u);
    return vec4<f32>(
        norm_of(range, element),
        norm_of(range, element + 1u),
        norm_of(range, element + 2u),
        norm_of(range, element + 3u),
    );
}

// The entry of the block that holds vec4 number `at` of a pair.
fn block_of(pair: SweepPair, at: u32) -> vec4<u32> {
    if SPREAD { return blocks[values.noise.block_base + at / 16u]; }
    return pair.block;
}

// The noisy values of vec4 number `at` where they are marked, else the clean ones.
fn masked(at: u32, clean: vec4<f32>, noisy: vec4<f32>) -> vec4<f32> {
    let word = select(values.mask_low, values.mask_high, (at & 8u) != 0u);
    let bits = vec4<u32>(word >> (4u * (at & 7u))) & vec4<u32>(1u, 2u, 4u, 8u);
    return select(clean, noisy, bits != vec4<u32>());
}

fn add_noise(pair: SweepPair, local: u32) {
    let clean = mat2x4<f32>(weights[pair.at.x], weights[pair.at.y]);
    var noisy = clean;
    if NOISE != NOISE_NONE {
        let delta = sweep_noise(values.noise, pair, local);
        if FILTER_SCALED {
            noisy[0] += delta[0] * norms_of(pair.at.x, block_of(pair, pair.at.x));
            noisy[1] += delta[1] * norms_of(pair.at.y, block_of(pair, pair.at.y));
        } else if DEVIATION {
            noisy[0] += delta[0] / sqrt(values.ess * (hess[pair.at.x] + values.delta));
            noisy[1] += delta[1] / sqrt(values.ess * (hess[pair.at.y] + values.delta));
        } else {
            noisy += delta;
        }
    }
    if MASKED {
        noisy = mat2x4<f32>(masked(pair.at.x, clean[0], noisy[0]), masked(pair.at.y, clean[1], noisy[1]));
    }
    if pair.inside.x { weights_eff[pair.at.x] = vec4<Real>(noisy[0]); }
    if pair.inside.y { weights_eff[pair.at.y] = vec4<Real>(noisy[1]); }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn perturb(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let pair = sweep_pair(values.noise, index_1d(workgroup, grid, 1u), local);
    add_noise(pair, local);
    if !SPREAD { add_noise(sweep_next(pair), local); }
}
