// How the invocations of a sweep over whole arenas share out its vec4s, and the noise of those.
//
//   SPREAD   two vec4s an invocation, a workgroup's width apart: invocations side by side take vec4s side by side, as the
//            memory of a GPU wants them. Each draws one octet of its workgroup's and gives half of it to its neighbour.
//   else     SWEEP_OCTETS whole octets an invocation, a pair of vec4s each, of one block: nothing to give away, and so no
//            barrier, which costs a software adapter most.
//
// Needs shared/noise.wgsl and shared/philox.wgsl, and of the kernel its overrides SPREAD, NOISE and WORKGROUP_SIZE, even and at
// most SWEEP_INVOCATIONS, and its `blocks`, one entry per 64 elements of the arena.

// Octets that an invocation takes without SPREAD: they share the load of their block's entry.
const SWEEP_OCTETS: u32 = 2u;

// Of a workgroup at most.
const SWEEP_INVOCATIONS: u32 = 256u;

// The halves of octets that neighbours give each other.
var<workgroup> sweep_halves: array<vec4<f32>, SWEEP_INVOCATIONS>;

struct SweepPair {
    // Two vec4s of the bound part, and which of them are this invocation's to write.
    at: vec2<u32>,
    inside: vec2<bool>,
    // The octet whose noise this invocation draws, and its block's entry.
    octet: u32,
    block: vec4<u32>,
}

// The first pair of an invocation; places past the end are moved to the last, so that it may read there.
fn sweep_pair(step: NoiseStep, group: u32, local: u32) -> SweepPair {
    var pair: SweepPair;
    if SPREAD {
        let first = 2u * WORKGROUP_SIZE * group + local;
        let at = vec2<u32>(first, first + WORKGROUP_SIZE);
        pair.inside = at < vec2<u32>(2u * step.count);
        pair.at = 2u * step.first + min(at, vec2<u32>(2u * step.count - 1u));
        // Of an even invocation the octet that its first vec4 and its neighbour's make, of an odd one that of the second ones.
        pair.octet = select(pair.at.x, pair.at.y, (local & 1u) == 1u) / 2u;
    } else {
        let octet = SWEEP_OCTETS * (WORKGROUP_SIZE * group + local);
        pair.inside = vec2<bool>(octet < step.count);
        pair.octet = step.first + min(octet, step.count - SWEEP_OCTETS);
        pair.at = vec2<u32>(2u * pair.octet, 2u * pair.octet + 1u);
    }
    if NOISE != NOISE_NONE {
        pair.block = blocks[step.block_base + pair.octet / 8u];
    }
    return pair;
}

// The octet after this one.
fn sweep_next(pair: SweepPair) -> SweepPair {
    return SweepPair(pair.at + 2u, pair.inside, pair.octet + 1u, pair.block);
}

// The noise of a pair. With SPREAD every invocation of the workgroup has to call this, and once only.
fn sweep_noise(step: NoiseStep, pair: SweepPair, local: u32) -> mat2x4<f32> {
    let drawn = noise_delta(NOISE, step, pair.block, pair.octet);
    if !SPREAD { return drawn; }
    let odd = (local & 1u) == 1u;
    sweep_halves[local] = select(drawn[1], drawn[0], odd);
    workgroupBarrier();
    let given = sweep_halves[local ^ 1u];
    return mat2x4<f32>(select(drawn[0], given, odd), select(given, drawn[1], odd));
}

// The draw of a step that is over and that of the next one.
struct SweepDraws {
    then: mat2x4<f32>,
    next: mat2x4<f32>,
}

// The noise of a pair by `next`, and that of sigma 1 by the seed (low and high word) and the step of `then`. As sweep_noise.
fn sweep_draws(next: NoiseStep, then: vec3<u32>, pair: SweepPair, local: u32) -> SweepDraws {
    // Not a copy in a variable: the layout of an immediate's type is not valid there in SPIR-V.
    let before = NoiseStep(next.first, next.count, next.block_base, then.x, then.y, then.z, 1.0);
    var draws: SweepDraws;
    draws.then = sweep_noise(before, pair, local);
    // The halves that neighbours gave each other are read before the next ones are written.
    if SPREAD { workgroupBarrier(); }
    draws.next = sweep_noise(next, pair, local);
    return draws;
}
