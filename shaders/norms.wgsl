// Partial sums for the L1 and the squared L2 norm of all weights; the host adds the partials in f64.
//
//   partials[p] = sum over i = p, p + P, p + 2P, ... of (|x_i|, x_i^2), components of the vec4s added last
//
// Shapes    input: [count] vec4s; partials: [P, 2]. Dispatch  grid_1d(P, WORKGROUP_SIZE): exactly P invocations count.

override WORKGROUP_SIZE: u32 = 64u;

struct Norms {
    count: u32,
    partials: u32,
}

var<immediate> values: Norms;
@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec2<f32>>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn norms(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let p = index_1d(invocation, grid, WORKGROUP_SIZE);
    if p >= values.partials {
        return;
    }
    var magnitudes = vec4<f32>(0.0);
    var squares = vec4<f32>(0.0);
    for (var i = p; i < values.count; i += values.partials) {
        let x = input[i];
        magnitudes += abs(x);
        squares += x * x;
    }
    let one = vec4<f32>(1.0);
    partials[p] = vec2<f32>(dot(magnitudes, one), dot(squares, one));
}
