// Philox4x32-10: 128 random bits as a pure function of a 128-bit counter and a 64-bit key.
//
// Source    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Random123).
// Integer arithmetic only, so the bits are the same on every adapter; tests hold them against the published answers.

const PHILOX_MULTIPLIER_0: u32 = 0xD2511F53u;
const PHILOX_MULTIPLIER_1: u32 = 0xCD9E8D57u;
const PHILOX_WEYL: vec2<u32> = vec2<u32>(0x9E3779B9u, 0xBB67AE85u);

// Upper 32 bits of a * b, from 16-bit halves: WGSL has no wide product.
fn philox_mulhi(a: u32, b: u32) -> u32 {
    let a_low = a & 0xFFFFu;
    let a_high = a >> 16u;
    let b_low = b & 0xFFFFu;
    let b_high = b >> 16u;
    let middle = a_high * b_low + ((a_low * b_low) >> 16u);
    let carry = a_low * b_high + (middle & 0xFFFFu);
    return a_high * b_high + (middle >> 16u) + (carry >> 16u);
}

fn philox_round(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(
        philox_mulhi(PHILOX_MULTIPLIER_1, counter.z) ^ counter.y ^ key.x,
        PHILOX_MULTIPLIER_1 * counter.z,
        philox_mulhi(PHILOX_MULTIPLIER_0, counter.x) ^ counter.w ^ key.y,
        PHILOX_MULTIPLIER_0 * counter.x,
    );
}

// Unrolled: software adapters run straight code faster than loops.
fn philox(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var bits = philox_round(counter, key);
    bits = philox_round(bits, key + PHILOX_WEYL);
    bits = philox_round(bits, key + 2u * PHILOX_WEYL);
    bits = philox_round(bits, key + 3u * PHILOX_WEYL);
    bits = philox_round(bits, key + 4u * PHILOX_WEYL);
    bits = philox_round(bits, key + 5u * PHILOX_WEYL);
    bits = philox_round(bits, key + 6u * PHILOX_WEYL);
    bits = philox_round(bits, key + 7u * PHILOX_WEYL);
    bits = philox_round(bits, key + 8u * PHILOX_WEYL);
    return philox_round(bits, key + 9u * PHILOX_WEYL);
}
