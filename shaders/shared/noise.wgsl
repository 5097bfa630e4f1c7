// Weight noise: eight draws of zero mean and unit variance as a pure function of (seed, step, tensor, element).
// Needs shared/philox.wgsl.
//
//   counter = (element / 8, tensor, step, stream), key = seed; element % 8 picks the draw
//
// gaussian: Box-Muller, a pair from each word, 20 bits for the radius (up to 5.4 sigma) and 12 for the angle; with a
// minimax polynomial for log (2e-8 relative; shorter than math_log) and Cephes' sinf and cosf, so that each draw is
// within 4 ulp of the exact one (docs/reproducibility.md); sqrt is the only built-in. Four pairs side by side, since one
// is a single chain of dependent operations.
// rademacher and uniform: 16 bits each; the top bit, or centred and times sqrt(12).
// Eight from one Philox call because noise must cost next to nothing where arithmetic is dear (software adapters).
// src/noise/draw.rs is the same arithmetic on the host.

const NOISE_NONE: u32 = 0u;
const NOISE_GAUSSIAN: u32 = 1u;
const NOISE_RADEMACHER: u32 = 2u;
const NOISE_UNIFORM: u32 = 3u;

const NOISE_STREAM_WEIGHTS: u32 = 0u;
const NOISE_STREAM_INIT: u32 = 1u;
const NOISE_STREAM_DROPOUT: u32 = 3u;
const NOISE_STREAM_AUGMENT: u32 = 4u;

const NOISE_2_POW_MINUS_20: f32 = 9.5367431640625e-7;
const NOISE_SQRT3_2_POW_MINUS_16: f32 = 2.6428997e-5;
const NOISE_QUARTER_TURN_1024TH: f32 = 1.5339808e-3; // (pi / 2) / 1024

// What a step tells the kernels that add noise. `first` and `count` are in octets (8 elements) of the bound part of the
// arena, whose first 64-element block is number `block_base` of the whole arena.
struct NoiseStep {
    first: u32,
    count: u32,
    block_base: u32,
    seed_low: u32,
    seed_high: u32,
    step: u32,
    sigma: f32,
}

// log(x) for x in (0, 1): x = m 2^e with m in [sqrt(1/2), sqrt(2)), 0x3F3504F3 being sqrt(1/2).
fn noise_log(x: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(x);
    let e = vec4<i32>(bits - vec4<u32>(0x3F3504F3u)) >> vec4<u32>(23u);
    let m = bitcast<vec4<f32>>(bits - (vec4<u32>(e) << vec4<u32>(23u))) - 1.0;
    var p = 9.14212689e-2 * m - 1.46817207e-1;
    p = p * m + 1.49142042e-1;
    p = p * m - 1.65032536e-1;
    p = p * m + 1.99564770e-1;
    p = p * m - 2.50057071e-1;
    p = p * m + 3.33341986e-1;
    p = p * m - 4.99999166e-1;
    return (p * m) * m + m + vec4<f32>(e) * 6.9314718e-1;
}

struct NoisePairs {
    cosines: vec4<f32>,
    sines: vec4<f32>,
}

// Two standard normals from each word. The angle is one of 4096, none on an axis: two bits of quadrant, ten within
// (-pi/4, pi/4).
fn noise_box_muller(bits: vec4<u32>) -> NoisePairs {
    let uniform_01 = (vec4<f32>(vec4<i32>(bits >> vec4<u32>(12u))) + 0.5) * NOISE_2_POW_MINUS_20; // in (0, 1), exact
    let radius = sqrt(-2.0 * noise_log(uniform_01));
    let angle = (vec4<f32>(vec4<i32>(bits & vec4<u32>(0x3FFu)) - 512) + 0.5) * NOISE_QUARTER_TURN_1024TH;
    let z = angle * angle;
    let s = ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * angle + angle;
    let c = ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1.0;
    // The second bit of the quadrant turns by half, the first by a quarter; signs are flipped as bits.
    let quarter = (bits & vec4<u32>(0x400u)) != vec4<u32>(0u);
    let half_sign = (bits << vec4<u32>(20u)) & vec4<u32>(0x80000000u);
    let quarter_sign = (bits << vec4<u32>(21u)) & vec4<u32>(0x80000000u);
    let x = bitcast<vec4<u32>>(radius * select(c, s, quarter)) ^ half_sign ^ quarter_sign;
    let y = bitcast<vec4<u32>>(radius * select(s, c, quarter)) ^ half_sign;
    return NoisePairs(bitcast<vec4<f32>>(x), bitcast<vec4<f32>>(y));
}

// Eight draws, in order of the elements.
fn noise_unit(kind: u32, bits: vec4<u32>) -> mat2x4<f32> {
    if kind == NOISE_GAUSSIAN {
        let pairs = noise_box_muller(bits);
        return mat2x4<f32>(
            vec4<f32>(pairs.cosines.x, pairs.sines.x, pairs.cosines.y, pairs.sines.y),
            vec4<f32>(pairs.cosines.z, pairs.sines.z, pairs.cosines.w, pairs.sines.w),
        );
    }
    let low = vec4<i32>(bits & vec4<u32>(0xFFFFu));
    let high = vec4<i32>(bits >> vec4<u32>(16u));
    let first = vec4<i32>(low.x, high.x, low.y, high.y);
    let second = vec4<i32>(low.z, high.z, low.w, high.w);
    if kind == NOISE_RADEMACHER {
        return mat2x4<f32>(vec4<f32>(1 - 2 * (first >> vec4<u32>(15u))), vec4<f32>(1 - 2 * (second >> vec4<u32>(15u))));
    } else if kind == NOISE_UNIFORM {
        // 2 x + 1 - 2^16 is an odd integer below 2^16 in size
        return NOISE_SQRT3_2_POW_MINUS_16 * mat2x4<f32>(vec4<f32>(2 * first - 65535), vec4<f32>(2 * second - 65535));
    }
    return mat2x4<f32>();
}

// The noise of octet number `i` of a bound part: `block` is the arena's entry for the 64 elements around it,
// (tensor, its first octet within the tensor, scale as bits, whether it is of a matrix).
fn noise_delta(kind: u32, step: NoiseStep, block: vec4<u32>, i: u32) -> mat2x4<f32> {
    let counter = vec4<u32>(block.y + (i & 7u), block.x, step.step, NOISE_STREAM_WEIGHTS);
    let unit = noise_unit(kind, philox(counter, vec2<u32>(step.seed_low, step.seed_high)));
    return (step.sigma * bitcast<f32>(block.z)) * unit;
}
