// exp, log, tanh, erf from + - * / and bits, to a few ulp in f32 on every adapter: WGSL bounds its own only loosely
// (log to 2^-21 absolute near 1, tanh through sinh/cosh), and software adapters use the room.
//
// NaN gives NaN: a diverged run has to show. NaN is known by its bits alone: min, max and clamp may drop it, and drivers make
// them of a comparison and a select (NVIDIA's does).
//
// Source    exp, log, tanh: Moshier's Cephes (expf, logf, tanhf). erf: N. Juffa's published single-precision fit.

const MATH_LN2_HIGH: f32 = 0.693359375; // ln 2 in two parts, so that n * high is exact
const MATH_LN2_LOW: f32 = -2.12194440e-4;

fn math_is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7FFFFFFFu) > 0x7F800000u;
}

// exp(x); 0 below -87.3, the largest finite value's neighbourhood above 88.
fn math_exp(x: f32) -> f32 {
    let clamped = select(select(x, 88.3, x > 88.3), -87.3, x < -87.3);
    let n = floor(clamped * 1.44269504088896341 + 0.5);
    let r = (clamped - n * MATH_LN2_HIGH) - n * MATH_LN2_LOW;
    var p = 1.9875691500e-4;
    p = p * r + 1.3981999507e-3;
    p = p * r + 8.3334519073e-3;
    p = p * r + 4.1665795894e-2;
    p = p * r + 1.6666665459e-1;
    p = p * r + 5.0000001201e-1;
    let value = (p * (r * r) + r) + 1.0;
    // 2^n in two halves: n reaches 127.4, and 2^128 is no f32.
    let half = i32(n) >> 1u;
    let rest = i32(n) - half;
    let scaled = value * bitcast<f32>(u32(half + 127) << 23u) * bitcast<f32>(u32(rest + 127) << 23u);
    return select(select(scaled, 0.0, x < -87.3), x, math_is_nan(x));
}

// log(x) for a normal positive x; infinity and NaN give themselves.
fn math_log(x: f32) -> f32 {
    // x = m 2^e with m in [sqrt(1/2), sqrt(2)): 0x3F3504F3 is sqrt(1/2).
    let bits = bitcast<u32>(x);
    let e = i32(bits - 0x3F3504F3u) >> 23u;
    let m = bitcast<f32>(bits - (u32(e) << 23u)) - 1.0;
    let n = f32(e);
    let z = m * m;
    var p = 7.0376836292e-2;
    p = p * m - 1.1514610310e-1;
    p = p * m + 1.1676998740e-1;
    p = p * m - 1.2420140846e-1;
    p = p * m + 1.4249322787e-1;
    p = p * m - 1.6668057665e-1;
    p = p * m + 2.0000714765e-1;
    p = p * m - 2.4999993993e-1;
    p = p * m + 3.3333331174e-1;
    let y = (m * z) * p + n * MATH_LN2_LOW - 0.5 * z;
    return select((m + y) + n * MATH_LN2_HIGH, x, bits > 0x7F7FFFFFu);
}

fn math_tanh(x: f32) -> f32 {
    let magnitude = abs(x);
    let z = x * x;
    var p = -5.70498872745e-3;
    p = p * z + 2.06390887954e-2;
    p = p * z - 5.37397155531e-2;
    p = p * z + 1.33314422036e-1;
    p = p * z - 3.33332819422e-1;
    let near = x + x * (z * p);
    let far = 1.0 - 2.0 / (math_exp(2.0 * select(magnitude, 10.0, magnitude > 10.0)) + 1.0);
    return select(select(select(far, -far, x < 0.0), near, magnitude < 0.625), x, math_is_nan(x));
}

fn math_erf(x: f32) -> f32 {
    let magnitude = abs(x);
    let t = select(magnitude, 4.0, magnitude > 4.0); // erf(4) rounds to 1
    let s = t * t;
    var far = -1.72853470e-5 * t + 3.83197126e-4;
    far = far * s + (-3.88396438e-3 * t + 2.42546219e-2);
    far = far * t - 1.06777877e-1;
    far = far * t - 6.34846687e-1;
    far = far * t - 1.28717512e-1;
    far = 1.0 - math_exp(far * t - t);
    var near = -5.96761703e-4;
    near = near * s + 4.99119423e-3;
    near = near * s - 2.67681349e-2;
    near = near * s + 1.12819925e-1;
    near = near * s - 3.76125336e-1;
    near = near * s + 1.28379166e-1;
    near = near * t + t;
    let value = select(near, far, t > 0.927734375);
    return select(select(value, -value, x < 0.0), x, math_is_nan(x));
}
