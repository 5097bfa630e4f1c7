//! Steps of rules on a device, against gradients that are measured one by one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::common::{assert_close, bits, device, network, supervised::config, trace::weights, wide};
use jostle::{
    gpu::GpuError,
    kernels::{Arena, ArenaLayout},
    noise::{Grouping, Mode, NoiseConfig, NoiseScheme, Scheme, StepNoise, deltas},
    optim::{Decay, OptimizerConfig, OptimizerKind},
    rules::{Compiled, Draw, Gradients, Instruction, Machine, Program, Rule, UpdateFusion, Updates},
    schedule::{Clock, Moment},
    train::{Prepared, RunConfig, TrainStep, Trainer},
};

fn all_bits(tensors: &[Vec<f32>]) -> Vec<Vec<u32>> {
    tensors.iter().map(|tensor| bits(tensor)).collect()
}

fn machine(arena: &Arena, scheme: &Scheme, fusion: UpdateFusion, optimizer: &OptimizerConfig) -> Machine {
    let compiled = Compiled::new(&Program::noise(), fusion);
    let updates = Updates { optimizer: optimizer.clone(), ..Updates::default() };
    let rule = Rule::noise(scheme.clone());
    Machine::from_compiled(device(), arena, (compiled, &rule), updates, Clock::Stopped).unwrap()
}

/// After each of a few steps, the clean weights and where the next step begins.
fn steps(
    fusion: UpdateFusion,
    (mode, groups): (Mode, Grouping),
    optimizer: &OptimizerConfig,
) -> Vec<[Vec<Vec<u32>>; 2]> {
    let gpu = device();
    let scheme = network::scheme(NoiseConfig { mode, groups, sigma: 0.25, ..NoiseConfig::default() }, 3);
    let values = |seed| network::SHAPES.map(|shape| crate::common::samples(seed, shape.iter().product(), 0.5));
    let arena = network::arena(gpu, &scheme, &values(1));
    let mut machine = machine(&arena, &scheme, fusion, optimizer);
    let mut left = Vec::new();
    for step in 0..12 {
        let mut recorder = gpu.record();
        machine.begin(gpu, &mut recorder, step).unwrap();
        recorder.submit().unwrap();
        network::set(gpu, &arena, &arena.grads, &values(2 + step));
        let mut recorder = gpu.record();
        machine.after_pass(gpu, &mut recorder, 0, step, machine.rate(0.05)).unwrap();
        recorder.submit().unwrap();
        machine.end(step);
        assert!(machine.holds(&machine.start(step + 1)));
        left.push([&arena.weights, &arena.weights_eff].map(|buffer| all_bits(&network::get(gpu, &arena, buffer))));
    }
    left
}

#[test]
fn fused_and_separate_updates_leave_the_same_bits() {
    let kinds = [OptimizerKind::Sgd, OptimizerKind::AdamW, OptimizerKind::Lion];
    let rules = kinds.into_iter().zip([Decay::All, Decay::Matrices, Decay::Matrices]);
    let noises = Mode::ALL.map(|mode| (mode, Grouping::Tensor)).into_iter();
    for noise in noises.chain([Grouping::Projection, Grouping::Block].map(|groups| (Mode::Layer, groups))) {
        for (kind, decay) in rules.clone() {
            let base = OptimizerConfig { momentum: 0.9, weight_decay: 0.01, ..OptimizerConfig::default() };
            let optimizer = OptimizerConfig { kind, decay, ..base };
            let [fused, separate] =
                [UpdateFusion::Fused, UpdateFusion::Separate].map(|fusion| steps(fusion, noise, &optimizer));
            assert!(fused == separate, "{kind} {noise:?}");
            for (step, [clean, noisy]) in fused.iter().enumerate() {
                let differs = noise.0 != Mode::None;
                assert_eq!(clean != noisy, differs, "{kind} {noise:?}, step {step}: noise is there where it is on");
            }
        }
    }
}

/// A tiny network in f32 whose updates are `weights -= rate grads`.
fn tiny() -> RunConfig {
    let model = "mlp:64-12-10:tanh".to_owned();
    RunConfig {
        model,
        noise: Mode::Model,
        sigma: 0.3,
        weight_decay: 0.0,
        subset: Some(300),
        steps: Some(20),
        ..config()
    }
}

fn scheme(config: &RunConfig, prepared: &Prepared) -> Scheme {
    let model = &prepared.model;
    Scheme::new(config.noise_config(), &model.graph.layout(), &model.noise_tensors(), config.seed)
}

fn trainer(config: &RunConfig, program: Program, scheme: impl NoiseScheme + 'static) -> Trainer<'static> {
    let prepared = Prepared::load(config).unwrap();
    let rule = Rule::new(program, Arc::new(scheme));
    let mut trainer = Trainer::with_rule(device(), config, &prepared, &rule).unwrap();
    trainer.begin_epoch(0, (0..trainer.samples() as u32).collect()).unwrap();
    trainer
}

fn step(trainer: &mut Trainer<'_>, rate: f64) {
    let first = trainer.steps_done() as usize * 100 % 300;
    trainer.train_step(TrainStep { first, valid: 100, rate: trainer.rate(rate) }, None).unwrap();
}

fn grads(trainer: &Trainer<'_>) -> Vec<f32> {
    device().read(&trainer.arena.grads.view()).unwrap()
}

/// A scheme's noise times a factor.
#[derive(Debug)]
struct Times(Scheme, f64);

impl NoiseScheme for Times {
    fn at(&self, step: u64, when: Moment) -> StepNoise {
        self.0.at(step, when).scaled(self.1)
    }

    fn scales(&self) -> Vec<f32> {
        self.0.scales()
    }
}

#[test]
fn an_antithetic_pair_is_the_mean_of_two_gradients() {
    for accumulate in [1, 2] {
        let batch = 100 / accumulate;
        let config = RunConfig { batch, accumulate, ..tiny() };
        let scheme = scheme(&config, &Prepared::load(&config).unwrap());
        let [plus, minus] = [1.0, -1.0].map(|factor| {
            let mut trainer = trainer(&config, Program::noise(), Times(scheme.clone(), factor));
            step(&mut trainer, 0.0);
            grads(&trainer)
        });
        let mean: Vec<f64> = wide(&plus).iter().zip(wide(&minus)).map(|(p, m)| 0.5 * (p + m)).collect();
        assert!(plus.iter().zip(&minus).any(|(p, m)| (p - m).abs() > 1e-3), "noise of 0.3 makes a difference");
        let mut pair = trainer(&config, Program::antithetic(), scheme.clone());
        let before: Vec<f32> = device().read(&pair.arena.weights.view()).unwrap();
        step(&mut pair, 0.5);
        assert_close("gradient", &grads(&pair), &mean, 1e-7, 1e-6);
        let moved: Vec<f64> = wide(&before).iter().zip(&mean).map(|(w, g)| w - 0.5 * g).collect();
        let after: Vec<f32> = device().read(&pair.arena.weights.view()).unwrap();
        assert_close("weights", &after, &moved, 1e-6, 1e-6);
    }
}

#[test]
fn sharpness_aware_gradients_are_those_up_the_gradient() {
    let config = tiny();
    let scheme = scheme(&config, &Prepared::load(&config).unwrap());
    let plain = || {
        let g = Gradients(0);
        Program::new("plain", vec![Instruction::Gradient { into: g }, Instruction::Update { along: g }]).unwrap()
    };
    let mut at_clean = trainer(&config, plain(), scheme.clone());
    let weights: Vec<f32> = device().read(&at_clean.arena.weights.view()).unwrap();
    step(&mut at_clean, 0.0);
    let clean = wide(&grads(&at_clean));
    let (rho, norm) = (0.5, clean.iter().map(|g| g * g).sum::<f64>().sqrt());
    let risen: Vec<f32> = weights.iter().zip(&clean).map(|(w, g)| (f64::from(*w) + rho * g / norm) as f32).collect();
    let mut at_top = trainer(&config, plain(), scheme.clone());
    device().write(&at_top.arena.weights.view(), &risen).unwrap();
    step(&mut at_top, 0.0);
    let expected = wide(&grads(&at_top));
    let far = expected.iter().zip(&clean).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(far > 1e-3, "the gradient changes along the way: {far}");
    let mut aware = trainer(&config, Program::sharpness_aware(rho).unwrap(), scheme);
    step(&mut aware, 0.5);
    assert_close("gradient", &grads(&aware), &expected, 1e-6, 1e-5);
    let moved: Vec<f64> = wide(&weights).iter().zip(&expected).map(|(w, g)| w - 0.5 * g).collect();
    let after: Vec<f32> = device().read(&aware.arena.weights.view()).unwrap();
    assert_close("weights", &after, &moved, 1e-6, 1e-5);
}

#[test]
fn a_measurement_between_steps_of_any_rule_changes_nothing() {
    for program in [Program::noise(), Program::antithetic(), Program::sharpness_aware(0.1).unwrap()] {
        let config = tiny();
        let trained = |measured: bool| {
            let scheme = scheme(&config, &Prepared::load(&config).unwrap());
            let mut trainer = trainer(&config, program.clone(), scheme);
            for _ in 0..4 {
                step(&mut trainer, 0.2);
                if measured {
                    assert!(trainer.evaluate_test().unwrap().loss > 0.0);
                    trainer.perturb(&trainer.noise(17)).unwrap();
                }
            }
            weights(&trainer)
        };
        assert!(trained(true) == trained(false), "{program}");
    }
}

/// The loss at the clean weights in place of that at the noisy ones, and nothing else changed.
#[test]
fn a_program_may_tell_the_loss_of_other_weights() {
    for accumulate in [1, 2] {
        let config = RunConfig { batch: 100 / accumulate, accumulate, ..tiny() };
        let scheme = scheme(&config, &Prepared::load(&config).unwrap());
        let told = |program: Program, factor: f64| {
            let mut trainer = trainer(&config, program, Times(scheme.clone(), factor));
            step(&mut trainer, 0.5);
            let sums: Vec<[f32; 2]> = trainer.read_metrics().unwrap().wait(device()).unwrap();
            (sums[0][0] / 100.0, weights(&trainer))
        };
        let mut instructions = vec![Instruction::Loss];
        instructions.extend_from_slice(Program::noise().instructions());
        let (loss, moved) = told(Program::new("clean loss", instructions).unwrap(), 1.0);
        let (noisy_loss, expected) = told(Program::noise(), 1.0);
        let (clean_loss, _) = told(Program::noise(), 0.0);
        assert!(moved == expected);
        assert_close("loss", &[loss], &[f64::from(clean_loss)], 1e-6, 1e-6);
        assert!((loss - noisy_loss).abs() > 1e-3, "{loss} and {noisy_loss}");
    }
}

/// The draws of a step are as strong as each other, and none follows from another.
#[test]
fn further_draws_are_independent() {
    let gpu = device();
    let layout = ArenaLayout::new([&[100, 100][..]]);
    let config = NoiseConfig { mode: Mode::Model, sigma: 1.0, ..NoiseConfig::default() };
    let scheme = Scheme::with_groups(config, &layout, vec![vec![0]], 9);
    let arena = Arena::new(gpu, layout, &scheme.scales()).unwrap();
    let values = |step: u64, draw| -> Vec<f64> {
        let noise = scheme.at(step, Moment::START).draw(draw);
        wide(&deltas(gpu, &arena, &scheme, &noise).unwrap()[0])
    };
    let all = [values(0, 0), values(0, 1), values(0, 2), values(1, 0), values(1, 1)];
    for (i, a) in all.iter().enumerate() {
        for (j, b) in all.iter().enumerate() {
            let product = a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / a.len() as f64;
            // Five standard errors: sqrt(2) / 100 of a mean square, 1 / 100 of a mean product.
            let (expected, bound) = if i == j { (1.0, 0.071) } else { (0.0, 0.05) };
            assert!((product - expected).abs() < bound, "draws {i} and {j}: {product}");
        }
    }
    let noise = scheme.at(3, Moment::START);
    assert_eq!(noise.clone().draw(0), noise, "draw 0 is the step's noise");
    let mirrored = deltas(gpu, &arena, &scheme, &noise.clone().scaled(-1.0)).unwrap();
    let negative: Vec<f32> = deltas(gpu, &arena, &scheme, &noise).unwrap()[0].iter().map(|delta| -delta).collect();
    assert_eq!(mirrored[0], negative, "to the bit");
}

/// Noise on one tensor at odd steps.
#[derive(Debug)]
struct OddSteps {
    layout: ArenaLayout,
    tensor: usize,
}

impl NoiseScheme for OddSteps {
    fn at(&self, step: u64, _: Moment) -> StepNoise {
        if step.is_multiple_of(2) {
            return StepNoise::none(&self.layout);
        }
        StepNoise::on_tensors(&self.layout, &[self.tensor], 5, step, 0.5)
    }

    fn scales(&self) -> Vec<f32> {
        vec![1.0; self.layout.spans().len()]
    }
}

#[test]
fn a_scheme_of_ones_own_decides_on_steps_and_tensors() {
    let config = tiny();
    let layout = Prepared::load(&config).unwrap().model.graph.layout();
    let tensor = 2;
    let mut trainer = trainer(&config, Program::noise(), OddSteps { layout, tensor });
    for done in 1..5 {
        step(&mut trainer, 0.1);
        let [clean, noisy] = [&trainer.arena.weights, &trainer.arena.weights_eff]
            .map(|buffer| all_bits(&network::get(device(), &trainer.arena, buffer)));
        let differ: Vec<usize> = (0..clean.len()).filter(|tensor| clean[*tensor] != noisy[*tensor]).collect();
        assert_eq!(differ, if done % 2 == 1 { vec![tensor] } else { vec![] }, "after step {done}");
        assert_eq!(trainer.noise(done).sigma(), if done % 2 == 1 { 0.5 } else { 0.0 });
    }
}

/// A scheme that counts how often it is asked.
#[derive(Debug)]
struct Counted(Scheme, Arc<AtomicUsize>);

impl NoiseScheme for Counted {
    fn at(&self, step: u64, when: Moment) -> StepNoise {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.at(step, when)
    }

    fn scales(&self) -> Vec<f32> {
        self.0.scales()
    }
}

#[test]
fn the_noise_of_a_step_is_computed_once() {
    let config = tiny();
    let (scheme, asked) = (scheme(&config, &Prepared::load(&config).unwrap()), Arc::<AtomicUsize>::default());
    let mut trainer = trainer(&config, Program::noise(), Counted(scheme, asked.clone()));
    step(&mut trainer, 0.1);
    let before = asked.load(Ordering::Relaxed);
    for done in 1..5 {
        let told = trainer.noise(done as u64);
        step(&mut trainer, 0.1);
        assert_eq!(asked.load(Ordering::Relaxed), before + done);
        assert_eq!(told, trainer.scheme().at(done as u64, Moment::START));
        asked.fetch_sub(1, Ordering::Relaxed); // the test's own question
    }
}

/// A scheme with a hole, or of another network.
#[derive(Debug)]
struct Wrong(StepNoise, usize);

impl NoiseScheme for Wrong {
    fn at(&self, _: u64, _: Moment) -> StepNoise {
        self.0.clone()
    }

    fn scales(&self) -> Vec<f32> {
        vec![1.0; self.1]
    }
}

#[test]
fn schemes_that_do_not_fit_the_network_are_refused() {
    let config = tiny();
    let prepared = Prepared::load(&config).unwrap();
    let layout = prepared.model.graph.layout();
    let whole = StepNoise::on_tensors(&layout, &[0, 2], 1, 0, 0.1);
    let rule = |noise: &StepNoise, scales| Rule::noise(Wrong(noise.clone(), scales));
    let refused = Trainer::with_rule(device(), &config, &prepared, &rule(&whole, 3)).map(|_| ());
    assert!(format!("{refused:?}").contains("scales of tensors"), "{refused:?}");
    let mut gap = whole.clone();
    gap.ranges.remove(1);
    let mut short = whole.clone();
    short.ranges.pop();
    for noise in [gap, short] {
        let mut trainer = trainer(&config, Program::noise(), Wrong(noise, layout.spans().len()));
        let refused = trainer.train_step(TrainStep { first: 0, valid: 100, rate: trainer.rate(0.1) }, None);
        assert!(matches!(refused, Err(GpuError::Length { kernel: "noise scheme", .. })), "{refused:?}");
    }
}

/// Two draws in one step: the mean over both, not twice the first.
#[test]
fn a_program_may_take_two_draws() {
    let config = tiny();
    let scheme = scheme(&config, &Prepared::load(&config).unwrap());
    let [g, h] = [0, 1].map(Gradients);
    let program = |draws: [u32; 2]| {
        let [a, b] = draws.map(|number| Instruction::Perturb { draw: Draw { number, factor: 1.0 } });
        let mean = Instruction::Combine { into: g, keep: 0.5, other: h, add: 0.5 };
        let gradients = [g, h].map(|into| Instruction::Gradient { into });
        Program::new("two", vec![a, gradients[0], b, gradients[1], mean, Instruction::Update { along: g }]).unwrap()
    };
    let gradient = |draws| {
        let mut trainer = trainer(&config, program(draws), scheme.clone());
        step(&mut trainer, 0.0);
        wide(&grads(&trainer))
    };
    let [first, second, both] = [[0, 0], [1, 1], [0, 1]].map(gradient);
    let mean: Vec<f64> = first.iter().zip(&second).map(|(a, b)| 0.5 * (a + b)).collect();
    let both: Vec<f32> = both.iter().map(|g| *g as f32).collect();
    assert_close("mean of two draws", &both, &mean, 1e-7, 1e-6);
    assert!(first.iter().zip(&second).any(|(a, b)| (a - b).abs() > 1e-3));
}
