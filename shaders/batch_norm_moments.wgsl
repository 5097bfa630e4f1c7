// Batch norm, first step: sums of each channel over a chunk of rows, to be combined by batch_norm_finish.wgsl (forward)
// or batch_norm_gradient_finish.wgsl.
//
//   forward   partials[chunk] = (mean, sum (x - mean)^2) of the chunk's rows, in two passes, so that a large mean cancels
//             nothing
//   GRADIENT  partials[chunk] = (sum g, sum g xhat), g = grad * activation'(saved), xhat = (x - mean) inv_std
//
// Shapes    x, grad, saved: [rows, quads] vec4s; table: [4, quads] (mean, inv_std, scale, shift); partials: [chunks, 2, quads].
// Dispatch  grid_1d(chunks * quads, WORKGROUP_SIZE), folded; `rows` are those that hold samples, chunks beyond them 0.

override WORKGROUP_SIZE: u32 = 64u;
override GRADIENT: bool = false;
override ACTIVATION: u32 = 0u;

struct Moments {
    rows: u32,
    quads: u32,
    rows_per_chunk: u32,
    chunks: u32,
}

var<immediate> values: Moments;
@group(0) @binding(0) var<storage, read_write> x: array<vec4<Real>>;
@group(0) @binding(1) var<storage, read_write> grad: array<vec4<Real>>;
@group(0) @binding(2) var<storage, read_write> saved: array<vec4<Real>>;
@group(0) @binding(3) var<storage, read_write> table: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4<f32>>;

struct Pair {
    first: vec4<f32>,
    second: vec4<f32>,
}

fn chunk_moments(first: u32, end: u32, quad: u32) -> Pair {
    var sum = vec4<f32>();
    for (var row = first; row < end; row++) {
        sum += vec4<f32>(x[row * values.quads + quad]);
    }
    let mean = sum / max(f32(end - first), 1.0);
    var squares = vec4<f32>();
    for (var row = first; row < end; row++) {
        let centred = vec4<f32>(x[row * values.quads + quad]) - mean;
        squares += centred * centred;
    }
    return Pair(mean, squares);
}

fn chunk_gradients(first: u32, end: u32, quad: u32) -> Pair {
    let mean = table[quad];
    var sum = vec4<f32>();
    var products = vec4<f32>();
    for (var row = first; row < end; row++) {
        let at = row * values.quads + quad;
        var g = vec4<f32>(grad[at]);
        if ACTIVATION != 0u { g *= activation_gradient_vec4(ACTIVATION, vec4<f32>(saved[at])); }
        sum += g;
        products += g * (vec4<f32>(x[at]) - mean);
    }
    return Pair(sum, products * table[values.quads + quad]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn batch_norm_moments(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let index = index_1d(invocation, grid, WORKGROUP_SIZE);
    let chunk = index / values.quads;
    if chunk >= values.chunks { return; }
    let quad = index - chunk * values.quads;
    let first = min(chunk * values.rows_per_chunk, values.rows);
    let end = min(first + values.rows_per_chunk, values.rows);
    var pair: Pair;
    if GRADIENT { pair = chunk_gradients(first, end, quad); } else { pair = chunk_moments(first, end, quad); }
    partials[2u * chunk * values.quads + quad] = pair.first;
    partials[(2u * chunk + 1u) * values.quads + quad] = pair.second;
}
