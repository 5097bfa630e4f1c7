// The adapter's rate of multiply-adds, in f32 or f16: chains enough to hide each other's latency, nothing read.
//
//   x <- x * scale + shift, CHAINS vec4s at once, PER_ROUND * rounds times;  output[i] = sum of the chains
//
// Values tend to shift / (1 - scale): neither overflow nor denormals. scale, shift and rounds are immediates and the
// chains start apart, so that no compiler finds anything to leave out.
//
// Shapes    output: [count], one value an invocation.
// Dispatch  grid_1d(count, WORKGROUP_SIZE), folded; 8 CHAINS PER_ROUND rounds operations an invocation.
// FUSED     fma() in place of x * scale + shift: which of the two is faster is the driver's affair.

override WORKGROUP_SIZE: u32 = 64u;
override FUSED: bool = true;

// The host counts operations by these. Two vec4s: with three a CPU driver's accumulators no longer fit its 16 registers,
// and the rate fell by a third.
const CHAINS: u32 = 2u;
const PER_ROUND: u32 = 32u;

struct Chain {
    count: u32,
    rounds: u32,
    scale: f32,
    shift: f32,
}

var<immediate> values: Chain;
@group(0) @binding(0) var<storage, read_write> output: array<Real>;

fn step(x: vec4<Real>, scale: vec4<Real>, shift: vec4<Real>) -> vec4<Real> {
    if FUSED { return fma(x, scale, shift); }
    return x * scale + shift;
}

// Eight steps of each chain, the chains taking turns.
fn steps(x: array<vec4<Real>, CHAINS>, scale: vec4<Real>, shift: vec4<Real>) -> array<vec4<Real>, CHAINS> {
    var a = x[0];
    var b = x[1];
    a = step(a, scale, shift); b = step(b, scale, shift); a = step(a, scale, shift); b = step(b, scale, shift);
    a = step(a, scale, shift); b = step(b, scale, shift); a = step(a, scale, shift); b = step(b, scale, shift);
    a = step(a, scale, shift); b = step(b, scale, shift); a = step(a, scale, shift); b = step(b, scale, shift);
    a = step(a, scale, shift); b = step(b, scale, shift); a = step(a, scale, shift); b = step(b, scale, shift);
    return array<vec4<Real>, CHAINS>(a, b);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn peak_flops(@builtin(global_invocation_id) invocation: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = index_1d(invocation, grid, WORKGROUP_SIZE);
    if i >= values.count {
        return;
    }
    let scale = vec4<Real>(Real(values.scale));
    let shift = vec4<Real>(Real(values.shift));
    let start = vec4<Real>(vec4<f32>(0.0, 0.125, 0.25, 0.375) + f32(i % 64u) / 64.0);
    var x = array<vec4<Real>, CHAINS>(start, start + shift);
    for (var round = 0u; round < values.rounds; round++) {
        x = steps(x, scale, shift);
        x = steps(x, scale, shift);
        x = steps(x, scale, shift);
        x = steps(x, scale, shift);
    }
    let sum = x[0] + x[1];
    output[i] = sum.x + sum.y + sum.z + sum.w;
}
