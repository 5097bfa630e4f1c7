//! f16 activations and effective weights: the loss scale, the cast of the weights, and whole runs against f32.

use crate::common::{assert_close, classes, device, elements, network, samples, stored};
use jostle::{
    gpu::Element,
    kernels::{Arena, EffectiveWeights, FactorRules, GradientFactor, GradientScaling},
    noise::{Mode, NoiseConfig},
    optim::{Optimizer, OptimizerConfig, OptimizerKind},
    schedule::Moment,
    train::{Control, Precision, Prepared, RunConfig, Trainer, run},
};

/// Runs the factor over gradients and returns the state after it.
fn scaled(arena: &Arena, factor: &GradientFactor, grads: &[Vec<f32>]) -> GradientScaling {
    let gpu = device();
    network::set(gpu, arena, &arena.grads, grads);
    let mut recorder = gpu.record();
    factor.record(&mut recorder);
    recorder.submit().unwrap();
    gpu.read(&arena.scaling.view()).unwrap()[0]
}

fn arena(element: Element) -> Arena {
    let scheme = network::scheme(NoiseConfig::default(), 1);
    Arena::stored(device(), network::layout(), &scheme.scales(), element).unwrap()
}

fn tensors(seed: u64, scale: f32) -> Vec<Vec<f32>> {
    network::SHAPES.iter().map(|shape| samples(seed, shape.iter().product(), scale)).collect()
}

fn factor(arena: &Arena, limit: Option<f32>, growth_interval: u32) -> GradientFactor {
    GradientFactor::new(device(), arena, FactorRules { limit, skips: true, growth_interval }).unwrap()
}

#[test]
fn the_loss_scale_halves_at_an_overflow_and_doubles_after_good_steps() {
    if !device().has_f16() {
        eprintln!("skipped: no f16");
        return;
    }
    let arena = arena(Element::Half);
    let factor = factor(&arena, None, 3);
    let good = tensors(1, 1.0);
    let broken = |value: f32| {
        let mut grads = good.clone();
        grads[3][2] = value;
        grads
    };
    let mut scale = 65_536.0;
    assert_eq!(scaled(&arena, &factor, &good).factor, 1.0 / scale);
    for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        let state = scaled(&arena, &factor, &broken(value));
        scale /= 2.0;
        assert_eq!((state.factor, state.loss_scale, state.good_steps), (0.0, scale, 0), "{value}");
    }
    for (step, expected) in [(1, scale), (2, scale), (3, 2.0 * scale), (4, 2.0 * scale)] {
        let state = scaled(&arena, &factor, &good);
        assert_eq!((state.loss_scale, state.good_steps, state.skipped_steps), (expected, step, 3));
    }
    assert_eq!(scaled(&arena, &factor, &good).factor, 0.5 / scale);
}

#[test]
fn clipping_takes_the_loss_scale_off_first() {
    let gpu = device();
    let grads = tensors(2, 1.0);
    let norm = grads.iter().flatten().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    for (element, loss_scale) in elements(gpu).zip([1.0f32, 1024.0]) {
        let arena = arena(element);
        gpu.write(&arena.scaling.view(), &[GradientScaling { loss_scale, ..GradientScaling::initial(element) }])
            .unwrap();
        let scaled_to = |limit| scaled(&arena, &factor(&arena, limit, 2000), &grads);
        let true_norm = norm / f64::from(loss_scale);
        for share in [None, Some(2.0), Some(0.25)] {
            let limit = share.map(|share| (share * true_norm) as f32);
            let clipped = limit.map_or(1.0, |limit| (f64::from(limit) / (true_norm + 1e-6)).min(1.0));
            let expected = clipped / f64::from(loss_scale);
            let found = scaled_to(limit).factor;
            assert_close(&format!("{element:?} {limit:?}"), &[found], &[expected], 0.0, 1e-5);
        }
    }
}

#[test]
fn a_factor_of_0_leaves_weights_and_state() {
    let gpu = device();
    let kinds = [OptimizerKind::Sgd, OptimizerKind::AdamW, OptimizerKind::Lion, OptimizerKind::ScheduleFree];
    for (kind, element, class) in kinds
        .into_iter()
        .flat_map(|kind| elements(gpu).flat_map(move |element| classes().map(|class| (kind, element, class))))
    {
        let arena = arena(element);
        let scheme = network::scheme(NoiseConfig { mode: Mode::All, sigma: 0.1, ..NoiseConfig::default() }, 1);
        let config = OptimizerConfig { kind, momentum: 0.9, weight_decay: 0.1, ..OptimizerConfig::default() };
        let mut optimizer = Optimizer::new(gpu, class, config, &arena, 1, true).unwrap();
        network::set(gpu, &arena, &arena.weights, &tensors(3, 1.0));
        network::set(gpu, &arena, &arena.grads, &tensors(4, 1.0));
        let step = |optimizer: &mut Optimizer, factor: f32| {
            gpu.write(&arena.scaling.view(), &[GradientScaling { factor, ..GradientScaling::initial(element) }])
                .unwrap();
            let mut recorder = gpu.record();
            optimizer.record(gpu, &mut recorder, optimizer.rate(0.1), &scheme.at(1, Moment::START).into()).unwrap();
            recorder.submit().unwrap();
            let buffers: Vec<_> = [&arena.weights].into_iter().chain(optimizer.state()).collect();
            buffers.into_iter().map(|buffer| network::get(gpu, &arena, buffer)).collect::<Vec<_>>()
        };
        let first = step(&mut optimizer, 1.0);
        let skipped = step(&mut optimizer, 0.0);
        assert_eq!(first, skipped, "{kind} {element:?} {class:?}");
        assert_ne!(first, step(&mut optimizer, 0.5), "{kind} {element:?} {class:?}");
        // Noise is there whether or not the step counted, rounded once.
        let noisy = gpu.read_floats(&arena.effective(0).unwrap()).unwrap();
        assert!(noisy.iter().all(|x| x.is_finite()));
        assert_eq!(noisy, stored(element, &noisy));
    }
}

#[test]
fn the_cast_rounds_to_nearest() {
    let gpu = device();
    for element in elements(gpu) {
        let arena = arena(element);
        let values = tensors(5, 3.0);
        network::set(gpu, &arena, &arena.weights, &values);
        let mut recorder = gpu.record();
        EffectiveWeights::new(gpu, &arena, &arena.weights).unwrap().record(&mut recorder);
        recorder.submit().unwrap();
        for (tensor, values) in values.iter().enumerate() {
            let found = gpu.read_floats(&arena.effective(tensor).unwrap()).unwrap();
            assert_eq!(found, stored(element, values), "{element:?}");
        }
    }
}

/// Test accuracy and loss after a short run.
fn trained(config: &RunConfig) -> (f64, f64) {
    let prepared = Prepared::load(config).unwrap();
    let mut trainer = Trainer::new(device(), config, &prepared).unwrap();
    let result = run(&mut trainer, config, None, &mut |_| Ok(Control::Continue)).unwrap();
    let last = result.epochs.last().unwrap();
    (last.scores.test_accuracy.unwrap(), last.scores.test_loss.unwrap())
}

/// Digits, four seeds of each precision with the same data and initial weights: what f16 changes is smaller than what
/// another seed does.
#[test]
fn digits_in_f16_are_within_the_noise_of_f32() {
    if !device().has_f16() {
        eprintln!("skipped: no f16");
        return;
    }
    for (noise, clip_norm) in [(Mode::None, None), (Mode::Layer, Some(1.0))] {
        let scores = |precision: Precision| -> Vec<(f64, f64)> {
            let config = |seed| RunConfig {
                model: "mlp:64-64-64-10".to_owned(),
                epochs: 6,
                lr: 0.1,
                batch: 64,
                noise,
                clip_norm,
                seed,
                precision,
                ..RunConfig::default()
            };
            (0..4).map(|seed| trained(&config(seed))).collect()
        };
        let (full, half) = (scores(Precision::F32), scores(Precision::F16));
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        for (name, pick, least) in [
            ("accuracy", (|run: &(f64, f64)| run.0) as fn(&(f64, f64)) -> f64, 0.01),
            ("loss", |run: &(f64, f64)| run.1, 0.01),
        ] {
            let [full, half]: [Vec<f64>; 2] = [&full, &half].map(|runs| runs.iter().map(pick).collect());
            let spread = full.iter().map(|x| (x - mean(&full)).powi(2)).sum::<f64>().sqrt() / 3f64.sqrt();
            let difference = mean(&half) - mean(&full);
            eprintln!("{noise} {name}: f32 {full:?}, f16 {half:?}, spread {spread}");
            assert!(
                difference.abs() < spread.max(least),
                "{noise} {name}: {difference} in f16, spread {spread} in f32"
            );
        }
        assert!(mean(&accuracies(&full)) > 0.85, "it learns: {full:?}");
    }
}

fn accuracies(runs: &[(f64, f64)]) -> Vec<f64> {
    runs.iter().map(|(accuracy, _)| *accuracy).collect()
}
