// Weight noise: four draws of zero mean and unit variance as a pure function of (seed, step, tensor, element).
// Needs shared/philox.wgsl and shared/math.wgsl.
//
//   counter = (element / 4, tensor, step, stream), key = seed; lane element % 4
//
// gaussian: Box-Muller on 24-bit uniforms with the polynomials of math.wgsl and Cephes' sinf and cosf, so that
// adapters agree to a few ulp; sqrt is the only built-in. rademacher: the top bit. uniform: centred, times sqrt(12).
// src/noise/draw.rs is the same arithmetic on the host.

const NOISE_NONE: u32 = 0u;
const NOISE_GAUSSIAN: u32 = 1u;
const NOISE_RADEMACHER: u32 = 2u;
const NOISE_UNIFORM: u32 = 3u;

const NOISE_STREAM_WEIGHTS: u32 = 0u;
const NOISE_STREAM_INIT: u32 = 1u;

const NOISE_2_POW_MINUS_24: f32 = 5.9604644775390625e-8;

// What a step tells the kernels that add noise. `first` and `count` are in vec4s of the bound part of the arena, whose
// first 64-element block is number `block_base` of the whole arena.
struct NoiseStep {
    first: u32,
    count: u32,
    block_base: u32,
    seed_low: u32,
    seed_high: u32,
    step: u32,
    sigma: f32,
}

// (cos, sin) of a quarter-turn multiple plus an angle in [-pi/4, pi/4), both from the 24 bits of a uniform.
fn noise_unit_circle(bits: u32) -> vec2<f32> {
    let quadrant = bits >> 22u;
    let angle = f32(i32(bits & 0x3FFFFFu) - 0x200000) * 3.7450704e-7; // (pi/2) 2^-22
    let z = angle * angle;
    let s = ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * angle + angle;
    let c = ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1.0;
    let swapped = (quadrant & 1u) == 1u;
    let x = select(c, -s, swapped);
    let y = select(s, c, swapped);
    let flipped = quadrant >= 2u;
    return vec2<f32>(select(x, -x, flipped), select(y, -y, flipped));
}

// Two standard normals from two words.
fn noise_box_muller(a: u32, b: u32) -> vec2<f32> {
    let uniform_01 = (f32(a >> 8u) + 1.0) * NOISE_2_POW_MINUS_24; // in (0, 1], exact
    return sqrt(max(-2.0 * math_log(uniform_01), 0.0)) * noise_unit_circle(b >> 8u);
}

fn noise_unit(kind: u32, bits: vec4<u32>) -> vec4<f32> {
    if kind == NOISE_GAUSSIAN {
        return vec4<f32>(noise_box_muller(bits.x, bits.y), noise_box_muller(bits.z, bits.w));
    } else if kind == NOISE_RADEMACHER {
        return vec4<f32>(1.0) - 2.0 * vec4<f32>(bits >> vec4<u32>(31u));
    } else if kind == NOISE_UNIFORM {
        // centred: (2 x + 1 - 2^24) is an odd integer below 2^24 in size; times sqrt(3) 2^-24
        return (2.0 * vec4<f32>(bits >> vec4<u32>(8u)) - 16777215.0) * 1.0323827e-7;
    }
    return vec4<f32>(0.0);
}

// The noise of vec4 number `i` of a bound part: `block` is the arena's entry for the 64 elements around it,
// (tensor, its first vec4 within the tensor, scale as bits, unused).
fn noise_delta(kind: u32, step: NoiseStep, block: vec4<u32>, i: u32) -> vec4<f32> {
    let counter = vec4<u32>(block.y + (i & 15u), block.x, step.step, NOISE_STREAM_WEIGHTS);
    let unit = noise_unit(kind, philox(counter, vec2<u32>(step.seed_low, step.seed_high)));
    return (step.sigma * bitcast<f32>(block.z)) * unit;
}
