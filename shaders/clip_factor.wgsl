// The factor that brings a gradient's norm down to a limit.
//
//   factor[0] = min(1, limit / (sqrt(sum_p partials[p, 1]) + 1e-6))
//
// Shapes    partials: [P, 2], as norms.wgsl leaves them; factor: [1].
// Dispatch  one workgroup: each invocation sums every WORKGROUP_SIZE-th partial, then a tree, so always the same bits.
// Source    torch.nn.utils.clip_grad_norm_

const WORKGROUP_SIZE: u32 = 64u; // the host launches one workgroup whatever it is

struct Clip {
    partials: u32,
    limit: f32,
}

var<immediate> values: Clip;
@group(0) @binding(0) var<storage, read> partials: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> factor: array<f32>;

var<workgroup> squares: array<f32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn clip_factor(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var p = lane; p < values.partials; p += WORKGROUP_SIZE) {
        sum += partials[p].y;
    }
    squares[lane] = sum;
    workgroupBarrier();
    for (var half = WORKGROUP_SIZE / 2u; half > 0u; half /= 2u) {
        if lane < half {
            squares[lane] += squares[lane + half];
        }
        workgroupBarrier();
    }
    if lane == 0u {
        factor[0] = min(1.0, values.limit / (sqrt(squares[0]) + 1e-6));
    }
}
