//! The same noise and the same training runs on this adapter and on that of JOSTLE_OTHER_ADAPTER, within the tolerances
//! that docs/reproducibility.md gives. Without the variable there is nothing to compare; scripts/compare_adapters.sh sets it.
//!
//! Where there is no second adapter, the losses of llvmpipe's runs are in assets/traces/llvmpipe.json. Made anew by
//!
//!     JOSTLE_ADAPTER=llvmpipe cargo test --test suite -- --ignored gpu::two_adapters::write_the_trace

use std::{collections::BTreeMap, path::PathBuf};

use crate::common::{device, images::hashed_squares, network::perturb, places::root, trace::Trace};
use jostle::{
    data::Split,
    gpu::{AdapterChoice, Gpu},
    graph::ValueShape,
    kernels::{AdapterClass, Arena, ArenaLayout, NoiseUnit, Perturb},
    nn::{Model, Signature},
    noise::{Distribution, Mode, StepNoise},
    train::{Prepared, RunConfig},
};

const STEPS: u64 = 50;

/// Of a step's loss, relative, and of the weights' distance over their norm, within 50 steps.
const LOSS_TOLERANCE: f64 = 1e-5;
const WEIGHT_TOLERANCE: f64 = 1e-5;

/// Gaussians of two adapters lie so many units in the last place apart at most.
const ULPS: u32 = 4;

fn other() -> Option<Gpu> {
    let Ok(name) = std::env::var("JOSTLE_OTHER_ADAPTER") else {
        println!("JOSTLE_OTHER_ADAPTER names no adapter: nothing is compared");
        return None;
    };
    let other = Gpu::new(&name.parse::<AdapterChoice>().unwrap()).unwrap();
    assert_ne!(other.adapter_name(), device().adapter_name(), "JOSTLE_OTHER_ADAPTER is no other adapter");
    println!("{} and {}", device().adapter_name(), other.adapter_name());
    Some(other)
}

fn unit_noise(gpu: &Gpu, distribution: Distribution, count: usize) -> Vec<f32> {
    let layout = ArenaLayout::new([[count].as_slice()]);
    let arena = Arena::new(gpu, layout, &[1.0]).unwrap();
    let kernel =
        Perturb::new(gpu, AdapterClass::for_device(gpu), &arena, distribution.code(), NoiseUnit::Absolute).unwrap();
    perturb(gpu, &kernel, &StepNoise::on_tensors(&arena.layout, &[0], 41, 3, 1.0));
    gpu.read(&arena.tensor(&arena.weights_eff, 0).unwrap()).unwrap()
}

/// Floats between two of one sign.
fn ulps(a: f32, b: f32) -> u32 {
    if a.is_sign_negative() == b.is_sign_negative() { a.to_bits().abs_diff(b.to_bits()) } else { u32::MAX }
}

#[test]
fn noise_agrees() {
    let Some(other) = other() else { return };
    for distribution in Distribution::ALL {
        let drawn = |gpu: &Gpu| unit_noise(gpu, distribution, 1 << 20);
        let (here, there) = (drawn(device()), drawn(&other));
        let apart: Vec<u32> = here.iter().zip(&there).map(|(a, b)| ulps(*a, *b)).collect();
        let (differ, worst) = (apart.iter().filter(|ulps| **ulps > 0).count(), apart.iter().max().unwrap());
        let share = 100.0 * differ as f64 / apart.len() as f64;
        println!("{distribution}: {share:.2} % of {} draws differ, by {worst} ulp at most", apart.len());
        assert!(*worst <= if distribution == Distribution::Gaussian { ULPS } else { 0 }, "{distribution}: {worst} ulp");
    }
}

/// A residual network without kinks: where a ReLU's input lies within rounding of 0, two adapters may take two sides, and
/// batch norms of few values make much of it. docs/reproducibility.md has the figures.
const SMOOTH: &str = r#"
layers = [
    { type = "conv", channels = 8, kernel = 3, padding = 1, bias = false },
    { type = "batch-norm" },
    { type = "gelu" },
    { type = "residual", layers = [
        { type = "conv", channels = 12, kernel = 3, padding = 1, stride = 2, bias = false },
        { type = "batch-norm" },
        { type = "gelu" },
        { type = "conv", channels = 12, kernel = 3, padding = 1, bias = false },
        { type = "batch-norm" },
    ], shortcut = [{ type = "conv", channels = 12, kernel = 1, stride = 2, bias = false }, { type = "batch-norm" }] },
    { type = "gelu" },
    { type = "global-average-pool" },
    { type = "flatten" },
    { type = "linear" },
]
"#;

/// A network whose training is compared; `model` is a name, or the text of a model's file.
struct Network {
    title: &'static str,
    model: &'static str,
    side: usize,
}

const PERCEPTRON: Network = Network { title: "perceptron", model: "mlp:192-64-64-10", side: 8 };
const CONVOLUTIONS: Network = Network { title: "cnn1", model: "cnn1", side: 16 };
const BATCH_NORM: Network = Network { title: "residual network with batch norm", model: SMOOTH, side: 16 };
const NETWORKS: [Network; 3] = [PERCEPTRON, CONVOLUTIONS, BATCH_NORM];

impl Network {
    fn train(&self, gpu: &Gpu, noise: Mode) -> Trace {
        let folder = tempfile::tempdir().unwrap();
        let model = if self.model == SMOOTH {
            let file = folder.path().join("smooth.toml");
            std::fs::write(&file, SMOOTH).unwrap();
            file.to_str().unwrap().to_owned()
        } else {
            self.model.to_owned()
        };
        let input = ValueShape::Image { channels: 3, height: self.side, width: self.side };
        let split = Split { train: hashed_squares(65, 48, self.side), test: hashed_squares(67, 16, self.side) };
        let built = Model::build(&model, &Signature { input, classes: 10 }).unwrap();
        let prepared =
            Prepared { split, validation: None, model: built, loss: jostle::ops::Loss::Nll.into(), label_noise: None };
        let config = RunConfig {
            model,
            noise,
            sigma: 0.02,
            lr: 0.01,
            batch: 16,
            steps: Some(STEPS),
            log_every: 1,
            seed: 5,
            ..RunConfig::default()
        };
        Trace::on(gpu, &config, &prepared)
    }
}

fn floats(bits: &[u32]) -> impl Iterator<Item = f64> {
    bits.iter().map(|bits| f64::from(f32::from_bits(*bits)))
}

/// Largest relative difference of a step's losses, and the distance of the final weights over their norm.
fn apart(here: &Trace, there: &Trace) -> (f64, f64) {
    assert_eq!((here.steps.len() as u64, there.steps.len()), (STEPS, here.steps.len()));
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let distance = squares(&mut floats(&here.weights).zip(floats(&there.weights)).map(|(a, b)| a - b));
    (losses_apart(&losses(here), &losses(there)), distance / squares(&mut floats(&here.weights)))
}

fn losses(trace: &Trace) -> Vec<f64> {
    trace.steps.iter().map(|step| step.loss).collect()
}

/// Largest relative difference.
fn losses_apart(here: &[f64], there: &[f64]) -> f64 {
    assert_eq!(here.len(), there.len(), "steps");
    let apart = here.iter().zip(there).map(|(a, b)| (a - b).abs() / b.abs());
    // max() would drop a NaN
    apart.fold(0.0, |worst, distance| if distance <= worst { worst } else { distance })
}

#[test]
fn training_agrees() {
    let Some(other) = other() else { return };
    for (network, noise) in NETWORKS.iter().flat_map(|network| Mode::ALL.iter().map(move |noise| (network, noise))) {
        let (loss, weight) = apart(&network.train(device(), *noise), &network.train(&other, *noise));
        let title = network.title;
        println!("{title}, noise {noise}: losses within {loss:.1e}, weights within {weight:.1e}");
        assert!(loss <= LOSS_TOLERANCE && weight <= WEIGHT_TOLERANCE, "{title}, noise {noise}: {loss} {weight}");
    }
}

/// What llvmpipe's training runs gave.
#[derive(serde::Serialize, serde::Deserialize)]
struct Committed {
    adapter: String,
    driver: String,
    /// By network and mode of noise, the loss of each step.
    losses: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
}

fn trace_file() -> PathBuf {
    root().join("assets/traces/llvmpipe.json")
}

impl Committed {
    fn read() -> Self {
        serde_json::from_str(&std::fs::read_to_string(trace_file()).unwrap()).unwrap()
    }

    fn losses(&self, network: &str, noise: Mode) -> &[f64] {
        &self.losses[network][&noise.to_string()]
    }

    /// Trains a network in every mode and holds each step's loss against what is committed.
    fn check(&self, network: &Network) {
        let title = network.title;
        for noise in Mode::ALL {
            let worst = losses_apart(&losses(&network.train(device(), noise)), self.losses(title, noise));
            println!("{title}, noise {noise}: losses within {worst:.1e} of {}", self.adapter);
            assert!(
                worst <= LOSS_TOLERANCE,
                "{title}, noise {noise}: losses differ by {worst:.1e} from {}",
                self.adapter
            );
        }
    }
}

#[test]
fn perceptron_follows_the_trace() {
    Committed::read().check(&PERCEPTRON);
}

#[test]
fn convolutions_follow_the_trace() {
    Committed::read().check(&CONVOLUTIONS);
}

#[test]
fn batch_norm_follows_the_trace() {
    Committed::read().check(&BATCH_NORM);
}

/// One loss of one step that is off by twice the tolerance, and the perceptron no longer follows the trace.
#[test]
#[should_panic(expected = "perceptron, noise layer: losses differ by")]
fn a_changed_trace_is_not_followed() {
    let mut committed = Committed::read();
    committed.losses.get_mut(PERCEPTRON.title).unwrap().get_mut("layer").unwrap()[31] *= 1.0 + 2.0 * LOSS_TOLERANCE;
    committed.check(&PERCEPTRON);
}

#[test]
#[ignore = "writes assets/traces/llvmpipe.json"]
fn write_the_trace() {
    assert!(device().adapter_name().contains("llvmpipe"), "{} is not llvmpipe", device().adapter_name());
    let runs = |network: &Network| {
        let run = |noise: &Mode| (noise.to_string(), losses(&network.train(device(), *noise)));
        (network.title.to_owned(), Mode::ALL.iter().map(run).collect())
    };
    let committed = Committed {
        adapter: device().adapter_name().to_owned(),
        driver: device().driver(),
        losses: NETWORKS.iter().map(runs).collect(),
    };
    std::fs::create_dir_all(trace_file().parent().unwrap()).unwrap();
    std::fs::write(trace_file(), serde_json::to_string(&committed).unwrap() + "\n").unwrap();
}
