// SGD in place, and the next step's noisy weights in the same sweep over memory.
//
//   g        = grads[i] + weight_decay * weights[i], or with DECAY_SEEN weights_eff[i]
//   velocity = g at the first step, else momentum * velocity + (1 - dampening) * g
//   d        = g + momentum * velocity (Nesterov), velocity (momentum > 0), g (momentum = 0)
//   weights[i]     = weights[i] - learning_rate * d
//   weights_eff[i] = weights[i] + noise of the next step
//
// Shapes    grads, velocity, weights, weights_eff: the arena in vec4s; blocks: one entry per 64 elements of the arena.
// Units     grads is d(mean loss)/d(weights); learning_rate and weight_decay are per step.
// Dispatch  grid_1d(count of octets, WORKGROUP_SIZE), folded, an octet's worth an invocation with SPREAD, else two octets
//           (shared/sweep.wgsl); NOISE = 0 leaves the noise out of the code altogether.
// Source    torch.optim.SGD's update rule (momentum after Sutskever et al., ICML 2013).

override WORKGROUP_SIZE: u32 = 64u;
override NOISE: u32 = 0u;
override SPREAD: bool = false;
// Gradients are multiplied by scaling.factor; 0 leaves the weights and the state as they are.
override SCALED: bool = false;
// Tensors of one dimension have weight_decay 0.
override DECAY_MATRICES: bool = false;
// weights_eff is not written: a sweep of its own follows that does.
override SEPARATE: bool = false;
// Weight decay is that of the weights that the network saw, weights_eff before the update.
override DECAY_SEEN: bool = false;

struct SgdStep {
    noise: NoiseStep,
    learning_rate: f32,
    momentum: f32,
    one_minus_dampening: f32,
    weight_decay: f32,
    nesterov: u32,
    first_step: u32,
}

var<immediate> values: SgdStep;
@group(0) @binding(0) var<storage, read> grads: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> velocity: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> weights_eff: array<vec4<Real>>;
@group(0) @binding(4) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> scaling: ScalingState;

// Whether no update was made before; where some were left out only the device knows.
fn is_first() -> bool {
    return values.first_step == 1u || (SCALED && scaling.skipped_steps != 0u && scaling.applied_steps == 1u);
}

// A vec4 of the weights, before and after.
struct State {
    weight: vec4<f32>,
    velocity: vec4<f32>,
    gradient: vec4<f32>,
    // What weight decay goes by.
    decaying: vec4<f32>,
}

fn load(i: u32) -> State {
    var velocity_before = vec4<f32>();
    if values.momentum != 0.0 { velocity_before = velocity[i]; }
    let weight = weights[i];
    var decaying = weight;
    if DECAY_SEEN { decaying = vec4<f32>(weights_eff[i]); }
    return State(weight, velocity_before, grads[i], decaying);
}

// The coefficient for vec4 number i of the bound part.
fn weight_decay(i: u32) -> f32 {
    if DECAY_MATRICES && blocks[values.noise.block_base + i / 16u].w == 0u { return 0.0; }
    return values.weight_decay;
}

struct Step {
    factor: f32,
}

// The clean update.
fn advanced(before: State, i: u32, by: Step) -> State {
    if SCALED && by.factor == 0.0 { return before; }
    var gradient = before.gradient;
    if SCALED { gradient *= by.factor; }
    var direction = gradient + weight_decay(i) * before.decaying;
    var v = before.velocity;
    if values.momentum != 0.0 {
        let decayed = values.momentum * v + values.one_minus_dampening * direction;
        v = select(decayed, direction, is_first());
        direction = select(v, direction + values.momentum * v, values.nesterov == 1u);
    }
    return State(before.weight - values.learning_rate * direction, v, gradient, before.decaying);
}

fn seen(after: State) -> vec4<f32> {
    return after.weight;
}

fn keep(i: u32, after: State) {
    if values.momentum != 0.0 { velocity[i] = after.velocity; }
    weights[i] = after.weight;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn update_sgd(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    update_all(workgroup, grid, local, Step(update_factor()));
}
