// Gradients of a scale and a shift.
//
//   grad_scale[k] (+)= sum over samples (and pixels) of grad input;  grad_shift[k] (+)= sum of grad, with SHIFT
//
// Shapes    grad, input: [batch, pixels, stride]; grad_scale, grad_shift: [channels] or [channels, pixels] (shared/norm.wgsl),
//           with more than one part [parts] of those, which column_sum.wgsl adds up.
// Dispatch  parts * ceil(columns / SUMS) workgroups of (SUMS, LANES), folded, as column_sum.wgsl. Columns are the elements that
//           lie side by side: a pixel's, or where each pixel has parameters of its own a sample's.

override SUMS: u32 = 32u;
override LANES: u32 = 1u;
override SHIFT: bool = true;
override ACCUMULATE: bool = false;

var<immediate> values: NormShape;
@group(0) @binding(0) var<storage, read_write> grad: array<Real>;
@group(0) @binding(1) var<storage, read_write> input: array<Real>;
@group(0) @binding(2) var<storage, read_write> grad_scale: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad_shift: array<f32>;

@compute @workgroup_size(SUMS, LANES)
fn affine_gradient(
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let own_pixels = select(1u, values.pixels, values.per_pixel == 1u);
    let columns = own_pixels * values.stride;
    let blocks = (columns + SUMS - 1u) / SUMS;
    let index = index_1d(workgroup, grid, 1u);
    let part = index / blocks;
    let column = (index - part * blocks) * SUMS + local.x;
    let pixel = column / values.stride;
    let channel = column - pixel * values.stride;
    let is_there = part < values.parts && pixel < own_pixels && channel < values.channels;
    let rows = part_of_sum(part, values.parts, values.batch * (values.pixels / own_pixels), 1u);
    let end = select(0u, rows.y, is_there);
    var own = vec2<f32>();
    for (var row = rows.x + local.y; row < end; row += LANES) {
        let at = row * columns + column;
        own += f32(grad[at]) * vec2<f32>(f32(input[at]), 1.0);
    }
    let sums = tree_sum(tree_in_column(local, SUMS), vec4<f32>(own, own));
    if !is_there || local.y != 0u { return; }
    let param = part * values.channels * own_pixels + norm_param(values, pixel, channel);
    var products = sums.x;
    if ACCUMULATE { products += grad_scale[param]; }
    grad_scale[param] = products;
    if SHIFT {
        var sum = sums.y;
        if ACCUMULATE { sum += grad_shift[param]; }
        grad_shift[param] = sum;
    }
}
