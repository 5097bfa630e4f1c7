// An optimizer's update and the next step's noisy weights in one sweep over memory: what the kernels of all optimizers share.
//
// Needs shared/index.wgsl, shared/noise.wgsl, shared/sweep.wgsl and shared/scaling.wgsl, and of the kernel its overrides SCALED and
// SEPARATE, its `values`, whose head is the noise, its bindings `weights_eff` and `scaling`, and
//
//   State                   a vec4 of weights, state and gradient
//   Step                    what an update goes by beside `values`, the same for all weights
//   load(i)                 the State of vec4 number i of the bound part
//   advanced(before, i, by) the State after the clean update by a Step
//   seen(after)             what the network sees of it without noise
//   keep(i, after)          writes weights and state

// What gradients are multiplied by; 0 leaves weights and state as they are.
fn update_factor() -> f32 {
    if SCALED { return scaling.factor; }
    return 1.0;
}

fn update_vec4(i: u32, after: State, noisy: vec4<f32>) {
    keep(i, after);
    if !SEPARATE { weights_eff[i] = vec4<Real>(noisy); }
}

// All is read before anything is written: for all that a compiler knows, writes might change what is read.
fn update_pair(pair: SweepPair, by: Step, local: u32) {
    let before = array<State, 2>(load(pair.at.x), load(pair.at.y));
    let after = array<State, 2>(advanced(before[0], pair.at.x, by), advanced(before[1], pair.at.y, by));
    var noisy = mat2x4<f32>(seen(after[0]), seen(after[1]));
    if NOISE != NOISE_NONE {
        noisy += sweep_noise(values.noise, pair, local);
    }
    if pair.inside.x { update_vec4(pair.at.x, after[0], noisy[0]); }
    if pair.inside.y { update_vec4(pair.at.y, after[1], noisy[1]); }
}

// All of an invocation.
fn update_all(workgroup: vec3<u32>, grid: vec3<u32>, local: u32, by: Step) {
    let pair = sweep_pair(values.noise, index_1d(workgroup, grid, 1u), local);
    update_pair(pair, by, local);
    if !SPREAD { update_pair(sweep_next(pair), by, local); }
}
