//! What rules have to be by their formulas: equal to one another, free of a variance, or right in the mean.

use std::sync::Arc;

use crate::common::{assert_close, bits, device, supervised::config, wide};
use jostle::{
    data::{Dataset, SampleShape, Samples, Split, Targets},
    graph::ValueShape,
    noise::{Distribution, Mode, NoiseConfig, Scale, Scheme, deltas, unit_noise},
    ops::Loss,
    rules::{Program, Rule, RuleKind},
    schedule::Moment,
    train::{Prepared, RunConfig, TrainStep, Trainer},
};

/// Plain descent on the digits, by a network without batch norms.
fn tiny() -> RunConfig {
    let (model, subset) = ("mlp:64-12-10:tanh".to_owned(), Some(300));
    RunConfig { model, subset, noise: Mode::None, weight_decay: 0.0, steps: Some(20), ..config() }
}

fn trainer(config: &RunConfig, prepared: &Prepared, rule: &Rule) -> Trainer<'static> {
    let mut trainer = Trainer::with_rule(device(), config, prepared, rule).unwrap();
    trainer.begin_epoch(0, (0..trainer.samples() as u32).collect()).unwrap();
    trainer
}

fn scheme(config: &RunConfig, prepared: &Prepared, noise: NoiseConfig) -> Scheme {
    let model = &prepared.model;
    Scheme::new(noise, &model.graph.layout(), &model.noise_tensors(), config.seed)
}

fn model_noise(sigma: f64, scale: Scale) -> NoiseConfig {
    NoiseConfig { mode: Mode::Model, sigma, scale, ..NoiseConfig::default() }
}

fn step(trainer: &mut Trainer<'_>, rate: f64) {
    let (samples, batch) = (trainer.samples(), trainer.step_samples());
    let first = trainer.steps_done() as usize * batch % samples;
    let valid = batch.min(samples - first);
    trainer.train_step(TrainStep { first, valid, rate: trainer.rate(rate) }, None).unwrap();
}

fn weights(trainer: &Trainer<'_>) -> Vec<Vec<f32>> {
    let arena = &trainer.arena;
    let tensors = 0..arena.layout.spans().len();
    tensors.map(|tensor| device().read(&arena.tensor(&arena.weights, tensor).unwrap()).unwrap()).collect()
}

/// The weights after some steps of a rule, in bits.
fn after(config: &RunConfig, prepared: &Prepared, rule: &Rule) -> Vec<u32> {
    let mut trainer = trainer(config, prepared, rule);
    (0..7).for_each(|_| step(&mut trainer, 0.1));
    weights(&trainer).iter().flat_map(|tensor| bits(tensor)).collect()
}

#[test]
fn rules_of_no_distance_are_plain_descent_to_the_bit() {
    for momentum in [0.0, 0.9] {
        let config = RunConfig { momentum, weight_decay: 1e-3, ..tiny() };
        let prepared = Prepared::load(&config).unwrap();
        let none = || Arc::new(scheme(&config, &prepared, NoiseConfig::default()));
        let plain = after(&config, &prepared, &Rule::new(Program::noise(), none()));
        let rules = [
            Program::sharpness_aware(0.0).unwrap(),
            Program::adaptive(0.0, 0.01).unwrap(),
            Program::ahead(0.0).unwrap(),
            Program::noise_stability(1, 0.0).unwrap(),
        ];
        for program in rules {
            let name = program.name().to_owned();
            assert_eq!(after(&config, &prepared, &Rule::new(program, none())), plain, "{name}, momentum {momentum}");
        }
        let silent = Arc::new(scheme(&config, &prepared, model_noise(0.0, Scale::Absolute)));
        assert_eq!(after(&config, &prepared, &Rule::new(Program::noise(), silent)), plain);
        let far = Rule::new(Program::sharpness_aware(0.1).unwrap(), none());
        assert_ne!(after(&config, &prepared, &far), plain);
    }
}

#[test]
fn low_pass_descent_of_one_part_is_noise_in_units_of_filters() {
    let config = tiny();
    let prepared = Prepared::load(&config).unwrap();
    let noise = || Arc::new(scheme(&config, &prepared, model_noise(0.1, Scale::Filter)));
    let [low_pass, noisy, parts] = [Program::low_pass(1), Program::noise(), Program::low_pass(4)]
        .map(|program| after(&config, &prepared, &Rule::new(program, noise())));
    assert_eq!(low_pass, noisy);
    assert_ne!(parts, noisy, "draws of parts are their own");
    let named = RunConfig { noise_scale: Scale::Filter, sigma: 0.1, sub_batches: Some(1), ..config.clone() };
    let named = RunConfig { rule: RuleKind::Lpf, ..named };
    assert_eq!(after(&named, &prepared, &named.rule_for(&prepared.model).unwrap()), noisy);
}

/// Anti-PGD (Orvieto, Kersting, Proske, Bach and Lucchi, ICML 2022) keeps the noisy weights z: z <- z - rate g(z) + next - last.
#[test]
fn anticorrelated_noise_is_mode_model() {
    let config = RunConfig { momentum: 0.0, ..tiny() };
    let prepared = Prepared::load(&config).unwrap();
    let gpu = device();
    let noise = scheme(&config, &prepared, model_noise(0.2, Scale::Absolute));
    let mut model = trainer(&config, &prepared, &Rule::noise(noise.clone()));
    let none = scheme(&config, &prepared, NoiseConfig::default());
    let mut stored = trainer(&config, &prepared, &Rule::noise(none));
    let drawn = |step| deltas(gpu, &model.arena, &noise, &noise.at(step, Moment::START)).unwrap();
    let draws: Vec<Vec<Vec<f32>>> = (0..8).map(drawn).collect();
    let add = |trainer: &Trainer<'_>, draw: &[Vec<f32>], sign: f32| {
        for (tensor, (mut values, draw)) in weights(trainer).into_iter().zip(draw).enumerate() {
            values.iter_mut().zip(draw).for_each(|(value, draw)| *value += sign * draw);
            gpu.write(&trainer.arena.tensor(&trainer.arena.weights, tensor).unwrap(), &values).unwrap();
        }
        // The weights were moved by hand: where the network is looked at has to be put there anew.
        trainer.scores(true).unwrap();
    };
    add(&stored, &draws[0], 1.0);
    for number in 0..7 {
        step(&mut model, 0.1);
        step(&mut stored, 0.1);
        add(&stored, &draws[number + 1], 1.0);
        add(&stored, &draws[number], -1.0);
    }
    for ((stored, model), draw) in weights(&stored).iter().zip(weights(&model)).zip(&draws[7]) {
        let expected: Vec<f64> = model.iter().zip(draw).map(|(w, xi)| f64::from(*w) + f64::from(*xi)).collect();
        assert_close("noisy weights", stored, &expected, 3e-6, 0.0);
    }
}

/// Four independent features and two numbers to give, of which a linear network with squared errors is a quadratic.
fn quadratic(samples: usize) -> Prepared {
    let normal = |i: usize, what: u32| unit_noise(Distribution::Gaussian, 77, what, 0, i);
    let rows = |from: usize, count: usize| Dataset {
        name: "rows".to_owned(),
        samples: Samples::F32(
            (from * 4..(from + count) * 4).map(|i| (1 + i % 4) as f32 * 0.5 * normal(i, 0)).collect(),
        ),
        targets: Targets::Vectors { values: (from * 2..(from + count) * 2).map(|i| normal(i, 1)).collect(), width: 2 },
        shape: SampleShape { channels: 1, height: 1, width: 4 },
        full_scale: 1.0,
        published: &[],
    };
    let split = Split { train: rows(0, samples), test: rows(samples, 2) };
    Prepared::from_split(&rows_config(samples), split).unwrap()
}

fn rows_config(samples: usize) -> RunConfig {
    RunConfig { model: "mlp:4-2".to_owned(), loss: Loss::Mse, batch: samples, subset: None, ..tiny() }
}

fn gradient(trainer: &Trainer<'_>) -> Vec<f32> {
    device().read(&trainer.arena.grads.view()).unwrap()
}

#[test]
fn a_quadratics_noise_of_both_signs_has_no_first_order() {
    let (config, prepared) = (rows_config(64), quadratic(64));
    assert!(matches!(
        prepared.model.graph.shape(prepared.model.graph.input()),
        ValueShape::Features(4) | ValueShape::Image { .. }
    ));
    let none = scheme(&config, &prepared, NoiseConfig::default());
    let mut clean = trainer(&config, &prepared, &Rule::noise(none));
    step(&mut clean, 0.0);
    let clean = wide(&gradient(&clean));
    let noise = Arc::new(scheme(&config, &prepared, model_noise(0.5, Scale::Absolute)));
    let furthest = |program: Program| {
        let mut trainer = trainer(&config, &prepared, &Rule::new(program, noise.clone()));
        let mut furthest = 0.0f64;
        for _ in 0..5 {
            step(&mut trainer, 0.0);
            let apart =
                gradient(&trainer).iter().zip(&clean).map(|(g, c)| (f64::from(*g) - c).abs()).fold(0.0, f64::max);
            furthest = furthest.max(apart);
        }
        furthest
    };
    let one_sided = furthest(Program::noise());
    assert!(one_sided > 0.5, "noise on one side moves the gradient: {one_sided}");
    for pairs in [1, 3] {
        let apart = furthest(Program::noise_stability(pairs, 0.0).unwrap());
        assert!(apart < 3e-6, "{pairs} pairs: {apart}, one side {one_sided}");
    }
}

/// The diagonal of the loss' Hessian.
fn diagonal(trainer: &Trainer<'_>) -> Vec<Option<f64>> {
    let layout = &trainer.arena.layout;
    let mut diagonal = vec![None; layout.words()];
    for span in layout.spans() {
        for element in span.start..span.start + span.len {
            let mut direction = vec![0.0; layout.words()];
            direction[element] = 1.0;
            diagonal[element] = Some(trainer.hessian_product(&direction).unwrap()[element]);
        }
    }
    diagonal
}

/// The estimate of a step has the diagonal as its mean, and beta2 of 0.99 averages over some hundred of them; the mean over many steps
/// is held against it.
#[test]
fn a_posteriors_precision_goes_to_the_diagonal_of_a_quadratic() {
    let prepared = quadratic(64);
    let config =
        RunConfig { ess: Some(1e-3), hess_init: Some(0.3), beta2: 0.99, weight_decay: 1e-6, ..rows_config(64) };
    let config = RunConfig { rule: RuleKind::Ivon, ..config };
    let mut trainer = trainer(&config, &prepared, &config.rule_for(&prepared.model).unwrap());
    let expected = diagonal(&trainer);
    let mut sums = vec![0.0; expected.len()];
    let (warm_up, counted) = (600, 60);
    for number in 0..warm_up + 50 * counted {
        step(&mut trainer, 1e-9);
        if number >= warm_up && number % 50 == 0 {
            let hess = trainer.optimizer_state("hess").unwrap().unwrap();
            sums.iter_mut().zip(wide(&hess)).for_each(|(sum, h)| *sum += h / f64::from(counted));
        }
    }
    for (element, (found, expected)) in sums.iter().zip(&expected).enumerate() {
        let Some(expected) = expected else { continue };
        assert!((found / expected - 1.0).abs() < 0.15, "element {element}: {found}, expected {expected}");
    }
    let ratios: Vec<f64> = sums.iter().zip(&expected).filter_map(|(h, d)| Some(h / (*d)?)).collect();
    println!("hess over the diagonal: {ratios:.3?}");
}

/// The mean over draws of slope times draw is the gradient of the loss smoothed by the same noise, which is the mean of the gradients
/// at the draws.
#[test]
fn the_mean_of_zeroth_order_estimates_is_the_smoothed_gradient() {
    let prepared = quadratic(64);
    let base = RunConfig { model: "mlp:4-3-2:tanh".to_owned(), ..rows_config(64) };
    let prepared = Prepared::with_model(&base, prepared.split.clone(), model_of(&base, &prepared)).unwrap();
    let config = RunConfig { rule: RuleKind::Mezo, mezo_eps: Some(0.5), momentum: 0.0, ..base };
    let draws = 3000;
    let mut mezo = trainer(&config, &prepared, &config.rule_for(&prepared.model).unwrap());
    let noise = Arc::new(scheme(&config, &prepared, config.noise_config()));
    let mut noisy =
        trainer(&RunConfig { rule: RuleKind::Noise, ..config.clone() }, &prepared, &Rule::new(Program::noise(), noise));
    let spans = mezo.arena.layout.spans().to_vec();
    let words = mezo.arena.layout.words();
    let (mut estimates, mut squares, mut smoothed) = (vec![0.0; words], vec![0.0; words], vec![0.0; words]);
    for number in 0..draws {
        step(&mut mezo, 0.0);
        let slope = f64::from(mezo.slope(u64::from(number)).unwrap().unwrap());
        for (tensor, span) in spans.iter().enumerate() {
            for element in 0..span.len {
                let z = unit_noise(Distribution::Gaussian, config.seed, number, tensor as u32, element);
                let estimate = slope * f64::from(z);
                estimates[span.start + element] += estimate / f64::from(draws);
                squares[span.start + element] += estimate * estimate / f64::from(draws);
            }
        }
        step(&mut noisy, 0.0);
        smoothed.iter_mut().zip(wide(&gradient(&noisy))).for_each(|(sum, g)| *sum += g / f64::from(draws));
    }
    let largest = smoothed.iter().fold(0.0f64, |most, g| most.max(g.abs()));
    for ((found, square), expected) in estimates.iter().zip(&squares).zip(&smoothed) {
        let error = ((square - found * found).max(0.0) / f64::from(draws)).sqrt();
        assert!((found - expected).abs() <= 5.0 * error + 1e-9, "{found}, expected {expected} within {error}");
        assert!(error < 0.2 * largest, "the errors are small enough to tell: {error} of {largest}");
    }
}

fn model_of(config: &RunConfig, prepared: &Prepared) -> jostle::nn::Model {
    Prepared::from_split(config, prepared.split.clone()).unwrap().model
}
