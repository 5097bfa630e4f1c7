// Batch norm, first step: statistics of each channel over a chunk of rows, to be combined by what comes next.
//
//   partials[chunk] = (mean, sum (x - mean)^2) of the chunk's rows, in one pass over memory: by sums of x - x', x' an invocation's
//                     first row, so that a large mean cancels nothing (shared/moments.wgsl)
//   table           = ., ., weight, bias with PARAMS; 0 for channels that are padding
//
// Shapes    x: [rows, quads] vec4s; weight, bias: [channels]; table: [4, quads] vec4s; partials: [quads, chunks, 2] vec4s, so that
//           what combines a quad's reads one stretch of memory.
// Dispatch  grid_1d(chunks * ceil(quads / QUAD_LANES), 1), folded, of WORKGROUP_SIZE invocations (shared/cut.wgsl). `rows` are
//           those that hold samples; chunks beyond them have none.

override WORKGROUP_SIZE: u32 = 256u;
override QUAD_LANES: u32 = 4u;
// Where batch_norm_finish_apply.wgsl comes next, which has no bindings left for them.
override PARAMS: bool = false;

var<immediate> values: Batch;
@group(0) @binding(0) var<storage, read_write> x: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> weight: array<Real>;
@group(0) @binding(2) var<storage, read_write> bias: array<Real>;
@group(0) @binding(3) var<storage, read_write> table: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4<f32>>;

// Four rows at once, so that memory is waited for once for them all. In the place of one beyond stands the first, whose distance
// from itself is 0.
fn lane_moments(cut: Cut) -> Moments {
    if cut.first >= cut.end { return Moments(); }
    let shift = vec4<f32>(x[cut.first * values.quads + cut.quad]);
    var sum = vec4<f32>();
    var squares = vec4<f32>();
    for (var row = cut.first + cut.step; row < cut.end; row += 4u * cut.step) {
        let rows = row + cut.step * vec4<u32>(0u, 1u, 2u, 3u);
        let at = select(vec4<u32>(cut.first), rows, rows < vec4<u32>(cut.end)) * values.quads + cut.quad;
        let a = vec4<f32>(x[at.x]) - shift;
        let b = vec4<f32>(x[at.y]) - shift;
        let c = vec4<f32>(x[at.z]) - shift;
        let d = vec4<f32>(x[at.w]) - shift;
        sum += (a + b) + (c + d);
        squares += (a * a + b * b) + (c * c + d * d);
    }
    return moments_shifted(shift, sum, squares, f32((cut.end - cut.first + cut.step - 1u) / cut.step));
}

// Weights and biases of a quad's channels.
fn read_params(quad: u32) -> mat2x4<f32> {
    var weights = vec4<f32>();
    var biases = vec4<f32>();
    for (var j = 0u; j < 4u; j++) {
        let channel = 4u * quad + j;
        if channel < values.channels {
            weights[j] = f32(weight[channel]);
            biases[j] = f32(bias[channel]);
        }
    }
    return mat2x4<f32>(weights, biases);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn batch_norm_moments(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let cut = cut_of(workgroup, grid, local, values.rows_per_chunk, values.rows);
    let keeps_params = PARAMS && cut.part == 0u && local < QUAD_LANES;
    // Under way while the rows are read.
    var params: mat2x4<f32>;
    if keeps_params { params = read_params(cut.quad); }
    let all = moments_over_rows(true, lane_moments(cut), local, cut_row_lanes(), QUAD_LANES);
    if local >= QUAD_LANES || cut.quad >= values.quads || cut.part >= values.chunks { return; }
    let at = partials_place(cut.quad, cut.part);
    partials[at] = all.first;
    partials[at + 1u] = all.second;
    if keeps_params {
        table[2u * values.quads + cut.quad] = params[0];
        table[3u * values.quads + cut.quad] = params[1];
    }
}
