// Lion in place, and the next step's noisy weights in the same sweep over memory.
//
//   w       = weights[i] * decay_factor                              (1 - learning_rate * decay)
//   c       = exp_avg + (1 - beta1) (grads[i] - exp_avg)
//   exp_avg = exp_avg + (1 - beta2) (grads[i] - exp_avg)
//   weights[i]     = w - learning_rate sign(c), the sign of 0 being 0 and that of NaN NaN
//   weights_eff[i] = weights[i] + noise of the next step
//
// With DECAY_MATRICES tensors of one dimension have decay_factor 1.
//
// Shapes    grads, exp_avg, weights, weights_eff: the arena in vec4s; blocks: one entry per 64 elements.
// Units     grads is d(mean loss)/d(weights); a weight moves by learning_rate a step, whatever its gradient's magnitude.
// Dispatch  grid_1d(count of octets, WORKGROUP_SIZE), folded, an octet's worth an invocation with SPREAD, else two octets
//           (shared/sweep.wgsl); NOISE = 0 leaves the noise out of the code altogether.
// Source    Chen, Liang, Huang et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, program 1.

override WORKGROUP_SIZE: u32 = 64u;
override NOISE: u32 = 0u;
override SPREAD: bool = false;
// Gradients are multiplied by scaling.factor; 0 leaves the weights and the state as they are.
override SCALED: bool = false;
override DECAY_MATRICES: bool = false;
// weights_eff is not written: a sweep of its own follows that does.
override SEPARATE: bool = false;

struct LionStep {
    noise: NoiseStep,
    learning_rate: f32,
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    decay_factor: f32,
}

var<immediate> values: LionStep;
@group(0) @binding(0) var<storage, read> grads: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> exp_avg: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> weights_eff: array<vec4<Real>>;
@group(0) @binding(4) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> scaling: ScalingState;

// A vec4 of the weights, before and after.
struct State {
    weight: vec4<f32>,
    exp_avg: vec4<f32>,
    gradient: vec4<f32>,
}

fn load(i: u32) -> State {
    return State(weights[i], exp_avg[i], grads[i]);
}

// What weight decay leaves of vec4 number i of the bound part.
fn decay_factor(i: u32) -> f32 {
    if DECAY_MATRICES && blocks[values.noise.block_base + i / 16u].w == 0u { return 1.0; }
    return values.decay_factor;
}

// Of NaN the language leaves open what the sign is: weights that stood still would hide that the gradient is broken.
fn sign_or_nan(x: vec4<f32>) -> vec4<f32> {
    let nan = (bitcast<vec4<u32>>(x) & vec4<u32>(0x7FFFFFFFu)) > vec4<u32>(0x7F800000u);
    return select(sign(x), x, nan);
}

// The clean update.
fn advanced(before: State, decay_factor: f32, factor: f32) -> State {
    if SCALED && factor == 0.0 { return before; }
    var gradient = before.gradient;
    if SCALED { gradient *= factor; }
    let away = gradient - before.exp_avg;
    let direction = sign_or_nan(before.exp_avg + values.one_minus_beta1 * away);
    let weight = before.weight * decay_factor - values.learning_rate * direction;
    return State(weight, before.exp_avg + values.one_minus_beta2 * away, gradient);
}

// `noisy` is what the network sees.
fn store(i: u32, after: State, noisy: vec4<f32>) {
    exp_avg[i] = after.exp_avg;
    weights[i] = after.weight;
    if !SEPARATE { weights_eff[i] = vec4<Real>(noisy); }
}

// All is read before anything is written: for all that a compiler knows, writes might change what is read.
fn update(pair: SweepPair, factor: f32, local: u32) {
    let before = array<State, 2>(load(pair.at.x), load(pair.at.y));
    let decays = vec2<f32>(decay_factor(pair.at.x), decay_factor(pair.at.y));
    let after = array<State, 2>(advanced(before[0], decays.x, factor), advanced(before[1], decays.y, factor));
    var noisy = mat2x4<f32>(after[0].weight, after[1].weight);
    if NOISE != NOISE_NONE {
        noisy += sweep_noise(values.noise, pair, local);
    }
    if pair.inside.x { store(pair.at.x, after[0], noisy[0]); }
    if pair.inside.y { store(pair.at.y, after[1], noisy[1]); }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn update_lion(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    var factor = 1.0;
    if SCALED { factor = scaling.factor; }
    let pair = sweep_pair(values.noise, index_1d(workgroup, grid, 1u), local);
    update(pair, factor, local);
    if !SPREAD { update(sweep_next(pair), factor, local); }
}
