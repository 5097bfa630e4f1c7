//! Learning rates and momenta against torch.optim.lr_scheduler, by the step and by the epoch, and that training uses them.
//!
//! The fixture is made by scripts/make_schedule_fixture.py.

use crate::common::{ROUNDOFF, assert_within, device, parity_file, supervised::config, trace::Trace};
use jostle::{
    kernels::{AdapterClass, Arena, ArenaLayout},
    noise::{Mode, NoiseConfig, NoiseTensor, Scheme, SigmaSchedule},
    optim::{LearningRateSchedule, Optimizer, OptimizerKind, StepRate},
    schedule::{Moment, ScheduleUnit},
    train::{Prepared, RunConfig},
};

/// PyTorch's closed and recursive forms differ from ours by roundings of f64: of at most 33 products, of values up to 1.
const TOLERANCE: f64 = 33.0 * f64::EPSILON;

#[derive(serde::Deserialize)]
struct Update {
    gradients: Vec<f64>,
    weights: Vec<f64>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    config: RunConfig,
    /// Steps or epochs.
    total: u64,
    learning_rate: Vec<f64>,
    momentum: Vec<f64>,
    #[serde(default)]
    updates: Vec<Update>,
}

#[derive(serde::Deserialize)]
struct Fixture {
    initial: Vec<f64>,
    cases: Vec<Case>,
}

fn fixture() -> Fixture {
    let text = std::fs::read_to_string(parity_file("schedules.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn assert_rate(name: &str, found: StepRate, learning_rate: f64, momentum: f64) {
    let close = |a: f64, b: f64| (a - b).abs() <= TOLERANCE;
    let fine = close(found.learning_rate, learning_rate) && close(found.momentum, momentum);
    assert!(fine, "{name}: {found:?}, expected {learning_rate} and {momentum}");
}

#[test]
fn every_schedule_has_pytorchs_values_by_the_step_and_by_the_epoch() {
    let cases = fixture().cases;
    for schedule in LearningRateSchedule::ALL {
        assert!(cases.iter().any(|case| case.config.schedule == schedule), "{schedule} is not in the fixture");
    }
    for case in &cases {
        let by_step = RunConfig { schedule_unit: ScheduleUnit::Step, steps: Some(case.total), ..case.config.clone() };
        by_step.check().unwrap();
        let (rate, length) = (by_step.learning_rate(), by_step.length(4));
        for (step, (lr, momentum)) in case.learning_rate.iter().zip(&case.momentum).enumerate() {
            let name = format!("{}, step {step}", case.name);
            assert_rate(&name, rate.at(length.moment(step as u64)), *lr, *momentum);
        }
        // Warm-up is by the step alone, and what follows it.
        if case.config.warmup_steps > 0 || case.config.schedule == LearningRateSchedule::WarmupCosine {
            continue;
        }
        let by_epoch = RunConfig { epochs: case.total, ..case.config.clone() };
        let (rate, length) = (by_epoch.learning_rate(), by_epoch.length(3));
        for step in 0..length.steps {
            let (epoch, name) = (step as usize / 3, format!("{}, step {step} of 3 an epoch", case.name));
            assert_rate(&name, rate.at(length.moment(step)), case.learning_rate[epoch], case.momentum[epoch]);
        }
    }
}

#[test]
fn a_lowest_rate_that_nothing_falls_to_is_refused() {
    let refusal = |schedule, min_lr| {
        let config = RunConfig { schedule, milestones: vec![3], min_lr: Some(min_lr), lr: 0.1, ..config() };
        config.check().map_err(|error| error.to_string()).err()
    };
    for schedule in LearningRateSchedule::ALL {
        use LearningRateSchedule::{Cosine, Linear, WarmupCosine};
        let found = refusal(schedule, 0.02);
        match schedule {
            Cosine | Linear | WarmupCosine => assert_eq!(found, None),
            _ => assert!(found.unwrap().contains("min-lr: expected schedule cosine, linear or warmup-cosine")),
        }
        assert_eq!(refusal(schedule, 0.0), None);
        for wrong in [-0.01, 0.2, f64::NAN] {
            let found = refusal(schedule, wrong).unwrap();
            assert!(found.contains("min-lr: has to be from 0 to lr, 0.1, found"), "{found}");
        }
    }
}

/// One step of either rule moves these weights by at most 1.1, with some ten roundings on the way.
const UPDATE_ERROR: f64 = 11.0;

/// The device's update with a momentum, or beta1, that moves: Adam's bias is corrected by the beta1 of the step alone.
#[test]
fn updates_under_a_moving_momentum_are_pytorchs() {
    let Fixture { initial, cases } = fixture();
    let gpu = device();
    let cases: Vec<&Case> = cases.iter().filter(|case| !case.updates.is_empty()).collect();
    assert_eq!(cases.len(), 2, "SGD and Adam");
    for case in cases {
        let config = RunConfig {
            schedule_unit: ScheduleUnit::Step,
            steps: Some(case.total),
            weight_decay: 0.0,
            ..case.config.clone()
        };
        let layout = ArenaLayout::new([&[3][..]]);
        let tensor = NoiseTensor { is_weight: true, ..NoiseTensor::default() };
        let scheme = Scheme::new(NoiseConfig::default(), &layout, &[tensor], 1);
        let arena = Arena::new(gpu, layout, &scheme.scales()).unwrap();
        let narrow = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<_>>();
        let view = |buffer| arena.tensor(buffer, 0).unwrap();
        gpu.write(&view(&arena.weights), &narrow(&initial)).unwrap();
        let mut optimizer =
            Optimizer::new(gpu, AdapterClass::for_device(gpu), config.optimizer_config(), &arena, 1, false).unwrap();
        let (rate, length) = (config.learning_rate(), config.length(1));
        for (step, update) in case.updates.iter().enumerate() {
            gpu.write(&view(&arena.grads), &narrow(&update.gradients)).unwrap();
            let mut recorder = gpu.record();
            let rate = rate.at(length.moment(step as u64));
            optimizer.record(gpu, &mut recorder, rate, &scheme.at(0, Moment::START).into()).unwrap();
            recorder.submit().unwrap();
            let found: Vec<f32> = gpu.read(&view(&arena.weights)).unwrap();
            let bound = (step + 1) as f64 * ROUNDOFF * UPDATE_ERROR;
            assert_within(&format!("{}, step {step}", case.name), &found, &update.weights, &[bound; 3]);
        }
    }
}

fn trained(config: &RunConfig) -> Trace {
    config.check().unwrap();
    Trace::new(config, &Prepared::load(config).unwrap())
}

/// Two and a bit epochs of 13 steps: what the loop logs, and so trains with, changes at every step.
#[test]
fn the_loop_goes_by_the_step_where_it_is_told_to() {
    let by_step = RunConfig {
        schedule: LearningRateSchedule::Linear,
        schedule_unit: ScheduleUnit::Step,
        noise: Mode::Model,
        noise_schedule: SigmaSchedule::Linear,
        noise_off_step: Some(20),
        warmup_steps: 2,
        ..config()
    };
    let steps = trained(&by_step).steps;
    assert_eq!(steps.len(), 30);
    for record in &steps {
        let left = 1.0 - record.step as f64 / 30.0;
        let warmup = if record.step == 0 { 0.5 } else { 1.0 };
        assert_eq!(record.lr, by_step.lr * left * warmup, "step {}", record.step);
        let sigma = if record.step < 20 { (by_step.sigma * left) as f32 } else { 0.0 };
        assert_eq!(record.sigma, f64::from(sigma), "step {}", record.step);
    }
    let by_epoch = RunConfig { schedule_unit: ScheduleUnit::Epoch, noise_off_step: None, warmup_steps: 0, ..by_step };
    for record in trained(&by_epoch).steps {
        let left = 1.0 - record.epoch as f64 / 3.0;
        assert_eq!(record.lr, by_epoch.lr * left, "step {}", record.step);
        assert_eq!(record.sigma, f64::from((by_epoch.sigma * left) as f32), "step {}", record.step);
    }
}

/// One-cycle sets the momentum itself: that of the configuration, which any other schedule trains with, changes nothing.
#[test]
fn the_loop_trains_with_the_momentum_of_each_step() {
    let short = RunConfig { steps: Some(6), noise: Mode::None, schedule_unit: ScheduleUnit::Step, ..config() };
    for optimizer in [OptimizerKind::Sgd, OptimizerKind::Adam] {
        let with = |schedule, momentum| {
            let config = RunConfig { optimizer, schedule, momentum, beta1: momentum, ..short.clone() };
            trained(&config)
        };
        let cycle = |momentum| with(LearningRateSchedule::OneCycle, momentum);
        assert!(cycle(0.0).weights == cycle(0.9).weights, "{optimizer}");
        // Six steps: up to the second by 0.8 of one, down to the last.
        let logged: Vec<f64> = cycle(0.9).steps.iter().filter_map(|record| record.momentum).collect();
        assert_eq!((logged.len(), logged[0], logged[5]), (6, 0.95, 0.95), "{optimizer}");
        assert!(logged[1] < logged[2] && logged[2] < logged[3], "{optimizer}: {logged:?}");
        let cosine = |momentum| with(LearningRateSchedule::Cosine, momentum);
        assert!(cosine(0.0).weights != cosine(0.9).weights, "{optimizer}");
        assert!(cosine(0.9).steps.iter().all(|record| record.momentum.is_none()), "{optimizer}");
    }
}
