// The noisy weights of a step, from the clean ones: what the network sees.
//
//   weights_eff[i] = weights[i] + sigma * scale[tensor] * norm * unit noise(seed, step, tensor, element)
//
// norm is 1, or with FILTER_SCALED the L2 norm of the filter that holds element i (filter_norm.wgsl).
// NOISE = 0 copies.
//
// Shapes    weights, weights_eff: the arena in vec4s; blocks: one entry per 64 elements of the arena;
//           filters: per tensor (first filter, elements per filter, 0, 0); norms: [filters].
// Dispatch  grid_1d(count of octets / 2, WORKGROUP_SIZE), folded, two octets an invocation.

override WORKGROUP_SIZE: u32 = 64u;
override NOISE: u32 = 0u;
override FILTER_SCALED: bool = false;

var<immediate> values: NoiseStep;
@group(0) @binding(0) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> weights_eff: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> filters: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> norms: array<f32>;

// Elements past the tensor's end share the last filter: they are padding that nothing reads.
fn norm_of(range: vec4<u32>, element: u32) -> f32 {
    return norms[min(range.x + element / range.y, arrayLength(&norms) - 1u)];
}

fn norms_of(range: vec4<u32>, element: u32) -> vec4<f32> {
    return vec4<f32>(
        norm_of(range, element),
        norm_of(range, element + 1u),
        norm_of(range, element + 2u),
        norm_of(range, element + 3u),
    );
}

// The noisy weights of octet number `i`, whose block's entry is `block`.
fn perturb_octet(i: u32, block: vec4<u32>) {
    var noisy = mat2x4<f32>(weights[2u * i], weights[2u * i + 1u]);
    if NOISE != NOISE_NONE {
        let delta = noise_delta(NOISE, values, block, i);
        if FILTER_SCALED {
            let range = filters[block.x];
            let element = 8u * (block.y + (i & 7u));
            noisy[0] += delta[0] * norms_of(range, element);
            noisy[1] += delta[1] * norms_of(range, element + 4u);
        } else {
            noisy += delta;
        }
    }
    weights_eff[2u * i] = vec4<Real>(noisy[0]);
    weights_eff[2u * i + 1u] = vec4<Real>(noisy[1]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn perturb(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let offset = NOISE_OCTETS * index_1d(invocation, grid, WORKGROUP_SIZE);
    if offset >= values.count {
        return;
    }
    let i = values.first + offset;
    var block = vec4<u32>();
    if NOISE != NOISE_NONE {
        block = blocks[values.block_base + i / 8u];
    }
    perturb_octet(i, block);
    perturb_octet(i + 1u, block);
}
