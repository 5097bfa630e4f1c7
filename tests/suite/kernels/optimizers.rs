//! SGD, Adam, AdamW, Lion and schedule-free SGD over several steps against their rules in f64, on tensors of odd sizes.

use crate::common::{
    ROUNDOFF, assert_close, assert_within, bits, classes, device,
    network::{SHAPES, arena, get, padding, scheme, set},
    samples, wide,
};
use jostle::{
    gpu::Element,
    kernels::{AdapterClass, FactorRules, GradientFactor, GradientScaling},
    noise::{Mode, NoiseConfig},
    optim::{Decay, Optimizer, OptimizerConfig, OptimizerKind},
    schedule::Moment,
};

const STEPS: usize = 7;

fn tensors(seed: u64, scale: f32) -> Vec<Vec<f32>> {
    let drawn = |(i, shape): (usize, &&[usize])| samples(seed * 100 + i as u64, shape.iter().product(), scale);
    SHAPES.iter().enumerate().map(drawn).collect()
}

/// torch.optim's rules (documentation of `SGD`, `Adam` and `AdamW`, which Muon's is on all but hidden matrices) for one parameter, written
/// as the pages have them, Lion's as its program 1 has it, and schedule-free SGD's by its three iterates: `buffer` is z, `first` is y.
#[derive(Default)]
struct Torch {
    t: i32,
    buffer: f64,
    first: f64,
    second: f64,
}

impl Torch {
    fn step(&mut self, config: &OptimizerConfig, gamma: f64, mut theta: f64, mut g: f64) -> f64 {
        self.t += 1;
        if config.kind == OptimizerKind::Sgd {
            g += config.weight_decay * theta;
            if config.momentum != 0.0 {
                self.buffer = if self.t > 1 { config.momentum * self.buffer + (1.0 - config.dampening) * g } else { g };
                g = if config.nesterov { g + config.momentum * self.buffer } else { self.buffer };
            }
            return theta - gamma * g;
        }
        if config.kind == OptimizerKind::ScheduleFree {
            if self.t == 1 {
                (self.buffer, self.first) = (theta, theta);
            }
            self.buffer -= gamma * (g + config.weight_decay * self.first);
            theta += (self.buffer - theta) / f64::from(self.t);
            self.first = config.momentum * theta + (1.0 - config.momentum) * self.buffer;
            return theta;
        }
        if config.kind == OptimizerKind::Lion {
            let update = config.beta1 * self.first + (1.0 - config.beta1) * g;
            self.first = config.beta2 * self.first + (1.0 - config.beta2) * g;
            let sign = if update == 0.0 { 0.0 } else { update.signum() };
            return theta - gamma * (sign + config.weight_decay * theta);
        }
        if config.kind != OptimizerKind::Adam {
            theta -= gamma * config.weight_decay * theta;
        } else {
            g += config.weight_decay * theta;
        }
        self.first = config.beta1 * self.first + (1.0 - config.beta1) * g;
        self.second = config.beta2 * self.second + (1.0 - config.beta2) * g * g;
        let first = self.first / (1.0 - config.beta1.powi(self.t));
        let second = self.second / (1.0 - config.beta2.powi(self.t));
        theta - gamma * first / (second.sqrt() + config.eps)
    }
}

fn rate(step: usize) -> f64 {
    0.05 / (1.0 + step as f64) // it changes, so that a stale one shows
}

/// Runs the device and the reference side by side. `error` is the bound of one step's error in units of the roundoff
/// and of the largest step or weight.
fn check(config: &OptimizerConfig, error: f64) {
    classes().into_iter().for_each(|class| check_class(class, config, error));
}

fn check_class(class: AdapterClass, config: &OptimizerConfig, error: f64) {
    let gpu = device();
    let scheme = scheme(NoiseConfig { mode: Mode::None, ..NoiseConfig::default() }, 1);
    let start = tensors(1, 0.5);
    let arena = arena(gpu, &scheme, &start);
    let mut optimizer = Optimizer::new(gpu, class, config.clone(), &arena, 1, false).unwrap();
    let mut expected: Vec<Vec<f64>> = start.iter().map(|tensor| wide(tensor)).collect();
    let mut torch: Vec<Vec<Torch>> =
        start.iter().map(|tensor| tensor.iter().map(|_| Torch::default()).collect()).collect();
    for step in 0..STEPS {
        // of different sizes, and some of them tiny or 0
        let grads: Vec<Vec<f32>> = tensors(2 + step as u64, 1.0)
            .iter()
            .map(|grads| grads.iter().map(|g| if *g > 0.9 { 0.0 } else { *g }).collect())
            .collect();
        set(gpu, &arena, &arena.grads, &grads);
        gpu.write(&arena.weights_eff.view(), &vec![f32::NAN; arena.layout.words()]).unwrap();
        let mut recorder = gpu.record();
        let next = scheme.at(step as u64 + 1, Moment::START);
        optimizer.record(gpu, &mut recorder, optimizer.rate(rate(step)), &next.into()).unwrap();
        recorder.submit().unwrap();
        let found = get(gpu, &arena, &arena.weights);
        for (tensor, weights) in expected.iter_mut().enumerate() {
            let is_bare = config.decay == Decay::Matrices && SHAPES[tensor].len() < 2;
            let weight_decay = if is_bare { 0.0 } else { config.weight_decay };
            let config = &OptimizerConfig { weight_decay, ..config.clone() };
            for (i, weight) in weights.iter_mut().enumerate() {
                *weight = torch[tensor][i].step(config, rate(step), *weight, f64::from(grads[tensor][i]));
            }
            let bounds: Vec<f64> = weights.iter().map(|w| (step + 1) as f64 * ROUNDOFF * (w.abs() + error)).collect();
            assert_within(
                &format!("{class:?} {config:?}, step {step}, tensor {tensor}"),
                &found[tensor],
                weights,
                &bounds,
            );
        }
        let effective = get(gpu, &arena, &arena.weights_eff);
        let led = match config.kind {
            OptimizerKind::ScheduleFree => get(gpu, &arena, &optimizer.state()[1]),
            _ => found,
        };
        assert!(led.iter().zip(&effective).all(|(w, e)| bits(w) == bits(e)), "without noise they are the weights");
    }
    let state = optimizer.state();
    assert_eq!(state.len(), Optimizer::state_arenas(config.kind));
    for buffer in state.iter().chain([&arena.weights, &arena.weights_eff]) {
        assert!(padding(gpu, &arena, buffer).iter().all(|x| *x == 0.0), "{config:?}: padding stays 0");
    }
}

/// One step of SGD: rate * (up to 10 gradients, each rounded a few times) and the rounding of the weight itself.
const SGD_ERROR: f64 = 4.0;

#[test]
fn sgd_follows_pytorch() {
    for momentum in [0.0, 0.9] {
        for weight_decay in [0.0, 0.1] {
            let plain = OptimizerConfig { momentum, weight_decay, ..OptimizerConfig::default() };
            check(&plain, SGD_ERROR);
            check(&OptimizerConfig { decay: Decay::Matrices, ..plain.clone() }, SGD_ERROR);
            if momentum != 0.0 {
                check(&OptimizerConfig { nesterov: true, ..plain.clone() }, SGD_ERROR);
                check(&OptimizerConfig { dampening: 0.3, ..plain }, SGD_ERROR);
            }
        }
    }
}

/// One step of Adam moves a weight by about the rate, 0.05 (1/(1 - beta2) amplifies no more than that), and its values
/// each round a few times; the coarsest is 1 - beta2 = 1e-3, which f32 holds to a roundoff but which does not add up
/// with beta2 to 1 by up to 60 roundoffs of itself: 30 after the root, times the rate 1.5, with room for the rest 8.
const ADAM_ERROR: f64 = 8.0;

#[test]
fn adam_follows_pytorch() {
    for kind in [OptimizerKind::Adam, OptimizerKind::AdamW, OptimizerKind::Muon] {
        for weight_decay in [0.0, 0.1] {
            let plain = OptimizerConfig { kind, weight_decay, ..OptimizerConfig::default() };
            check(&plain, ADAM_ERROR);
            check(&OptimizerConfig { decay: Decay::Matrices, ..plain.clone() }, ADAM_ERROR);
            check(&OptimizerConfig { beta1: 0.5, beta2: 0.9, eps: 1e-3, ..plain.clone() }, ADAM_ERROR);
            check(&OptimizerConfig { beta1: 0.0, ..plain }, ADAM_ERROR);
        }
    }
}

/// A sign is exact: of a step, the products and the sum alone round.
const LION_ERROR: f64 = 1.0;

#[test]
fn lion_follows_its_program() {
    for weight_decay in [0.0, 0.1] {
        let plain =
            OptimizerConfig { kind: OptimizerKind::Lion, weight_decay, beta2: 0.99, ..OptimizerConfig::default() };
        check(&plain, LION_ERROR);
        check(&OptimizerConfig { decay: Decay::Matrices, ..plain.clone() }, LION_ERROR);
        check(&OptimizerConfig { beta1: 0.5, beta2: 0.7, ..plain }, LION_ERROR);
    }
}

/// Two interpolations and a step: a handful of roundings of weights of about 1.
const FREE_ERROR: f64 = 4.0;

#[test]
fn schedule_free_follows_its_iterates() {
    for weight_decay in [0.0, 0.1] {
        let kind = OptimizerKind::ScheduleFree;
        let plain = OptimizerConfig { kind, momentum: 0.9, weight_decay, ..OptimizerConfig::default() };
        check(&plain, FREE_ERROR);
        check(&OptimizerConfig { decay: Decay::Matrices, ..plain.clone() }, FREE_ERROR);
        check(&OptimizerConfig { momentum: 0.5, ..plain }, FREE_ERROR);
    }
}

/// The sign of NaN would be a number on some adapters, and the weights would stand still without anybody being told.
#[test]
fn lion_does_not_hide_what_is_not_a_number() {
    let gpu = device();
    let scheme = scheme(NoiseConfig { mode: Mode::None, ..NoiseConfig::default() }, 1);
    let arena = arena(gpu, &scheme, &tensors(1, 0.5));
    let config = OptimizerConfig { kind: OptimizerKind::Lion, ..OptimizerConfig::default() };
    let mut optimizer = Optimizer::new(gpu, AdapterClass::for_device(gpu), config, &arena, 1, false).unwrap();
    let mut grads = tensors(2, 1.0);
    grads[0][1] = f32::NAN;
    set(gpu, &arena, &arena.grads, &grads);
    let mut recorder = gpu.record();
    optimizer.record(gpu, &mut recorder, optimizer.rate(0.05), &scheme.at(1, Moment::START).into()).unwrap();
    recorder.submit().unwrap();
    let found = get(gpu, &arena, &arena.weights);
    let broken: Vec<usize> = (0..found[0].len()).filter(|i| found[0][*i].is_nan()).collect();
    assert_eq!(broken, [1]);
}

/// Rules that differ must differ here, or the comparison above could not tell them apart.
#[test]
fn the_rules_differ() {
    let sgd = OptimizerConfig { momentum: 0.9, weight_decay: 0.1, ..OptimizerConfig::default() };
    let adam = OptimizerConfig { kind: OptimizerKind::Adam, ..sgd.clone() };
    let all = [
        sgd.clone(),
        OptimizerConfig { nesterov: true, ..sgd.clone() },
        OptimizerConfig { dampening: 0.3, ..sgd.clone() },
        OptimizerConfig { momentum: 0.0, ..sgd.clone() },
        OptimizerConfig { weight_decay: 0.0, ..sgd },
        OptimizerConfig { kind: OptimizerKind::AdamW, ..adam.clone() },
        OptimizerConfig { eps: 1e-3, ..adam.clone() },
        OptimizerConfig { kind: OptimizerKind::Lion, ..adam.clone() },
        OptimizerConfig { kind: OptimizerKind::ScheduleFree, ..adam.clone() },
        adam,
    ];
    let run = |config: &OptimizerConfig| {
        let mut torch = Torch::default();
        (0..STEPS).fold(0.3, |w, step| torch.step(config, rate(step), w, 0.2 + 0.1 * step as f64))
    };
    for i in 0..all.len() {
        for j in 0..i {
            assert!((run(&all[i]) - run(&all[j])).abs() > 1e-5, "{:?} and {:?}", all[i], all[j]);
        }
    }
}

/// Weight decay by tensors is the same with noise in the sweep, which draws by its blocks.
#[test]
fn decay_of_matrices_is_the_same_under_noise() {
    let gpu = device();
    for (kind, class) in OptimizerKind::ALL.into_iter().flat_map(|kind| classes().map(|class| (kind, class))) {
        let updated = |mode, decay| {
            let scheme = scheme(NoiseConfig { mode, sigma: 0.1, ..NoiseConfig::default() }, 1);
            let arena = arena(gpu, &scheme, &tensors(1, 0.5));
            set(gpu, &arena, &arena.grads, &tensors(2, 1.0));
            let config = OptimizerConfig { kind, decay, weight_decay: 0.1, ..OptimizerConfig::default() };
            let mut optimizer = Optimizer::new(gpu, class, config, &arena, 1, false).unwrap();
            for step in 0..3 {
                let mut recorder = gpu.record();
                let next = scheme.at(step + 1, Moment::START);
                optimizer.record(gpu, &mut recorder, optimizer.rate(0.05), &next.into()).unwrap();
                recorder.submit().unwrap();
            }
            get(gpu, &arena, &arena.weights).iter().map(|tensor| bits(tensor)).collect::<Vec<_>>()
        };
        let [clean, all] = [Decay::Matrices, Decay::All].map(|decay| updated(Mode::None, decay));
        for mode in Mode::ALL {
            assert!(updated(mode, Decay::Matrices) == clean, "{kind} {class:?} {mode}");
        }
        let same: Vec<bool> = clean.iter().zip(&all).map(|(a, b)| a == b).collect();
        assert_eq!(same, [true, false, true, false, true], "{kind} {class:?}: biases alone go undecayed");
    }
}

/// Steps whose gradients are not finite, the first among them.
const BROKEN: [usize; 3] = [0, 1, 4];

/// `torch.amp.GradScaler` leaves the whole of `optimizer.step()` out where gradients overflow: the steps after it are as if it had
/// not been, so that Adam's t and SGD's first velocity wait for the first update that is made.
#[test]
fn updates_left_out_are_no_steps() {
    classes().into_iter().for_each(leaves_updates_out);
}

fn leaves_updates_out(class: AdapterClass) {
    let gpu = device();
    let base = OptimizerConfig { momentum: 0.9, dampening: 0.3, weight_decay: 0.1, ..OptimizerConfig::default() };
    for (kind, error) in [
        (OptimizerKind::Sgd, SGD_ERROR),
        (OptimizerKind::Adam, ADAM_ERROR),
        (OptimizerKind::AdamW, ADAM_ERROR),
        (OptimizerKind::Lion, LION_ERROR),
        (OptimizerKind::ScheduleFree, FREE_ERROR),
    ] {
        let config = OptimizerConfig { kind, ..base.clone() };
        let scheme = scheme(NoiseConfig { mode: Mode::None, ..NoiseConfig::default() }, 1);
        let start = tensors(1, 0.5);
        let arena = arena(gpu, &scheme, &start);
        let rules = FactorRules { limit: None, skips: true, growth_interval: 2000 };
        let factor = GradientFactor::new(gpu, &arena, rules).unwrap();
        let mut optimizer = Optimizer::new(gpu, class, config.clone(), &arena, 1, true).unwrap();
        let mut expected: Vec<Vec<f64>> = start.iter().map(|tensor| wide(tensor)).collect();
        let mut torch: Vec<Vec<Torch>> =
            start.iter().map(|tensor| tensor.iter().map(|_| Torch::default()).collect()).collect();
        for step in 0..STEPS {
            let mut grads = tensors(2 + step as u64, 1.0);
            let broken = BROKEN.contains(&step);
            if broken {
                grads[2][0] = f32::INFINITY;
            }
            set(gpu, &arena, &arena.grads, &grads);
            let mut recorder = gpu.record();
            factor.record(&mut recorder);
            optimizer
                .record(
                    gpu,
                    &mut recorder,
                    optimizer.rate(rate(step)),
                    &scheme.at(step as u64 + 1, Moment::START).into(),
                )
                .unwrap();
            recorder.submit().unwrap();
            let found = get(gpu, &arena, &arena.weights);
            for (tensor, weights) in expected.iter_mut().enumerate() {
                for (i, weight) in weights.iter_mut().enumerate().filter(|_| !broken) {
                    *weight = torch[tensor][i].step(&config, rate(step), *weight, f64::from(grads[tensor][i]));
                }
                let bounds: Vec<f64> =
                    weights.iter().map(|w| (step + 1) as f64 * ROUNDOFF * (w.abs() + error)).collect();
                assert_within(&format!("{config:?}, step {step}, tensor {tensor}"), &found[tensor], weights, &bounds);
            }
        }
        let state: Vec<GradientScaling> = gpu.read(&arena.scaling.view()).unwrap();
        assert_eq!(
            (state[0].skipped_steps, state[0].applied_steps),
            (BROKEN.len() as u32, (STEPS - BROKEN.len()) as u32)
        );
    }
}

/// The device's count of updates gives the host's corrections, after few and after many.
#[test]
fn corrections_by_the_devices_count_are_the_hosts() {
    let gpu = device();
    let config = OptimizerConfig { kind: OptimizerKind::Adam, ..OptimizerConfig::default() };
    let scheme = scheme(NoiseConfig { mode: Mode::None, ..NoiseConfig::default() }, 1);
    let class = AdapterClass::for_device(gpu);
    for applied_steps in [1, 2, 3, 10, 1000, 54_321, 100_000_000] {
        let updated = |skipped_steps: u32| {
            let arena = arena(gpu, &scheme, &tensors(1, 0.5));
            let mut optimizer = Optimizer::new(gpu, class, config.clone(), &arena, 1, true).unwrap();
            set(gpu, &arena, &arena.grads, &tensors(2, 1.0));
            let state = GradientScaling { skipped_steps, applied_steps, ..GradientScaling::initial(Element::Word) };
            gpu.write(&arena.scaling.view(), &[state]).unwrap();
            // The host counts those left out too.
            optimizer.set_steps_done(u64::from(applied_steps + skipped_steps) - 1);
            let mut recorder = gpu.record();
            optimizer.record(gpu, &mut recorder, optimizer.rate(1.0), &scheme.at(1, Moment::START).into()).unwrap();
            recorder.submit().unwrap();
            get(gpu, &arena, &arena.weights)
        };
        for (found, expected) in updated(7).iter().zip(&updated(0)) {
            assert_close(&format!("{applied_steps} updates"), found, &wide(expected), 1e-6, 2e-6);
        }
    }
}
