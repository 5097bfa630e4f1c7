//! What the tests share: the device, samples, guarded buffers, comparisons, central differences.

pub mod attention;
pub mod batch_norm;
pub mod events;
pub mod images;
pub mod interpreter;
pub mod model;
pub mod network;
pub mod norm;
pub mod places;
pub mod reference;
pub mod sanitize;
pub mod sequences;
pub mod supervised;
pub mod trace;
pub mod transformers;

use std::{path::PathBuf, sync::OnceLock};

use half::f16;
use jostle::{
    gpu::{
        ALIGNMENT_WORDS, AdapterChoice, AdapterSummary, Buffer, CooperativeMatrix, Dispatch, Element, Gpu, Launch,
        View, align_words,
    },
    kernels::{AdapterClass, CoopMatrices, Lanes, Target},
    noise::{Stream, philox},
};

/// Unit roundoff of f32: the relative error of one rounding.
pub const ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;

/// The device of this process.
pub fn device() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(own_device)
}

/// A device that no other test of this process uses: for what counts all that happens on it.
pub fn own_device() -> Gpu {
    let gpu = Gpu::new(&AdapterChoice::from_environment()).expect("the tests need an adapter");
    gpu.with_faults(sanitize::faults())
}

/// A second device with bounds checks and loop bounds injected into every kernel.
pub fn checked_device() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| Gpu::with_runtime_checks(&AdapterChoice::from_environment()).expect("an adapter"))
}

/// A class of adapters for each way in which long sums are shared out; every adapter can run all of them.
pub fn target(class: AdapterClass) -> Target {
    Target::with_class(device(), class)
}

/// The depth of a sum whose dispatches follow one upon the other: rounds and tree steps.
pub fn depth(launches: &[Launch]) -> usize {
    launches.iter().map(|launch| launch.chain).sum()
}

/// The classes of adapters that there are variants for.
pub fn classes() -> [AdapterClass; 2] {
    [AdapterClass::Gpu(CoopMatrices::default()), AdapterClass::Software(Lanes::Eight)]
}

/// An adapter of this kind with subgroups of these sizes, which has such features and lists such matrices.
pub fn adapter(
    kind: &'static str,
    subgroup_sizes: [u32; 2],
    features: &[&'static str],
    usable_matrices: &[CooperativeMatrix],
) -> AdapterClass {
    AdapterClass::for_adapter(&AdapterSummary {
        index: 0,
        name: "an adapter".to_owned(),
        backend: "vulkan".to_owned(),
        kind,
        driver: String::new(),
        max_buffer_bytes: 1 << 40,
        max_binding_bytes: 1 << 31,
        max_workgroups: 65535,
        workgroup_bytes: 48 << 10,
        workgroup_invocations: 1024,
        subgroup_sizes,
        features: features.to_vec(),
        cooperative_matrices: Vec::new(),
        usable_matrices: usable_matrices.to_vec(),
    })
}

/// A GPU with subgroups of these sizes that lists such matrices.
pub fn listing(subgroup_sizes: [u32; 2], matrix: CooperativeMatrix) -> AdapterClass {
    adapter("discrete", subgroup_sizes, &["subgroups", "f16", "cooperative-matrix"], &[matrix])
}

/// A fixture that PyTorch made.
pub fn parity_file(name: &str) -> PathBuf {
    places::root().join("assets/parity").join(name)
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): the tests' own randomness, shared with nothing they check.
pub fn hash(seed: u64, i: u64) -> u64 {
    let mut z = (seed << 32 ^ i).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// Whether dropout keeps an element: its word of the host's Philox, which `kernels::philox` holds against the published
/// answers, is at least the probability's part of 2^32.
pub fn keeps(probability: f32, [seed, step]: [u64; 2], layer: usize, element: usize) -> bool {
    let counter = [(element / 4) as u32, layer as u32, step as u32, Stream::Dropout as u32];
    let words = philox(counter, [seed as u32, (seed >> 32) as u32]);
    f64::from(words[element % 4]) >= (f64::from(probability) * 2f64.powi(32)).floor()
}

/// `count` values in (-scale, scale), none of them 0, no two neighbours alike.
pub fn samples(seed: u64, count: usize, scale: f32) -> Vec<f32> {
    let value = |i: usize| ((hash(seed, i as u64) >> 41) as f32 + 0.5) * 2f32.powi(-22) - 1.0;
    (0..count).map(|i| value(i) * scale).collect()
}

/// As [`samples`], with zeros, tiny and large values among them.
pub fn awkward(seed: u64, count: usize, scale: f32) -> Vec<f32> {
    let mut values = samples(seed, count, scale);
    for (i, value) in values.iter_mut().enumerate() {
        match i % 19 {
            5 => *value = 0.0,
            11 => *value *= 1e-6,
            17 => *value *= 16.0,
            _ => {}
        }
    }
    values
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

pub fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A NaN that no arithmetic makes, so that a changed word is seen even if it became another NaN.
const POISON: u32 = 0x7FC0_DEAD;

/// A tensor within a larger buffer of NaN: what is read outside of it poisons the result, what is written is found.
pub struct Guarded {
    buffer: Buffer,
    pub view: View,
}

/// `values` between guards.
pub fn guarded(gpu: &Gpu, values: &[f32]) -> Guarded {
    guarded_as(gpu, values, Element::Word)
}

/// `values` between guards, stored as `element`.
pub fn guarded_as(gpu: &Gpu, values: &[f32], element: Element) -> Guarded {
    let tensor = if element == Element::Half {
        let pair = |pair: &[f32]| {
            // An odd last element has a NaN beside it.
            let [low, high] =
                [pair[0], *pair.get(1).unwrap_or(&f32::NAN)].map(|x| u32::from(f16::from_f32(x).to_bits()));
            low | high << 16
        };
        values.chunks(2).map(pair).collect()
    } else {
        bits(values)
    };
    let mut words = vec![POISON; 2 * ALIGNMENT_WORDS + align_words(tensor.len())];
    words[ALIGNMENT_WORDS..][..tensor.len()].copy_from_slice(&tensor);
    let buffer = gpu.upload("guarded", &words).expect("buffer");
    let view = buffer.part(ALIGNMENT_WORDS, tensor.len()).and_then(|view| view.read_as(element, values.len()));
    Guarded { buffer, view: view.expect("view") }
}

/// An output of `count` values: NaN all over.
pub fn poisoned(gpu: &Gpu, count: usize) -> Guarded {
    poisoned_as(gpu, count, Element::Word)
}

/// As [`poisoned`], stored as `element`.
pub fn poisoned_as(gpu: &Gpu, count: usize, element: Element) -> Guarded {
    guarded_as(gpu, &vec![f32::from_bits(POISON); count], element)
}

/// How a device can store activations.
pub fn elements(gpu: &Gpu) -> impl Iterator<Item = Element> + use<> {
    let half = gpu.has_f16().then_some(Element::Half);
    [Element::Word].into_iter().chain(half)
}

/// The values that a tensor stored as `element` holds.
pub fn stored(element: Element, values: &[f32]) -> Vec<f32> {
    let round = |x: &f32| if element == Element::Half { f16::from_f32(*x).to_f32() } else { *x };
    values.iter().map(round).collect()
}

/// The error of storing `value` as `element`: of f16 half a unit in the last place, a subnormal's at least.
pub fn rounding(element: Element, value: f64) -> f64 {
    if element == Element::Half { (value.abs() * 2f64.powi(-11)).max(2f64.powi(-25)) } else { ROUNDOFF * value.abs() }
}

impl Guarded {
    /// The tensor, its guards checked.
    pub fn read(&self, gpu: &Gpu) -> Vec<f32> {
        let words: Vec<u32> = gpu.read(&self.buffer.view()).expect("readback");
        let (element, len) = (self.view.element(), self.view.len());
        let (tensor, behind) = words[ALIGNMENT_WORDS..].split_at(element.words(len));
        let intact = words[..ALIGNMENT_WORDS].iter().chain(behind).all(|word| *word == POISON);
        assert!(intact, "a kernel wrote outside of its tensor");
        if element == Element::Half {
            let halves = tensor.iter().flat_map(|word| [*word as u16, (*word >> 16) as u16]);
            return halves.take(len).map(|bits| f16::from_bits(bits).to_f32()).collect();
        }
        tensor.iter().map(|word| f32::from_bits(*word)).collect()
    }
}

/// Indices, labels or packed bytes.
pub fn words(gpu: &Gpu, values: &[u32]) -> View {
    gpu.upload("words", values).expect("buffer").view()
}

/// Runs dispatches in order.
pub fn run<D: std::borrow::Borrow<Dispatch>>(gpu: &Gpu, dispatches: &[D]) {
    let mut recorder = gpu.record();
    for dispatch in dispatches {
        recorder.run(dispatch.borrow());
    }
    recorder.submit().expect("submit");
}

/// Fails unless `|found - expected| <= atol + rtol |expected|` everywhere, so NaN fails; names the worst element.
#[track_caller]
pub fn assert_close(name: &str, found: &[f32], expected: &[f64], atol: f64, rtol: f64) {
    let bounds: Vec<f64> = expected.iter().map(|e| atol + rtol * e.abs()).collect();
    assert_within(name, found, expected, &bounds);
}

/// As [`assert_close`] with a bound of its own for each element.
#[track_caller]
pub fn assert_within(name: &str, found: &[f32], expected: &[f64], bounds: &[f64]) {
    assert_within_f64(name, &wide(found), expected, bounds);
}

#[track_caller]
pub fn assert_within_f64(name: &str, found: &[f64], expected: &[f64], bounds: &[f64]) {
    assert_eq!((found.len(), bounds.len()), (expected.len(), expected.len()), "{name}: lengths");
    // How many times its bound each error is; NaN counts as the worst.
    let excess = |i: usize| {
        let ratio = (found[i] - expected[i]).abs() / bounds[i].max(f64::MIN_POSITIVE);
        if ratio.is_nan() { f64::INFINITY } else { ratio }
    };
    let Some(worst) = (0..found.len()).max_by(|i, j| excess(*i).total_cmp(&excess(*j))) else { return };
    // NaN is within nothing
    let is_within = |i: usize| (found[i] - expected[i]).abs() <= bounds[i];
    let wrong = (0..found.len()).filter(|i| !is_within(*i)).count();
    assert!(
        wrong == 0,
        "{name}: {wrong} of {} wrong; worst is element {worst}: found {}, expected {} within {:e}",
        found.len(),
        found[worst],
        expected[worst],
        bounds[worst]
    );
}

/// df/dx by central differences of `2 eps`.
pub fn central_difference(f: impl Fn(&[f64]) -> f64, x: &[f64], eps: f64) -> Vec<f64> {
    let mut at = x.to_vec();
    let mut partial = |i: usize| {
        let mut value = |offset: f64| {
            at[i] = x[i] + offset;
            f(&at)
        };
        let difference = value(eps) - value(-eps);
        at[i] = x[i];
        difference / (2.0 * eps)
    };
    (0..x.len()).map(&mut partial).collect()
}
