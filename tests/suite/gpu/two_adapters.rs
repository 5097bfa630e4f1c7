//! The same noise and the same training runs on this adapter and on that of JOSTLE_OTHER_ADAPTER, within the tolerances
//! that docs/reproducibility.md gives. Without the variable there is nothing to compare; scripts/compare_adapters.sh sets it.

use crate::common::{device, images::hashed_squares, network::perturb, trace::Trace};
use jostle::{
    data::Split,
    gpu::{AdapterChoice, Gpu},
    graph::ValueShape,
    kernels::{Arena, ArenaLayout, NoiseRange, NoiseStep, Perturb},
    nn::{Model, Target},
    noise::{Distribution, Mode},
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
    let whole = [NoiseRange { blocks: 0..layout.blocks(), noisy: true }];
    let arena = Arena::new(gpu, layout, &[1.0]).unwrap();
    let kernel = Perturb::new(gpu, &arena, distribution.code(), false).unwrap();
    perturb(gpu, &kernel, &whole, NoiseStep { seed_low: 41, step: 3, sigma: 1.0, ..NoiseStep::default() });
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
        let of = |gpu: &Gpu| unit_noise(gpu, *distribution, 1 << 20);
        let (here, there) = (of(device()), of(&other));
        let apart: Vec<u32> = here.iter().zip(&there).map(|(a, b)| ulps(*a, *b)).collect();
        let (differ, worst) = (apart.iter().filter(|ulps| **ulps > 0).count(), apart.iter().max().unwrap());
        let share = 100.0 * differ as f64 / apart.len() as f64;
        println!("{distribution}: {share:.2} % of {} draws differ, by {worst} ulp at most", apart.len());
        assert!(
            *worst <= if *distribution == Distribution::Gaussian { ULPS } else { 0 },
            "{distribution}: {worst} ulp"
        );
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

fn prepared(model: &str, side: usize) -> Prepared {
    let input = ValueShape::Image { channels: 3, height: side, width: side };
    let split = Split { train: hashed_squares(65, 48, side), test: hashed_squares(67, 16, side) };
    Prepared { split, model: Model::build(model, &Target { input, classes: 10 }).unwrap() }
}

fn floats(bits: &[u32]) -> impl Iterator<Item = f64> {
    bits.iter().map(|bits| f64::from(f32::from_bits(*bits)))
}

/// Largest relative difference of a step's losses, and the distance of the final weights over their norm.
fn apart(here: &Trace, there: &Trace) -> (f64, f64) {
    assert_eq!((here.steps.len() as u64, there.steps.len()), (STEPS, here.steps.len()));
    let losses = here.steps.iter().zip(&there.steps).map(|(a, b)| (a.loss - b.loss).abs() / a.loss.abs());
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let distance = squares(&mut floats(&here.weights).zip(floats(&there.weights)).map(|(a, b)| a - b));
    // max() would drop a NaN
    let worst = losses.fold(0.0, |worst, of| if of <= worst { worst } else { of });
    (worst, distance / squares(&mut floats(&here.weights)))
}

#[test]
fn training_agrees() {
    let Some(other) = other() else { return };
    let folder = tempfile::tempdir().unwrap();
    let smooth = folder.path().join("smooth.toml");
    std::fs::write(&smooth, SMOOTH).unwrap();
    let smooth = smooth.to_str().unwrap();
    let models =
        [("perceptron", "mlp:192-64-64-10", 8), ("cnn1", "cnn1", 16), ("residual network with batch norm", smooth, 16)];
    for (title, model, side) in models {
        let prepared = prepared(model, side);
        for noise in Mode::ALL {
            let config = RunConfig {
                model: model.to_owned(),
                noise: *noise,
                sigma: 0.02,
                lr: 0.01,
                batch: 16,
                steps: Some(STEPS),
                log_every: 1,
                seed: 5,
                ..RunConfig::default()
            };
            let (loss, weight) =
                apart(&Trace::on(device(), &config, &prepared), &Trace::on(&other, &config, &prepared));
            println!("{title}, noise {noise}: losses within {loss:.1e}, weights within {weight:.1e}");
            assert!(loss <= LOSS_TOLERANCE && weight <= WEIGHT_TOLERANCE, "{title}, noise {noise}: {loss} {weight}");
        }
    }
}
