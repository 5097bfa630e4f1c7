// Batch norm backward, first step: two sums of each channel over a chunk of rows, to be combined by what comes next.
//
//   g               = grad * activation' (shared/upstream.wgsl)
//   partials[chunk] = (sum g, sum g (x - mean)) of the chunk's rows
//   grad_residual (+)= g with RESIDUAL; 0 in rows that hold no sample
//
// Shapes    grad, saved, x, grad_residual: [all_rows, quads] vec4s; table: [4, quads] vec4s; partials: [quads, chunks, 2] vec4s.
// Dispatch  as batch_norm_moments.wgsl.
// Source    Ioffe & Szegedy, "Batch normalization", ICML 2015.

override WORKGROUP_SIZE: u32 = 256u;
override QUAD_LANES: u32 = 4u;
override ACTIVATION: u32 = 0u;
override RECOMPUTE: bool = false;
// 0: there is no residual, or its gradient is made later; 1: its gradient is written; 2: added to what is there.
override RESIDUAL: u32 = 0u;

var<immediate> values: Batch;
@group(0) @binding(0) var<storage, read_write> grad: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> saved: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> x: array<vec4<Real>>;
@group(0) @binding(3) var<storage, read_write> table: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> grad_residual: array<vec4<Real>>;

fn put_residual(at: u32, g: vec4<f32>) {
    if RESIDUAL == 1u { grad_residual[at] = vec4<Real>(g); }
    if RESIDUAL == 2u { grad_residual[at] = vec4<Real>(vec4<f32>(grad_residual[at]) + g); }
}

// Two rows at once, the second in vain where there is none; those that hold no sample count nothing.
fn lane_sums(cut: Cut) -> Moments {
    if cut.first >= cut.end { return Moments(); }
    let entry = table_of(cut.quad);
    let none = vec4<f32>();
    var sum = none;
    var products = none;
    for (var row = cut.first; row < cut.end; row += 2u * cut.step) {
        let rows = vec2<u32>(row, row + cut.step);
        let at = min(rows, vec2<u32>(cut.end - 1u)) * values.quads + cut.quad;
        let counts = rows < vec2<u32>(min(cut.end, values.rows));
        let one = vec4<f32>(x[at.x]);
        let other = vec4<f32>(x[at.y]);
        let g = select(none, upstream(at.x, one, entry), counts.x);
        let h = select(none, upstream(at.y, other, entry), counts.y);
        sum = (sum + g) + h;
        products += select(none, g * (one - entry.mean), counts.x);
        products += select(none, h * (other - entry.mean), counts.y);
        put_residual(at.x, g);
        if rows.y < cut.end { put_residual(at.y, h); }
    }
    return Moments(sum, products, 0.0);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn batch_norm_gradient_moments(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    // A gradient that is written is written in all rows.
    let rows = select(values.rows, values.all_rows, RESIDUAL == 1u);
    let cut = cut_of(workgroup, grid, local, values.rows_per_chunk, rows);
    let all = moments_over_rows(false, lane_sums(cut), local, cut_row_lanes(), QUAD_LANES);
    if local >= QUAD_LANES || cut.quad >= values.quads || cut.part >= values.chunks { return; }
    let at = partials_place(cut.quad, cut.part);
    partials[at] = all.first;
    partials[at + 1u] = all.second;
}
