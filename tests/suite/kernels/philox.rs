//! Random bits against the published answers, device mathematics and noise against f64 and the host.

use crate::common::{assert_close, classes, device, hash, poisoned, reference::erf, run, words};
use jostle::{
    gpu::{Access, Gpu, KernelSpec},
    kernels::{AdapterClass, Arena, ArenaLayout, NoiseRange, NoiseStep, NoiseUnit, Perturb, init_normal},
    noise::{Distribution, Stream, philox, unit_noise},
};

static PHILOX_PROBE: KernelSpec = KernelSpec {
    entry: "philox_probe",
    source: concat!(
        "@group(0) @binding(0) var<storage, read> input: array<vec4<u32>>;
         @group(0) @binding(1) var<storage, read_write> output: array<vec4<u32>>;
         @compute @workgroup_size(1)
         fn philox_probe(@builtin(workgroup_id) id: vec3<u32>) {
             output[id.x] = philox(input[2u * id.x], input[2u * id.x + 1u].xy);
         }\n",
        include_str!("../../../shaders/shared/philox.wgsl"),
    ),
    bindings: &[("input", Access::Read), ("output", Access::ReadWrite)],
    immediate_bytes: 0,
};

static MATH_PROBE: KernelSpec = KernelSpec {
    entry: "math_probe",
    source: concat!(
        "@group(0) @binding(0) var<storage, read> input: array<f32>;
         @group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;
         @compute @workgroup_size(64)
         fn math_probe(@builtin(global_invocation_id) id: vec3<u32>) {
             if id.x < arrayLength(&output) {
                 let x = input[id.x];
                 output[id.x] = vec4<f32>(math_exp(x), math_log(x), math_tanh(x), math_erf(x));
             }
         }\n",
        include_str!("../../../shaders/shared/math.wgsl"),
    ),
    bindings: &[("input", Access::Read), ("output", Access::ReadWrite)],
    immediate_bytes: 0,
};

static GAUSSIAN_PROBE: KernelSpec = KernelSpec {
    entry: "gaussian_probe",
    source: concat!(
        "@group(0) @binding(0) var<storage, read> input: array<vec4<u32>>;
         @group(0) @binding(1) var<storage, read_write> output: array<mat2x4<f32>>;
         @compute @workgroup_size(64)
         fn gaussian_probe(@builtin(global_invocation_id) id: vec3<u32>) {
             if id.x < arrayLength(&input) { output[id.x] = noise_unit(NOISE_GAUSSIAN, input[id.x]); }
         }\n",
        include_str!("../../../shaders/shared/noise.wgsl"),
        include_str!("../../../shaders/shared/philox.wgsl"),
    ),
    bindings: &[("input", Access::Read), ("output", Access::ReadWrite)],
    immediate_bytes: 0,
};

fn philox_on_device(gpu: &Gpu, cases: &[([u32; 4], [u32; 2])]) -> Vec<[u32; 4]> {
    let input: Vec<u32> = cases.iter().flat_map(|(c, k)| c.iter().copied().chain([k[0], k[1], 0, 0])).collect();
    let (input, output) = (words(gpu, &input), gpu.buffer("bits", cases.len() * 4).unwrap().view());
    let grid = gpu.grid_1d("philox_probe", cases.len(), 1).unwrap();
    let kernel = gpu.kernel(&PHILOX_PROBE, &[]).unwrap();
    run(gpu, &[&kernel.dispatch(gpu, grid, &[&input, &output], &[]).unwrap()]);
    gpu.read(&output).unwrap()
}

/// Random123's tests/kat_vectors, `philox4x32 10`.
#[test]
fn device_bits_are_the_published_ones() {
    let cases = [
        ([0; 4], [0; 2]),
        ([u32::MAX; 4], [u32::MAX; 2]),
        ([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
    ];
    let expected = [
        [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
        [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
    ];
    assert_eq!(philox_on_device(device(), &cases), expected);
    for ((counter, key), expected) in cases.into_iter().zip(expected) {
        assert_eq!(philox(counter, key), expected, "on the host");
    }
}

#[test]
fn device_and_host_bits_agree() {
    let word = |i: u64| hash(51, i) as u32;
    let case = |i: u64| ([0, 1, 2, 3].map(|j| word(6 * i + j)), [4, 5].map(|j| word(6 * i + j)));
    let cases: Vec<_> = (0..1000).map(case).collect();
    let expected: Vec<_> = cases.iter().map(|(counter, key)| philox(*counter, *key)).collect();
    assert_eq!(philox_on_device(device(), &cases), expected);
}

/// Per input (exp, log, tanh, erf).
fn math_on_device(inputs: &[f32]) -> [Vec<f32>; 4] {
    let gpu = device();
    let (input, output) = (gpu.upload("input", inputs).unwrap().view(), poisoned(gpu, inputs.len() * 4));
    let grid = gpu.grid_1d("math_probe", inputs.len(), 64).unwrap();
    let kernel = gpu.kernel(&MATH_PROBE, &[]).unwrap();
    run(gpu, &[&kernel.dispatch(gpu, grid, &[&input, &output.view], &[]).unwrap()]);
    let found = output.read(gpu);
    [0, 1, 2, 3].map(|f| found.iter().skip(f).step_by(4).copied().collect())
}

fn check_math(name: &str, which: usize, inputs: &[f32], f: impl Fn(f64) -> f64, ulps: f64) {
    let expected: Vec<f64> = inputs.iter().map(|x| f(f64::from(*x))).collect();
    assert_close(name, &math_on_device(inputs)[which], &expected, 0.0, ulps * f64::from(f32::EPSILON));
}

fn grid(from: f32, to: f32, count: usize) -> Vec<f32> {
    (0..count).map(|i| from + (to - from) * i as f32 / (count - 1) as f32).collect()
}

// "A few ulp" is 4, an ulp being at most 2^-23 of the value: the polynomials' own errors are below 1 (Cephes gives
// 1.7e-7 for expf, 7.6e-8 for logf, 1.3e-7 for tanhf, its author less than 1e-7 for erf), roundings add the rest, and
// WGSL lets an adapter divide to 2.5 ulp.
const ULPS: f64 = 4.0;

#[test]
fn exp_matches_f64() {
    check_math("exp", 0, &grid(-87.2, 88.2, 100_001), f64::exp, ULPS);
    check_math("exp near 0", 0, &grid(-1e-3, 1e-3, 1001), f64::exp, ULPS);
    let [exp, ..] = math_on_device(&[-87.4, -1000.0, f32::MIN, f32::MAX, 0.0]);
    assert_eq!(exp[..3], [0.0; 3]);
    assert!(exp[3].is_finite() && exp[3] > 1e38 && exp[4] == 1.0, "{exp:?}");
}

#[test]
fn log_matches_f64() {
    // every exponent of a normal number, with mantissas spread over it
    let inputs: Vec<f32> =
        (1..255u32).flat_map(|e| (0..200u64).map(move |i| f32::from_bits(e << 23 | hash(52, i) as u32 >> 9))).collect();
    check_math("log", 1, &inputs, f64::ln, ULPS);
    // near 1, where the result is small: relative error all the same
    check_math("log near 1", 1, &grid(0.99, 1.01, 20_001), f64::ln, ULPS);
    let near: Vec<f32> = (0..64).map(|i| f32::from_bits(1f32.to_bits() - 32 + i)).collect();
    check_math("log beside 1", 1, &near, f64::ln, ULPS);
}

#[test]
fn tanh_matches_f64() {
    check_math("tanh", 2, &grid(-12.0, 12.0, 100_001), f64::tanh, ULPS);
    check_math("tanh near 0", 2, &grid(-1e-4, 1e-4, 1001), f64::tanh, ULPS);
    check_math("tanh at the seam", 2, &grid(0.6249, 0.6251, 1001), f64::tanh, ULPS);
    assert_eq!(math_on_device(&[-1e30, 1e30])[2], [-1.0, 1.0]);
}

#[test]
fn erf_matches_f64() {
    check_math("erf", 3, &grid(-5.0, 5.0, 100_001), erf, ULPS);
    check_math("erf near 0", 3, &grid(-1e-4, 1e-4, 1001), erf, ULPS);
    check_math("erf at the seam", 3, &grid(0.927, 0.928, 1001), erf, ULPS);
    assert_eq!(math_on_device(&[-1e30, 1e30])[3], [-1.0, 1.0]);
}

const SEED: u64 = 0x0123_4567_89AB_CDEF;
const STEP: u32 = 77;

/// Unit noise of two tensors as the device adds it to zeros by the variant for a class of adapters.
fn device_noise(class: AdapterClass, distribution: Distribution, counts: [usize; 2]) -> [Vec<f32>; 2] {
    let gpu = device();
    let shapes = counts.map(|count| [count]);
    let layout = ArenaLayout::new(shapes.iter().map(<[usize; 1]>::as_slice));
    let blocks = layout.blocks();
    let arena = Arena::new(gpu, layout, &[1.0; 2]).unwrap();
    let perturb = Perturb::new(gpu, class, &arena, distribution.code(), NoiseUnit::Absolute).unwrap();
    let [seed_low, seed_high] = [SEED as u32, (SEED >> 32) as u32];
    let values = NoiseStep { seed_low, seed_high, step: STEP, sigma: 1.0, ..NoiseStep::default() };
    let mut recorder = gpu.record();
    perturb.record(gpu, &mut recorder, &[NoiseRange { blocks: 0..blocks, noisy: true }], &[], values).unwrap();
    recorder.submit().unwrap();
    [0, 1].map(|tensor| gpu.read(&arena.tensor(&arena.weights_eff, tensor).unwrap()).unwrap())
}

/// Box and Muller's method in f64 from the generator's bits.
fn gaussian(tensor: u32, element: usize) -> f64 {
    let key = [SEED as u32, (SEED >> 32) as u32];
    let bits = philox([(element / 8) as u32, tensor, STEP, Stream::Weights as u32], key)[element % 8 / 2];
    pair(bits)[element % 2]
}

/// The two normals of a word: 20 of its bits for the radius, 12 for the angle.
fn pair(bits: u32) -> [f64; 2] {
    let uniform = (f64::from(bits >> 12) + 0.5) / f64::from(1 << 20);
    // The angle's top two bits turn by quarters, the others by -1/8 to 1/8 of a turn.
    let (quarter, rest) = ((bits >> 10) & 3, bits & 0x3FF);
    let turn = (f64::from(quarter) + (f64::from(rest) + 0.5) / 1024.0 - 0.5) * std::f64::consts::FRAC_PI_2;
    let radius = (-2.0 * uniform.ln()).sqrt();
    [radius * turn.cos(), radius * turn.sin()]
}

/// Every radius once, and every angle with some of them, on whatever adapter runs this: docs/reproducibility.md.
#[test]
fn every_gaussian_is_within_four_ulp_of_the_exact_one() {
    let radii = (0..1 << 20u32).map(|radius| radius << 12 | hash(53, radius.into()) as u32 & 0xFFF);
    let angles = (0..1 << 16u32).map(|i| (hash(54, (i >> 12).into()) as u32) << 12 | i & 0xFFF);
    let bits: Vec<u32> = radii.chain(angles).collect();
    let gpu = device();
    let (input, output) = (words(gpu, &bits), poisoned(gpu, 2 * bits.len()));
    let grid = gpu.grid_1d("gaussian_probe", bits.len() / 4, 64).unwrap();
    let kernel = gpu.kernel(&GAUSSIAN_PROBE, &[]).unwrap();
    run(gpu, &[&kernel.dispatch(gpu, grid, &[&input, &output.view], &[]).unwrap()]);
    let found = output.read(gpu);
    let expected = bits.iter().flat_map(|bits| pair(*bits));
    let ulps = found.iter().zip(expected).map(|(found, exact)| {
        let ulp = 2f64.powi(exact.abs().log2().floor() as i32 - 23);
        // NaN is the worst of all.
        ((f64::from(*found) - exact).abs() / ulp).min(f64::MAX)
    });
    let (at, worst) =
        ulps.enumerate().fold((0, 0.0), |worst, (at, ulp)| if ulp <= worst.1 { worst } else { (at, ulp) });
    println!("{}: the worst of {} Gaussians is {worst:.2} ulp from the exact one", gpu.adapter_name(), found.len());
    assert!(worst <= ULPS, "word {:#010x}: {worst} ulp", bits[at / 2]);
}

#[test]
fn normal_initialisation_is_box_muller_and_pure() {
    let gpu = device();
    let std = 0.02_f32;
    let draw = |count: usize, tensor: usize, seed: u64| {
        let weights = poisoned(gpu, count);
        run(gpu, &[&init_normal(gpu, &weights.view, 0, tensor, seed, std).unwrap()]);
        weights.read(gpu)
    };
    let exact = |element: usize| {
        let counter = [(element / 8) as u32, 2, 0, Stream::Init as u32];
        f64::from(std) * pair(philox(counter, [SEED as u32, (SEED >> 32) as u32])[element % 8 / 2])[element % 2]
    };
    let whole = draw(100_003, 2, SEED);
    let expected: Vec<f64> = (0..whole.len()).map(exact).collect();
    // The draw's ulps, and the product's.
    assert_close("normal initialisation", &whole, &expected, 0.0, (ULPS + 1.0) * f64::from(f32::EPSILON));
    for len in [1, 7, 8, 9, 63, 513] {
        assert_eq!(draw(len, 2, SEED), whole[..len], "a shorter tensor starts alike");
    }
    for other in [draw(64, 3, SEED), draw(64, 2, SEED + 1), draw(64, 2, SEED + (1 << 32))] {
        assert!(other.iter().zip(&whole).all(|(a, b)| a != b), "tensor, seed and its high word all count");
    }
}

#[test]
fn gaussian_noise_is_box_muller() {
    let counts = [100_003, 515];
    for class in classes() {
        for (tensor, found) in device_noise(class, Distribution::Gaussian, counts).into_iter().enumerate() {
            let expected: Vec<f64> = (0..counts[tensor]).map(|element| gaussian(tensor as u32, element)).collect();
            assert_close(&format!("gaussian {class:?}"), &found, &expected, 0.0, ULPS * f64::from(f32::EPSILON));
        }
    }
}

#[test]
fn host_and_device_noise_agree() {
    let counts = [10_001, 515];
    for (class, distribution) in classes().into_iter().flat_map(|class| Distribution::ALL.map(|d| (class, d))) {
        for (tensor, found) in device_noise(class, distribution, counts).into_iter().enumerate() {
            let host = |element| f64::from(unit_noise(distribution, SEED, STEP, tensor as u32, element));
            let expected: Vec<f64> = (0..counts[tensor]).map(host).collect();
            // exact but for a contracted a * b + c in the Gaussian's polynomials: a few ulp
            let ulps = if distribution == Distribution::Gaussian { ULPS } else { 0.0 };
            assert_close(&format!("{distribution} {class:?}"), &found, &expected, 0.0, ulps * f64::from(f32::EPSILON));
        }
    }
}
