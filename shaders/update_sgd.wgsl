// SGD in place, and the next step's noisy weights in the same sweep over memory.
//
//   g        = grads[i] + weight_decay * weights[i]
//   velocity = g at the first step, else momentum * velocity + (1 - dampening) * g
//   d        = g + momentum * velocity (Nesterov), velocity (momentum > 0), g (momentum = 0)
//   weights[i]     = weights[i] - learning_rate * d
//   weights_eff[i] = weights[i] + noise of the next step
//
// Shapes    grads, velocity, weights, weights_eff: the arena in vec4s; blocks: one entry per 64 elements of the arena.
// Units     grads is d(mean loss)/d(weights); learning_rate and weight_decay are per step.
// Dispatch  grid_1d(count of octets / 2, WORKGROUP_SIZE), folded, two octets an invocation; NOISE = 0 leaves the noise out of the code altogether.
// Source    torch.optim.SGD's update rule (momentum after Sutskever et al., ICML 2013).

override WORKGROUP_SIZE: u32 = 64u;
override NOISE: u32 = 0u;
// Gradients are multiplied by scaling.factor; 0 leaves the weights and the state as they are.
override SCALED: bool = false;

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

// The clean update of vec4 number `i`; returns the new weights.
fn update(i: u32, factor: f32) -> vec4<f32> {
    let weight = weights[i];
    if SCALED && factor == 0.0 { return weight; }
    var gradient = grads[i];
    if SCALED { gradient *= factor; }
    var direction = gradient + values.weight_decay * weight;
    if values.momentum != 0.0 {
        let decayed = values.momentum * velocity[i] + values.one_minus_dampening * direction;
        let v = select(decayed, direction, is_first());
        velocity[i] = v;
        direction = select(v, direction + values.momentum * v, values.nesterov == 1u);
    }
    let next = weight - values.learning_rate * direction;
    weights[i] = next;
    return next;
}

// The update of octet number `i`, whose block's entry is `block`.
fn update_octet(i: u32, block: vec4<u32>, factor: f32) {
    var next = mat2x4<f32>(update(2u * i, factor), update(2u * i + 1u, factor));
    if NOISE != NOISE_NONE {
        next += noise_delta(NOISE, values.noise, block, i);
    }
    weights_eff[2u * i] = vec4<Real>(next[0]);
    weights_eff[2u * i + 1u] = vec4<Real>(next[1]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn update_sgd(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let offset = NOISE_OCTETS * index_1d(invocation, grid, WORKGROUP_SIZE);
    if offset >= values.noise.count {
        return;
    }
    let i = values.noise.first + offset;
    var block = vec4<u32>();
    if NOISE != NOISE_NONE {
        block = blocks[values.noise.block_base + i / 8u];
    }
    var factor = 1.0;
    if SCALED { factor = scaling.factor; }
    update_octet(i, block, factor);
    update_octet(i + 1u, block, factor);
}
