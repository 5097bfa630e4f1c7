// What the gradient of attention, and its tangent, need of each query's row: the softmax' own sums over the head's dimensions.
//
//   rows = (L, mu, D, D.),  D = sum(grad o output),  D. = sum(grad. o output + grad o output.)       (a dot: the tangent)
//
// Shapes    output, grad, output_tangent, grad_tangent: [batch, length, heads, d]; lse (L), mu: [batch, heads, length]; rows:
//           [batch, heads, length, 4]. Without TANGENT mu and D. are 0 and no tangent is read, without GRAD_TANGENT grad. is 0.
// Dispatch  ceil(batch * length * heads / SUMS) workgroups of LANES * SUMS, folded: LANES invocations a row, then a tree.

override SUMS: u32 = 8u;
override LANES: u32 = 8u;
override TANGENT: bool = false;
override GRAD_TANGENT: bool = false;

var<immediate> values: FlashShape;
@group(0) @binding(0) var<storage, read_write> output: array<Real>;
@group(0) @binding(1) var<storage, read_write> grad: array<Real>;
@group(0) @binding(2) var<storage, read_write> lse: array<f32>;
@group(0) @binding(3) var<storage, read_write> output_tangent: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_tangent: array<f32>;
@group(0) @binding(5) var<storage, read_write> mu: array<f32>;
@group(0) @binding(6) var<storage, read_write> rows: array<vec4<f32>>;

@compute @workgroup_size(LANES * SUMS)
fn flash_rows(
    @builtin(local_invocation_index) local: u32,
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
) {
    let lane = tree_in_row(local);
    let index = index_1d(workgroup, grid, 1u) * SUMS + local / LANES; // [batch, length, heads]
    let is_row = index < values.sequences * values.length;
    let end = select(0u, values.head_dim, is_row);
    var own = vec4<f32>();
    for (var i = lane.place; i < end; i += LANES) {
        let at = index * values.head_dim + i;
        let slope = f32(grad[at]);
        own.x += slope * f32(output[at]);
        if TANGENT { own.y += slope * output_tangent[at]; }
        if GRAD_TANGENT { own.y += grad_tangent[at] * f32(output[at]); }
    }
    let sums = tree_sum(lane, own);
    if lane.place != 0u || !is_row { return; }
    let position = index / values.heads;
    let sample = position / values.length;
    let row = (sample * values.heads + index % values.heads) * values.length + position % values.length;
    var shift = 0.0;
    if TANGENT { shift = mu[row]; }
    rows[row] = vec4<f32>(lse[row], shift, sums.x, sums.y);
}
