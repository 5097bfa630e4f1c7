// Batch norm, first step: statistics of each channel over a chunk of rows, to be combined by batch_norm_finish.wgsl (forward)
// or batch_norm_gradient_finish.wgsl.
//
//   forward   partials[chunk] = (mean, sum (x - mean)^2) of the chunk's rows, in one pass over memory: by sums of x - x', x' an
//             invocation's first row, so that a large mean cancels nothing (shared/moments.wgsl)
//   GRADIENT  partials[chunk] = (sum g, sum g (x - mean)), g = grad * activation'(saved)
//
// Shapes    x, grad, saved: [rows, quads] vec4s; table: [4, quads] (mean, inv_std, scale, shift); partials: [quads, chunks, 2],
//           so that what combines a quad's reads one stretch of memory.
// Dispatch  grid_1d(chunks * ceil(quads / QUAD_LANES), 1), folded, of WORKGROUP_SIZE invocations: QUAD_LANES neighbours read
//           neighbouring quads of one row, and the others the rows after it. `rows` are those that hold samples; chunks
//           beyond them have none. QUAD_LANES and WORKGROUP_SIZE are powers of two.

override WORKGROUP_SIZE: u32 = 256u;
override QUAD_LANES: u32 = 16u;
override GRADIENT: bool = false;
override ACTIVATION: u32 = 0u;

struct Chunks {
    rows: u32,
    quads: u32,
    rows_per_chunk: u32,
    chunks: u32,
}

var<immediate> values: Chunks;
@group(0) @binding(0) var<storage, read_write> x: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> grad: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> saved: array<vec4<Real>>;
@group(0) @binding(3) var<storage, read_write> table: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4<f32>>;

// Of rows `first`, `first + step`, ... below `end`: four at once, so that memory is waited for once for them all. In the place of
// one beyond stands the first, whose distance from itself is 0.
fn lane_moments(first: u32, end: u32, step: u32, quad: u32) -> Moments {
    if first >= end { return Moments(); }
    let shift = vec4<f32>(x[first * values.quads + quad]);
    var sum = vec4<f32>();
    var squares = vec4<f32>();
    for (var row = first + step; row < end; row += 4u * step) {
        let rows = row + step * vec4<u32>(0u, 1u, 2u, 3u);
        let at = select(vec4<u32>(first), rows, rows < vec4<u32>(end)) * values.quads + quad;
        let a = vec4<f32>(x[at.x]) - shift;
        let b = vec4<f32>(x[at.y]) - shift;
        let c = vec4<f32>(x[at.z]) - shift;
        let d = vec4<f32>(x[at.w]) - shift;
        sum += (a + b) + (c + d);
        squares += (a * a + b * b) + (c * c + d * d);
    }
    return moments_shifted(shift, sum, squares, f32((end - first + step - 1u) / step));
}

fn lane_gradients(first: u32, end: u32, step: u32, quad: u32) -> Moments {
    if first >= end { return Moments(); }
    let mean = table[quad];
    var sum = vec4<f32>();
    var products = vec4<f32>();
    for (var row = first; row < end; row += step) {
        let at = row * values.quads + quad;
        var g = vec4<f32>(grad[at]);
        if ACTIVATION != 0u { g *= activation_gradient_vec4(ACTIVATION, vec4<f32>(saved[at])); }
        sum += g;
        products += g * (vec4<f32>(x[at]) - mean);
    }
    return Moments(sum, products, 0.0);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn batch_norm_moments(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row_lanes = WORKGROUP_SIZE / QUAD_LANES;
    let columns = (values.quads + QUAD_LANES - 1u) / QUAD_LANES;
    let index = index_1d(workgroup, grid, 1u);
    let chunk = index / columns;
    let quad = (index - chunk * columns) * QUAD_LANES + local % QUAD_LANES;
    let start = chunk * values.rows_per_chunk;
    // Invocations beyond the quads have no rows, but come to the barriers.
    let end = select(0u, min(start + values.rows_per_chunk, values.rows), quad < values.quads);
    let first = start + local / QUAD_LANES;
    var lane: Moments;
    if GRADIENT {
        lane = lane_gradients(first, end, row_lanes, quad);
    } else {
        lane = lane_moments(first, end, row_lanes, quad);
    }
    let all = moments_over_rows(!GRADIENT, lane, local, row_lanes, QUAD_LANES);
    if local < QUAD_LANES && quad < values.quads && chunk < values.chunks {
        let at = 2u * (quad * values.chunks + chunk);
        partials[at] = all.first;
        partials[at + 1u] = all.second;
    }
}
