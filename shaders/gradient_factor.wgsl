// What the update multiplies gradients by: clips them, takes the loss scale off, and leaves out steps that overflowed.
//
//   norm   = sqrt(sum_p partials[p, 1]) / loss_scale
//   factor = min(1, limit / (norm + 1e-6)) / loss_scale
//   with SKIPS: if the norm is not finite, factor = 0 (the update is left out) and good_steps = 0
//   applied_steps counts the updates that are not left out
//   with MIXED: then loss_scale /= 2 too, else loss_scale *= 2 after every growth_interval steps without that
//
// Shapes    partials: [P, 2], as norms.wgsl leaves them; scaling: one ScalingState (shared/scaling.wgsl).
// Dispatch  one workgroup of LANES: each invocation sums every LANES-th partial, then a tree, so always the same bits.
// Source    torch.nn.utils.clip_grad_norm_; Micikevicius et al., "Mixed precision training", ICLR 2018;
//           factors and interval of torch.amp.GradScaler.

override SKIPS: bool = false;
override MIXED: bool = false;
override LANES: u32 = 64u;

const LARGEST_SCALE: f32 = 16777216.0; // 2^24; past it the scaled loss of a small batch gains nothing
const SMALLEST_SCALE: f32 = 1.0;

struct Values {
    partials: u32,
    limit: f32,
    growth_interval: u32,
}

var<immediate> values: Values;
@group(0) @binding(0) var<storage, read> partials: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> scaling: ScalingState;

@compute @workgroup_size(LANES)
fn gradient_factor(@builtin(local_invocation_index) local: u32) {
    var own = 0.0;
    for (var p = local; p < values.partials; p += LANES) {
        own += partials[p].y;
    }
    let squares = tree_sum(tree_in_row(local), vec4<f32>(own)).x;
    if local != 0u { return; }
    let scale = scaling.loss_scale;
    let norm = sqrt(squares) / scale;
    if finite(norm) {
        scaling.factor = min(1.0, values.limit / (norm + 1e-6)) / scale;
        scaling.good_steps += 1u;
        scaling.applied_steps += 1u;
        if MIXED && scaling.good_steps % values.growth_interval == 0u {
            scaling.loss_scale = min(2.0 * scale, LARGEST_SCALE);
        }
    } else if SKIPS {
        scaling.factor = 0.0;
        if MIXED {
            scaling.loss_scale = max(0.5 * scale, SMALLEST_SCALE);
        }
        scaling.good_steps = 0u;
        scaling.skipped_steps += 1u;
    } else {
        scaling.factor = norm; // what is broken stays so, for all to see
        scaling.applied_steps += 1u;
    }
}
