// Adam and AdamW in place, and the next step's noisy weights in the same sweep over memory.
//
//   g          = grads[i] + weight_decay * weights[i]                (Adam; AdamW has weight_decay 0 here)
//   w          = weights[i] * decay_factor                           (AdamW: 1 - learning_rate * decay; Adam: 1)
//   exp_avg    = exp_avg + (1 - beta1) (g - exp_avg)
//   exp_avg_sq = beta2 exp_avg_sq + (1 - beta2) g g
//   weights[i]     = w - step_size exp_avg / (sqrt(exp_avg_sq) / bias_correction2_sqrt + eps)
//   weights_eff[i] = weights[i] + noise of the next step
//
// With DECAY_MATRICES tensors of one dimension have weight_decay 0 and decay_factor 1. With ORTHOGONAL hidden matrices move by
//   weights[i] = w - learning_rate * grads[i]
// alone, whatever the scaling: what grads holds of them is made for that, and their moments are left as they are.
//
// Shapes    grads, exp_avg, exp_avg_sq, weights, weights_eff: the arena in vec4s; blocks: one entry per 64 elements.
// Units     grads is d(mean loss)/d(weights); step_size = learning_rate / (1 - beta1^t), t counted from 1, and
//           bias_correction2_sqrt = sqrt(1 - beta2^t). Where updates were left out (SCALED) t counts those that were not,
//           which only the device knows; both are then computed here.
// Dispatch  grid_1d(count of octets, WORKGROUP_SIZE), folded, an octet's worth an invocation with SPREAD, else two octets
//           (shared/sweep.wgsl); NOISE = 0 leaves the noise out of the code altogether.
// Source    torch.optim.Adam and AdamW (Kingma & Ba 2015; Loshchilov & Hutter 2019).

override WORKGROUP_SIZE: u32 = 64u;
override NOISE: u32 = 0u;
override SPREAD: bool = false;
// Gradients are multiplied by scaling.factor; 0 leaves the weights and the state as they are.
override SCALED: bool = false;
override DECAY_MATRICES: bool = false;
override ORTHOGONAL: bool = false;
// weights_eff is not written: a sweep of its own follows that does.
override SEPARATE: bool = false;

struct AdamStep {
    noise: NoiseStep,
    step_size: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
    weight_decay: f32,
    decay_factor: f32,
    bias_correction2_sqrt: f32,
    learning_rate: f32,
}

// What t updates make of the moments.
struct Correction {
    step_size: f32,
    root: f32,
}

var<immediate> values: AdamStep;
@group(0) @binding(0) var<storage, read> grads: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> exp_avg: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> exp_avg_sq: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> weights: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> weights_eff: array<vec4<Real>>;
@group(0) @binding(5) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> scaling: ScalingState;

fn correction() -> Correction {
    if SCALED && scaling.skipped_steps != 0u && scaling.applied_steps != 0u {
        let t = scaling.applied_steps;
        let first = bias_correction(values.one_minus_beta1, t);
        return Correction(values.learning_rate / first, sqrt(bias_correction(values.one_minus_beta2, t)));
    }
    return Correction(values.step_size, values.bias_correction2_sqrt);
}

// A vec4 of the weights, before and after.
struct State {
    weight: vec4<f32>,
    exp_avg: vec4<f32>,
    exp_avg_sq: vec4<f32>,
    gradient: vec4<f32>,
}

fn load(i: u32) -> State {
    return State(weights[i], exp_avg[i], exp_avg_sq[i], grads[i]);
}

// Whether vec4 number i of the bound part moves as it is.
fn is_made(i: u32) -> bool {
    return ORTHOGONAL && blocks[values.noise.block_base + i / 16u].w == 2u;
}

// What weight decay does to vec4 number i of the bound part.
struct Decay {
    coupled: f32,
    factor: f32,
}

fn decay(i: u32) -> Decay {
    if DECAY_MATRICES && blocks[values.noise.block_base + i / 16u].w == 0u { return Decay(0.0, 1.0); }
    return Decay(values.weight_decay, values.decay_factor);
}

struct Step {
    factor: f32,
    correction: Correction,
}

// The clean update.
fn advanced(before: State, i: u32, by: Step) -> State {
    if SCALED && by.factor == 0.0 { return before; }
    let decay = decay(i);
    if is_made(i) {
        let moved = before.weight * decay.factor - values.learning_rate * before.gradient;
        return State(moved, before.exp_avg, before.exp_avg_sq, before.gradient);
    }
    var gradient = before.gradient;
    if SCALED { gradient *= by.factor; }
    gradient += decay.coupled * before.weight;
    let mean = before.exp_avg + values.one_minus_beta1 * (gradient - before.exp_avg);
    let square = values.beta2 * before.exp_avg_sq + values.one_minus_beta2 * gradient * gradient;
    let denominator = sqrt(square) / by.correction.root + values.eps;
    let weight = before.weight * decay.factor - by.correction.step_size * (mean / denominator);
    return State(weight, mean, square, gradient);
}

fn seen(after: State) -> vec4<f32> {
    return after.weight;
}

fn keep(i: u32, after: State) {
    exp_avg[i] = after.exp_avg;
    exp_avg_sq[i] = after.exp_avg_sq;
    weights[i] = after.weight;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn update_adam(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    update_all(workgroup, grid, local, Step(update_factor(), correction()));
}
