// The momentum of hidden matrices, and in the place of their gradients what is to be made orthogonal.
//
//   g          = factor grads[i]
//   exp_avg[i] = exp_avg[i] + (1 - momentum) (g - exp_avg[i])
//   grads[i]   = g + momentum (exp_avg[i] - g) with NESTEROV, else exp_avg[i]
//
// All else is left as it is, and so is everything where the factor is 0.
//
// Shapes    grads, exp_avg: a part of the arena of [count] vec4s; blocks: one entry per 64 elements.
// Dispatch  grid_1d(count, WORKGROUP_SIZE), folded.
// Source    torch.optim.Muon's update rule, before its orthogonalisation.

override WORKGROUP_SIZE: u32 = 64u;
// Gradients are multiplied by scaling.factor, else by 1.
override SCALED: bool = false;
override NESTEROV: bool = false;

struct MatrixMomentum {
    count: u32,
    block_base: u32,
    momentum: f32,
    one_minus_momentum: f32,
}

var<immediate> values: MatrixMomentum;
@group(0) @binding(0) var<storage, read_write> grads: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> exp_avg: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> scaling: ScalingState;

@compute @workgroup_size(WORKGROUP_SIZE)
fn matrix_momentum(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i >= values.count || blocks[values.block_base + i / 16u].w != 2u { return; }
    var factor = 1.0;
    if SCALED { factor = scaling.factor; }
    if SCALED && factor == 0.0 { return; }
    let gradient = factor * grads[i];
    let average = exp_avg[i] + values.one_minus_momentum * (gradient - exp_avg[i]);
    exp_avg[i] = average;
    grads[i] = select(average, gradient + values.momentum * (average - gradient), NESTEROV);
}
