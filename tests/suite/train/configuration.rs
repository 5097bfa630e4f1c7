//! What a configuration is made of: the file, the options over it, names of old; and what is refused.

use std::path::Path;

use crate::common::places::root;
use jostle::{
    data::BatchOrder,
    noise::{Distribution, GroupOrder, Grouping, Mode, Scale, SigmaSchedule},
    ops::Loss,
    optim::{LearningRateSchedule, OptimizerKind},
    schedule::{Moment, ScheduleUnit},
    train::{Normalise, OnNan, Options, Precision, RunConfig, TrainError},
};

fn options(arguments: &[&str]) -> Options {
    Options::parse(arguments.iter().copied()).unwrap()
}

fn resolve(file: &str, arguments: &[&str]) -> Result<RunConfig, TrainError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    std::fs::write(&path, file).unwrap();
    RunConfig::resolve(Some(&path), &options(arguments))
}

fn resolved(file: &str, arguments: &[&str]) -> RunConfig {
    resolve(file, arguments).unwrap()
}

/// Whichever of the two the later source gives says how long the run is.
#[test]
fn options_overrule_the_length_that_the_file_gives() {
    let steps = |file: &str, arguments: &[&str]| resolved(file, arguments).length(10).steps;
    assert_eq!(steps("steps = 7", &["--epochs", "3"]), 30);
    assert_eq!(steps("epochs = 3", &["--steps", "7"]), 7);
    assert_eq!(steps("epochs = 3\nsteps = 7", &["--epochs", "2"]), 20);
    assert_eq!(steps("epochs = 3\nsteps = 7", &["--steps", "5"]), 5);
    assert_eq!(steps("epochs = 3\nsteps = 7", &["--lr", "0.1"]), 7);
    assert_eq!(steps("epochs = 3", &[]), 30);
    // A run that is gone on with, too.
    let run = resolved("steps = 7", &[]);
    assert_eq!(run.with(&options(&["--epochs", "3"])).unwrap().length(10).steps, 30);
    assert_eq!(run.with(&options(&[])).unwrap(), run);
    let off = resolved("noise-off-epoch = 5", &["--noise-off-step", "9"]);
    assert_eq!((off.noise_off_epoch, off.noise_off_step), (None, Some(9)));
    let off = resolved("noise-off-step = 9", &["--noise-off-epoch", "5"]);
    assert_eq!((off.noise_off_epoch, off.noise_off_step), (Some(5), None));
}

#[test]
fn the_old_name_of_a_key_is_read_and_todays_is_written() {
    assert_eq!(resolved("step-epochs = 5", &[]).milestones_every, 5);
    assert_eq!(resolved("step-epochs = 5", &["--milestones-every", "7"]).milestones_every, 7);
    assert_eq!(resolved("milestones-every = 5", &["--step-epochs", "7"]).milestones_every, 7);
    let both = resolve("step-epochs = 5\nmilestones-every = 5", &[]).unwrap_err().to_string();
    assert!(both.contains("milestones-every"), "{both}");
    let text = toml::to_string(&resolved("step-epochs = 5", &[])).unwrap();
    assert!(text.contains("milestones-every = 5") && !text.contains("step-epochs"), "{text}");
}

#[test]
fn milestones_are_a_list() {
    let given = resolved("milestones = [1]", &["--milestones", "3,5,8", "--noise-milestones", "4"]);
    assert_eq!((given.milestones, given.noise_milestones), (vec![3, 5, 8], vec![4]));
    let text = toml::to_string(&resolved("milestones = [1, 4]", &[])).unwrap();
    assert_eq!(toml::from_str::<RunConfig>(&text).unwrap().milestones, [1, 4]);
}

fn old() -> RunConfig {
    RunConfig {
        data: "digits".to_owned(),
        model: "mlp:64-32-10:gelu".to_owned(),
        precision: Precision::F32,
        loss: Loss::Nll,
        noise: Mode::Layer,
        sigma: 0.03,
        noise_order: GroupOrder::Random,
        noise_scale: Scale::Filter,
        noise_distribution: Distribution::Rademacher,
        noise_schedule: SigmaSchedule::Cosine,
        noise_off_epoch: Some(7),
        groups: Grouping::Module,
        optimizer: OptimizerKind::AdamW,
        lr: 0.002,
        schedule: LearningRateSchedule::Step,
        milestones_every: 3,
        gamma: 0.5,
        momentum: 0.8,
        dampening: 0.0,
        nesterov: false,
        weight_decay: 0.01,
        beta1: 0.85,
        beta2: 0.99,
        eps: 1e-7,
        epochs: 9,
        steps: Some(400),
        batch: 64,
        seed: 11,
        subset: Some(600),
        subset_seed: 3,
        stratified: true,
        test_subset: Some(200),
        normalise: Normalise::Data,
        crop_padding: 1,
        crop_reflect: true,
        flip: true,
        cutout: 2,
        label_smoothing: 0.1,
        clip_norm: Some(1.5),
        on_nan: OnNan::Skip,
        accumulate: 2,
        warmup_steps: 12,
        ema: Some(0.99),
        eval_noisy: 4,
        bn_recalibrate: true,
        init: Some("first.safetensors".into()),
        batch_order: BatchOrder::Sequential,
        log_every: 5,
        ..RunConfig::default()
    }
}

/// A file with every key of commit 397dd4e means what it meant, new keys included: rates and sigmas by that version's
/// formulas, in which everything but the warm-up went by the epoch.
#[test]
fn a_configuration_of_old_means_the_same() {
    let path = root().join("assets/formats/config-397dd4e.toml");
    let config = RunConfig::resolve(Some(Path::new(&path)), &Options::default()).unwrap();
    assert_eq!(config, old());
    assert_eq!(config.schedule_unit, ScheduleUnit::Epoch);
    assert_eq!((config.label_noise, config.noise_off_step), (0.0, None));
    assert_means_the_same(&config);
    assert_means_the_same(&RunConfig {
        schedule: LearningRateSchedule::Cosine,
        noise_off_epoch: None,
        ..config.clone()
    });
    assert_means_the_same(&RunConfig { steps: None, noise_schedule: SigmaSchedule::Linear, ..config });
}

fn assert_means_the_same(config: &RunConfig) {
    use std::f64::consts::PI;
    let per_epoch = 24;
    let epochs = config.steps.map_or(config.epochs, |steps| steps.div_ceil(per_epoch));
    let length = config.length(per_epoch);
    assert_eq!((length.epochs, length.steps), (epochs, config.steps.unwrap_or(epochs * per_epoch)));
    for step in 0..length.steps {
        let epoch = step / per_epoch;
        let factor = match config.schedule {
            LearningRateSchedule::Cosine => 0.5 * (1.0 + (PI * epoch as f64 / epochs as f64).cos()),
            _ => config.gamma.powf((epoch / config.milestones_every) as f64),
        };
        let warmup = ((step + 1) as f64 / config.warmup_steps as f64).min(1.0);
        let when: Moment = length.moment(step);
        let rate = config.learning_rate().at(when);
        assert_eq!(rate.learning_rate.to_bits(), (config.lr * factor * warmup).to_bits(), "step {step}");
        assert_eq!(rate.momentum, config.beta1);
        let t = epoch as f64 / epochs as f64;
        let sigma = match config.noise_schedule {
            _ if config.noise_off_epoch.is_some_and(|off| epoch >= off) => 0.0,
            SigmaSchedule::Cosine => config.sigma * 0.5 * (1.0 + (PI * t).cos()),
            _ => config.sigma * (1.0 - t),
        };
        assert_eq!(config.noise_config().sigma_at(when).to_bits(), sigma.to_bits(), "step {step}");
    }
}

/// One sentence each, which names the key.
#[test]
fn what_makes_no_sense_is_refused() {
    let cases = [
        ("milestones = [30, 20]", "milestones: have to be at least 1 and to ascend, found [30, 20]"),
        ("milestones = [20, 20]", "milestones: have to be at least 1 and to ascend, found [20, 20]"),
        ("milestones = [0, 20]", "milestones: have to be at least 1 and to ascend, found [0, 20]"),
        ("noise-milestones = [3, 1]", "noise-milestones: have to be at least 1 and to ascend, found [3, 1]"),
        ("schedule = 'multistep'", "milestones: schedule multistep needs at least one, found none"),
        ("noise-schedule = 'multistep'", "noise-milestones: noise-schedule multistep needs at least one, found none"),
        (
            "schedule-unit = 'step'\nepochs = 0",
            "schedule-unit: step needs a number of steps: steps or epochs of at least 1, found 0",
        ),
        (
            "schedule-unit = 'step'\nsteps = 0",
            "schedule-unit: step needs a number of steps: steps or epochs of at least 1, found 0",
        ),
        ("noise-gamma = -1.0", "noise-gamma: has to be 0 or more, found -1"),
        (
            "noise-off-step = 9\nnoise-off-epoch = 5",
            "noise-off-step: expected this or noise-off-epoch, found both, 9 and 5",
        ),
        ("label-noise = 1.0", "label-noise: has to be in [0, 1), found 1"),
        ("label-noise = -0.5", "label-noise: has to be in [0, 1), found -0.5"),
        ("label-noise = nan", "label-noise: has to be in [0, 1), found NaN"),
    ];
    for (file, message) in cases {
        assert_eq!(resolve(file, &[]).unwrap_err().to_string(), message, "{file}");
    }
    let unknown = resolve("schedule = 'onecycle'", &[]).unwrap_err().to_string();
    assert!(unknown.contains("one-cycle") && unknown.contains("schedule"), "{unknown}");
}
