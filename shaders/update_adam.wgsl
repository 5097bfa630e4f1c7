// Adam and AdamW in place, and the next step's noisy weights in the same sweep over memory.
//
//   g          = grads[i] + weight_decay * weights[i]                (Adam; AdamW has weight_decay 0 here)
//   w          = weights[i] * decay_factor                           (AdamW: 1 - learning_rate * decay; Adam: 1)
//   exp_avg    = exp_avg + (1 - beta1) (g - exp_avg)
//   exp_avg_sq = beta2 exp_avg_sq + (1 - beta2) g g
//   weights[i]     = w - step_size exp_avg / (sqrt(exp_avg_sq) / bias_correction2_sqrt + eps)
//   weights_eff[i] = weights[i] + noise of the next step
//
// Shapes    grads, exp_avg, exp_avg_sq, weights, weights_eff: the arena in vec4s; blocks: one entry per 64 elements.
// Units     grads is d(mean loss)/d(weights); step_size = learning_rate / (1 - beta1^t), t counted from 1, and
//           bias_correction2_sqrt = sqrt(1 - beta2^t). Where updates were left out (SCALED) t counts those that were not,
//           which only the device knows; both are then computed here.
// Dispatch  grid_1d(count of octets / 2, WORKGROUP_SIZE), folded, two octets an invocation; NOISE = 0 leaves the noise out of the code altogether.
// Source    torch.optim.Adam and AdamW (Kingma & Ba 2015; Loshchilov & Hutter 2019).

override WORKGROUP_SIZE: u32 = 64u;
override NOISE: u32 = 0u;
// Gradients are multiplied by scaling.factor; 0 leaves the weights and the state as they are.
override SCALED: bool = false;

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

// 1 - (1 - x)^t for x in (0, 1], by c(a + b) = c(a) + c(b) - c(a) c(b), in which nothing cancels.
fn bias_correction(x: f32, t: u32) -> f32 {
    var result = 0.0;
    var power = x;
    for (var left = t; left != 0u; left >>= 1u) {
        if (left & 1u) == 1u { result += power * (1.0 - result); }
        power += power * (1.0 - power);
    }
    return result;
}

fn correction() -> Correction {
    if SCALED && scaling.skipped_steps != 0u && scaling.applied_steps != 0u {
        let t = scaling.applied_steps;
        let first = bias_correction(values.one_minus_beta1, t);
        return Correction(values.learning_rate / first, sqrt(bias_correction(values.one_minus_beta2, t)));
    }
    return Correction(values.step_size, values.bias_correction2_sqrt);
}

// The clean update of vec4 number `i`; returns the new weights.
fn update(i: u32, factor: f32, by: Correction) -> vec4<f32> {
    let weight = weights[i];
    if SCALED && factor == 0.0 { return weight; }
    var gradient = grads[i];
    if SCALED { gradient *= factor; }
    gradient += values.weight_decay * weight;
    let first = exp_avg[i];
    let mean = first + values.one_minus_beta1 * (gradient - first);
    let square = values.beta2 * exp_avg_sq[i] + values.one_minus_beta2 * gradient * gradient;
    exp_avg[i] = mean;
    exp_avg_sq[i] = square;
    let denominator = sqrt(square) / by.root + values.eps;
    let next = weight * values.decay_factor - by.step_size * (mean / denominator);
    weights[i] = next;
    return next;
}

// The update of octet number `i`, whose block's entry is `block`.
fn update_octet(i: u32, block: vec4<u32>, factor: f32, by: Correction) {
    var next = mat2x4<f32>(update(2u * i, factor, by), update(2u * i + 1u, factor, by));
    if NOISE != NOISE_NONE {
        next += noise_delta(NOISE, values.noise, block, i);
    }
    weights_eff[2u * i] = vec4<Real>(next[0]);
    weights_eff[2u * i + 1u] = vec4<Real>(next[1]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn update_adam(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
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
    let by = correction();
    update_octet(i, block, factor, by);
    update_octet(i + 1u, block, factor, by);
}
