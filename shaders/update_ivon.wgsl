// IVON in place, and the next step's draw from the posterior in the same sweep over memory.
//
//   f       = sqrt(ess (hess[i] + delta)) products[i], products[i] = xi grads[i] of one draw xi, which is drawn again, or with
//             SUMMED the mean of such products over the draws of a step (weigh.wgsl)
//   exp_avg = beta1 exp_avg + (1 - beta1) grads[i]
//   hess'   = beta2 hess + (1 - beta2) f + (1 - beta2)^2 (hess - f)^2 / (2 (hess + delta))
//   weights[i]     = weights[i] - step_size (exp_avg / bias_correction1 + delta weights[i]) / (hess' + delta)
//   weights_eff[i] = weights[i] + next xi / sqrt(ess (hess' + delta))
//
// Shapes    grads, exp_avg, hess, products, weights, weights_eff: the arena in vec4s; blocks: one entry per 64 elements.
// Units     grads is d(mean loss)/d(noisy weights); step_size = learning_rate (hess at the start + delta).
// Dispatch  grid_1d(count of octets, WORKGROUP_SIZE), folded, an octet's worth an invocation with SPREAD, else two octets
//           (shared/sweep.wgsl).
// Source    Shen et al., "Variational learning is effective for large deep networks", ICML 2024, algorithm 1.

override WORKGROUP_SIZE: u32 = 64u;
override NOISE: u32 = 0u;
override SPREAD: bool = false;
// Gradients are multiplied by scaling.factor; 0 leaves the weights and the state as they are.
override SCALED: bool = false;
// The products are means over several draws; else they are of the one draw that a step has.
override SUMMED: bool = false;

struct IvonStep {
    // The next step's draw.
    noise: NoiseStep,
    // This step's.
    then_seed_low: u32,
    then_seed_high: u32,
    then_step: u32,
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    bias_correction1: f32,
    step_size: f32,
    delta: f32,
    ess: f32,
}

var<immediate> values: IvonStep;
@group(0) @binding(0) var<storage, read> grads: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> exp_avg: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> hess: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> products: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> weights: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> weights_eff: array<vec4<Real>>;
@group(0) @binding(6) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read> scaling: ScalingState;

// A vec4 of the weights, before and after.
struct State {
    weight: vec4<f32>,
    exp_avg: vec4<f32>,
    hess: vec4<f32>,
}

fn load(i: u32) -> State {
    return State(weights[i], exp_avg[i], hess[i]);
}

// 1 - beta1^t, t counting the updates that were not left out.
fn correction() -> f32 {
    if SCALED && scaling.skipped_steps != 0u && scaling.applied_steps != 0u {
        return bias_correction(values.one_minus_beta1, scaling.applied_steps);
    }
    return values.bias_correction1;
}

// The unit noise of a step's draw times its gradient: the mean over its draws.
fn product_of(i: u32, unit: vec4<f32>, gradient: vec4<f32>, factor: f32) -> vec4<f32> {
    if SUMMED { return factor * products[i]; }
    return unit * gradient;
}

fn advanced(i: u32, before: State, unit: vec4<f32>, factor: f32, correction: f32) -> State {
    if SCALED && factor == 0.0 { return before; }
    let gradient = factor * grads[i];
    let curvature = before.hess + values.delta;
    let f = sqrt(values.ess * curvature) * product_of(i, unit, gradient, factor);
    let apart = before.hess - f;
    let moved = 0.5 * values.one_minus_beta2 * values.one_minus_beta2 * apart * apart / curvature;
    let hess_after = before.hess - values.one_minus_beta2 * apart + moved;
    let mean = before.exp_avg + values.one_minus_beta1 * (gradient - before.exp_avg);
    let slope = mean / correction + values.delta * before.weight;
    let weight = before.weight - values.step_size * slope / (hess_after + values.delta);
    return State(weight, mean, hess_after);
}

fn store(i: u32, after: State, unit: vec4<f32>) {
    exp_avg[i] = after.exp_avg;
    hess[i] = after.hess;
    weights[i] = after.weight;
    weights_eff[i] = vec4<Real>(after.weight + unit / sqrt(values.ess * (after.hess + values.delta)));
}

// All is read before anything is written: for all that a compiler knows, writes might change what is read.
fn update(pair: SweepPair, factor: f32, correction: f32, local: u32) {
    let then = vec3<u32>(values.then_seed_low, values.then_seed_high, values.then_step);
    let draws = sweep_draws(values.noise, then, pair, local);
    let before = array<State, 2>(load(pair.at.x), load(pair.at.y));
    let after = array<State, 2>(
        advanced(pair.at.x, before[0], draws.then[0], factor, correction),
        advanced(pair.at.y, before[1], draws.then[1], factor, correction),
    );
    if pair.inside.x { store(pair.at.x, after[0], draws.next[0]); }
    if pair.inside.y { store(pair.at.y, after[1], draws.next[1]); }
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn update_ivon(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    var factor = 1.0;
    if SCALED { factor = scaling.factor; }
    let correction = correction();
    let pair = sweep_pair(values.noise, index_1d(workgroup, grid, 1u), local);
    update(pair, factor, correction, local);
    if !SPREAD { update(sweep_next(pair), factor, correction, local); }
}
