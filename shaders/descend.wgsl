// Descent along one draw of noise, by how much the loss differs between its two sides, and the next step's draw in the same sweep.
//
//   weights[i]     = weights[i] - learning_rate (slope z + decay weights[i]), z unit noise, drawn again
//   weights_eff[i] = weights[i] + noise of the next step
//
// With DECAY_MATRICES tensors of one dimension have decay 0.
//
// Shapes    weights, weights_eff: the arena in vec4s; blocks: one entry per 64 elements; slopes: one a step, a ring;
//           lens: elements of each tensor.
// Units     slope = (loss at + z - loss at - z) / distance between them, of mean losses (slope.wgsl).
// Dispatch  grid_1d(count of octets, WORKGROUP_SIZE), folded, an octet's worth an invocation with SPREAD, else two octets
//           (shared/sweep.wgsl).
// Source    Malladi et al., "Fine-tuning language models with just forward passes", NeurIPS 2023, algorithm 1.

override WORKGROUP_SIZE: u32 = 64u;
override NOISE: u32 = 0u;
override SPREAD: bool = false;
override DECAY_MATRICES: bool = false;

struct Descend {
    // The next step's draw.
    noise: NoiseStep,
    // This step's.
    then_seed_low: u32,
    then_seed_high: u32,
    then_step: u32,
    slot: u32,
    learning_rate: f32,
    decay: f32,
}

var<immediate> values: Descend;
@group(0) @binding(0) var<storage, read_write> weights: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> weights_eff: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> slopes: array<f32>;
@group(0) @binding(4) var<storage, read> lens: array<u32>;

// The coefficient in a block.
fn decay(block: vec4<u32>) -> f32 {
    if DECAY_MATRICES && block.w == 0u { return 0.0; }
    return values.decay;
}

// Padding, which has noise as all else, stays 0: norms count on it.
fn advanced(i: u32, unit: vec4<f32>, slope: f32) -> vec4<f32> {
    let before = weights[i];
    let block = blocks[values.noise.block_base + i / 16u];
    let element = vec4<u32>(8u * block.y + 4u * (i & 15u)) + vec4<u32>(0u, 1u, 2u, 3u);
    let moved = before - values.learning_rate * (slope * unit + decay(block) * before);
    return select(before, moved, element < vec4<u32>(lens[block.x]));
}

fn store(i: u32, after: vec4<f32>, noisy: vec4<f32>) {
    weights[i] = after;
    weights_eff[i] = vec4<Real>(after + noisy);
}

fn update(pair: SweepPair, slope: f32, local: u32) {
    let then = vec3<u32>(values.then_seed_low, values.then_seed_high, values.then_step);
    let draws = sweep_draws(values.noise, then, pair, local);
    let after = mat2x4<f32>(advanced(pair.at.x, draws.then[0], slope), advanced(pair.at.y, draws.then[1], slope));
    if pair.inside.x { store(pair.at.x, after[0], draws.next[0]); }
    if pair.inside.y { store(pair.at.y, after[1], draws.next[1]); }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn descend(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let slope = slopes[values.slot];
    let pair = sweep_pair(values.noise, index_1d(workgroup, grid, 1u), local);
    update(pair, slope, local);
    if !SPREAD { update(sweep_next(pair), slope, local); }
}
