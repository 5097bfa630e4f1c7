// One over the L2 norm that partial sums make.
//
//   inverse[0] = 1 / (sqrt(sum_p partials[p, 1]) + least)
//
// Shapes    partials: [P, 2], as norms.wgsl leaves them; inverse: [1].
// Dispatch  one workgroup of LANES: each invocation sums every LANES-th partial, then a tree, so always the same bits.
// Source    the 1e-12 is that of the code of Foret et al. in PyTorch (davda54/sam).

override LANES: u32 = 64u;

struct InverseNorm {
    partials: u32,
    least: f32,
}

var<immediate> values: InverseNorm;
@group(0) @binding(0) var<storage, read> partials: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> inverse: array<f32>;

@compute @workgroup_size(LANES)
fn inverse_norm(@builtin(local_invocation_index) local: u32) {
    var own = 0.0;
    for (var p = local; p < values.partials; p += LANES) {
        own += partials[p].y;
    }
    let squares = tree_sum(tree_in_row(local), vec4<f32>(own)).x;
    if local == 0u {
        inverse[0] = 1.0 / (sqrt(squares) + values.least);
    }
}
