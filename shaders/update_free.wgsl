// Schedule-free SGD in place, and the next step's noisy weights in the same sweep over memory.
//
//   g       = grads[i] + weight_decay * y[i]
//   z       = z - learning_rate * g
//   x       = x + (z - x) / t                                        (the mean of all z so far; t updates, this one included)
//   y       = momentum * x + (1 - momentum) * z
//   weights_eff[i] = y[i] + noise of the next step
//
// x are the weights to use, `weights`; gradients are taken around y.
//
// With DECAY_MATRICES tensors of one dimension have weight_decay 0.
//
// Shapes    grads, z, y, weights, weights_eff: the arena in vec4s; blocks: one entry per 64 elements.
// Units     grads is d(mean loss)/d(weights); learning_rate and weight_decay are per step; share is 1 / t. Where updates were left
//           out (SCALED) t counts those that were not, which only the device knows.
// Dispatch  grid_1d(count of octets, WORKGROUP_SIZE), folded, an octet's worth an invocation with SPREAD, else two octets
//           (shared/sweep.wgsl); NOISE = 0 leaves the noise out of the code altogether.
// Source    Defazio, Yang, Mehta et al., "The road less scheduled", NeurIPS 2024, section 2, at a constant learning rate.

override WORKGROUP_SIZE: u32 = 64u;
override NOISE: u32 = 0u;
override SPREAD: bool = false;
// Gradients are multiplied by scaling.factor; 0 leaves the weights and the state as they are.
override SCALED: bool = false;
override DECAY_MATRICES: bool = false;
// weights_eff is not written: a sweep of its own follows that does.
override SEPARATE: bool = false;

struct FreeStep {
    noise: NoiseStep,
    learning_rate: f32,
    momentum: f32,
    weight_decay: f32,
    share: f32,
}

var<immediate> values: FreeStep;
@group(0) @binding(0) var<storage, read> grads: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> z: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> weights: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> weights_eff: array<vec4<Real>>;
@group(0) @binding(5) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> scaling: ScalingState;

// What the newest z counts in the mean.
fn share() -> f32 {
    if SCALED && scaling.skipped_steps != 0u && scaling.applied_steps != 0u {
        return 1.0 / f32(scaling.applied_steps);
    }
    return values.share;
}

// A vec4 of the weights, before and after.
struct State {
    x: vec4<f32>,
    y: vec4<f32>,
    z: vec4<f32>,
    gradient: vec4<f32>,
}

fn load(i: u32) -> State {
    return State(weights[i], y[i], z[i], grads[i]);
}

// The coefficient for vec4 number i of the bound part.
fn weight_decay(i: u32) -> f32 {
    if DECAY_MATRICES && blocks[values.noise.block_base + i / 16u].w == 0u { return 0.0; }
    return values.weight_decay;
}

struct Step {
    factor: f32,
    share: f32,
}

// The clean update.
fn advanced(before: State, i: u32, by: Step) -> State {
    if SCALED && by.factor == 0.0 { return before; }
    var gradient = before.gradient;
    if SCALED { gradient *= by.factor; }
    let last = before.z - values.learning_rate * (gradient + weight_decay(i) * before.y);
    let mean = before.x + by.share * (last - before.x);
    return State(mean, values.momentum * mean + (1.0 - values.momentum) * last, last, gradient);
}

fn seen(after: State) -> vec4<f32> {
    return after.y;
}

fn keep(i: u32, after: State) {
    z[i] = after.z;
    y[i] = after.y;
    weights[i] = after.x;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn update_free(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    update_all(workgroup, grid, local, Step(update_factor(), share()));
}
