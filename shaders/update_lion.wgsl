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

struct Step {
    factor: f32,
}

// The clean update.
fn advanced(before: State, i: u32, by: Step) -> State {
    if SCALED && by.factor == 0.0 { return before; }
    var gradient = before.gradient;
    if SCALED { gradient *= by.factor; }
    let away = gradient - before.exp_avg;
    let direction = sign_or_nan(before.exp_avg + values.one_minus_beta1 * away);
    let weight = before.weight * decay_factor(i) - values.learning_rate * direction;
    return State(weight, before.exp_avg + values.one_minus_beta2 * away, gradient);
}

fn seen(after: State) -> vec4<f32> {
    return after.weight;
}

fn keep(i: u32, after: State) {
    exp_avg[i] = after.exp_avg;
    weights[i] = after.weight;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn update_lion(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    update_all(workgroup, grid, local, Step(update_factor()));
}
