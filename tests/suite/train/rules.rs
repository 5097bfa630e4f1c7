//! Rules by name: which go with what, by the table of `docs/rules.md`; what makes none; and runs that are repeated from their slopes.

use std::collections::BTreeMap;

use crate::common::{
    bits, device,
    places::root,
    supervised::{begin, checkpoints, every, go, left, resume},
};
use jostle::{
    nn::read_tensors,
    noise::Mode,
    optim::OptimizerKind,
    rules::RuleKind,
    train::{
        Footprint, OnNan, Precision, Prepared, RunConfig, Status, TrainEval, TrainStep, Trainer, read_slopes, replay,
        steps_per_epoch,
    },
};

/// A short run by a rule, with its published defaults but for a distance that shows.
fn config(rule: RuleKind) -> RunConfig {
    let (model, subset) = ("mlp:64-12-10:tanh".to_owned(), Some(300));
    let published = RunConfig::published(rule);
    let is = |one: RuleKind| rule == one;
    RunConfig {
        model,
        subset,
        batch: 100,
        steps: Some(15),
        seed: 5,
        lr: if is(RuleKind::Mezo) { 1e-3 } else { 0.1 },
        sigma: 0.05,
        noise: if rule.perturbs() { Mode::None } else { Mode::Layer },
        rho: matches!(rule, RuleKind::Sam | RuleKind::Asam | RuleKind::MSam | RuleKind::Msam).then_some(0.1),
        mezo_eps: is(RuleKind::Mezo).then_some(0.1),
        fresh_label_noise: is(RuleKind::FreshLabels).then_some(0.3),
        swag_start: is(RuleKind::Swag).then_some(0.2),
        log_every: 1,
        train_eval: TrainEval::None,
        ..published
    }
}

fn trainer(config: &RunConfig) -> Trainer<'static> {
    config.check().unwrap();
    let mut trainer = Trainer::new(device(), config, &Prepared::load(config).unwrap()).unwrap();
    trainer.begin_epoch(0, (0..trainer.samples() as u32).collect()).unwrap();
    trainer
}

fn weights(trainer: &Trainer<'_>) -> Vec<f32> {
    device().read(&trainer.arena.weights.view()).unwrap()
}

/// The weights after three steps, which are finite and moved.
fn trained(config: &RunConfig) -> Vec<f32> {
    let mut trainer = trainer(config);
    let before = weights(&trainer);
    for step in 0..3 {
        let valid = trainer.step_samples().min(trainer.samples());
        let first = (step * valid) % (trainer.samples() - valid + 1);
        trainer.train_step(TrainStep { first, valid, rate: trainer.rate(config.lr) }, None).unwrap();
    }
    let after = weights(&trainer);
    assert!(after.iter().all(|weight| weight.is_finite()), "{}", config.rule);
    assert_ne!(bits(&before), bits(&after), "{}: nothing was learnt", config.rule);
    after
}

/// The table: rule, and of each feature whether it works.
fn table() -> BTreeMap<String, BTreeMap<String, bool>> {
    let text = std::fs::read_to_string(root().join("docs/rules.md")).unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    let mut lines = text.lines().skip_while(|line| !line.starts_with("| rule | f16"));
    let header = cells(lines.next().unwrap());
    let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(cells);
    let row = |row: Vec<String>| {
        let works = |cell: &String| match cell.as_str() {
            "yes" => true,
            "no" => false,
            other => panic!("{other}"),
        };
        (row[0].clone(), header[1..].iter().cloned().zip(row[1..].iter().map(works)).collect())
    };
    rows.map(row).collect()
}

/// Does with every rule what the table says of a feature: `works` for a yes; a no is refused, naming `key` and the rule.
fn each(feature: &str, key: &str, with: impl Fn(RunConfig) -> RunConfig, works: impl Fn(RunConfig, RunConfig)) {
    let table = table();
    assert_eq!(table.len(), RuleKind::ALL.len());
    for rule in RuleKind::ALL {
        let plain = config(rule);
        let featured = with(plain.clone());
        match (table[rule.name()][feature], featured.check()) {
            (true, checked) => {
                checked.unwrap();
                works(featured, plain);
            }
            (false, Err(error)) => {
                let text = error.to_string();
                assert!(text.starts_with(key) && text.contains(&format!("rule {rule}")), "{text}");
            }
            (false, Ok(())) => panic!("{rule} with {feature} is not refused"),
        }
    }
}

#[test]
fn the_table_has_every_rule() {
    let table = table();
    assert!(RuleKind::ALL.iter().all(|rule| table.contains_key(rule.name())) && table.len() == RuleKind::ALL.len());
}

#[test]
fn rules_in_mixed_precision() {
    let with = |config| RunConfig { precision: Precision::F16, ..config };
    each("f16", "precision", with, |half, full| {
        let [half, full] = [half, full].map(|config| (config.rule, trained(&config)));
        let apart = half.1.iter().zip(&full.1).map(|(h, f)| (h - f).abs()).fold(0.0, f32::max);
        assert!(apart < 0.05, "{}: {apart} from f32", half.0);
    });
}

#[test]
fn rules_with_gradients_of_several_batches() {
    let with = |config| RunConfig { accumulate: 2, batch: 50, ..config };
    each("accumulation", "accumulate", with, |parts, whole| {
        let rule = parts.rule;
        let [parts, whole] = [parts, whole].map(|config| trained(&config));
        let apart = parts.iter().zip(&whole).map(|(h, f)| (h - f).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5, "{rule}: {apart} from a step of one batch");
    });
}

#[test]
fn rules_with_clipped_gradients() {
    let with = |config| RunConfig { clip_norm: Some(0.01), ..config };
    each("clipping", "clip-norm", with, |clipped, free| {
        let rule = clipped.rule;
        let [clipped, free] = [clipped, free].map(|config| trained(&config));
        assert_ne!(bits(&clipped), bits(&free), "{rule}: a norm of 0.01 is less than that of any gradient here");
    });
}

#[test]
fn rules_with_a_moving_average() {
    let with = |config| RunConfig { ema: Some(0.9), ..config };
    each("EMA", "ema", with, |config, _| {
        let mut trainer = trainer(&config);
        for _ in 0..2 {
            trainer.train_step(TrainStep { first: 0, valid: 100, rate: trainer.rate(config.lr) }, None).unwrap();
        }
        let average: Vec<f32> = device().read(&trainer.average().unwrap().view()).unwrap();
        let weights = weights(&trainer);
        assert!(average.iter().all(|weight| weight.is_finite()));
        assert_ne!(bits(&average), bits(&weights), "{}", config.rule);
    });
}

#[test]
fn rules_with_other_optimizers() {
    let optimizers = [
        ("AdamW", OptimizerKind::AdamW),
        ("Lion", OptimizerKind::Lion),
        ("Muon", OptimizerKind::Muon),
        ("schedule-free", OptimizerKind::ScheduleFree),
    ];
    for (feature, optimizer) in optimizers {
        // Muon moves the matrix in the middle.
        let model = "mlp:64-12-8-10:tanh";
        let with = |config| RunConfig { optimizer, lr: 1e-3, model: model.to_owned(), ..config };
        each(feature, "optimizer", with, |config, _| {
            trained(&config);
        });
    }
}

#[test]
fn rules_on_transformers() {
    let with = |config: RunConfig| match config.rule {
        // Labels are of samples, and moments of whole epochs.
        RuleKind::FreshLabels | RuleKind::Swag => RunConfig { model: "vit:1x2x8/4".to_owned(), batch: 60, ..config },
        _ => {
            let (data, model) = ("plays".to_owned(), "gpt:1x2x8@8".to_owned());
            RunConfig { data, model, batch: 8, eval_windows: Some(8), dropout: Some(0.1), ..config }
        }
    };
    each("transformers", "model", with, |config, _| {
        trained(&config);
    });
}

#[test]
fn rules_go_on_bit_by_bit() {
    each(
        "resume",
        "rule",
        |config| config,
        |config, _| {
            let dir = tempfile::tempdir().unwrap();
            let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
            go(&mut begin(&whole, &config, every(0)), None, &mut Vec::new()).unwrap();
            go(&mut begin(&parts, &config, every(4)), Some(5), &mut Vec::new()).unwrap();
            go(&mut resume(&parts, every(4)), None, &mut Vec::new()).unwrap();
            let [found, expected] = [left(&parts), left(&whole)];
            assert_eq!((found.steps.len(), &found.steps), (expected.steps.len(), &expected.steps), "{}", config.rule);
            assert_eq!(found.epochs, expected.epochs, "{}", config.rule);
            assert!(found == expected, "{}: weights or state differ", config.rule);
            if config.rule == RuleKind::Mezo {
                assert_eq!(read_slopes(&parts).unwrap(), read_slopes(&whole).unwrap());
            }
        },
    );
}

#[test]
fn rules_that_leave_out_broken_updates() {
    let with = |config| RunConfig { on_nan: OnNan::Skip, ..config };
    each("skip", "on-nan", with, |config, plain| {
        assert_eq!(bits(&trained(&config)), bits(&trained(&plain)), "{}: nothing is broken here", config.rule);
    });
}

#[test]
fn rules_whose_noise_is_halved() {
    let with = |config| RunConfig { on_nan: OnNan::HalveSigma, ..config };
    each("halve-sigma", "on-nan", with, |config, _| {
        let dir = tempfile::tempdir().unwrap();
        let broken = RunConfig { lr: 1e30, ..config };
        let mut notices = Vec::new();
        let result = go(&mut begin(dir.path(), &broken, every(0)), None, &mut notices).unwrap();
        assert!(matches!(result.status, Status::Diverged { .. }));
        assert!(notices.iter().any(|notice| notice.contains("sigma is now 2.5e-2")), "{notices:?}");
    });
}

#[test]
fn a_run_is_repeated_from_its_slopes_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let schedule = jostle::optim::LearningRateSchedule::Cosine;
    for precision in [Precision::F32, Precision::F16] {
        let config = RunConfig { schedule, weight_decay: 0.1, precision, ..config(RuleKind::Mezo) };
        let run = dir.path().join(precision.to_string());
        go(&mut begin(&run, &config, every(0)), None, &mut Vec::new()).unwrap();
        let slopes = read_slopes(&run).unwrap();
        assert!(slopes.len() == 15 && slopes.iter().any(|slope| *slope != slopes[0]));
        let model = &Prepared::load(&config).unwrap().model;
        let arena = replay(device(), &config, model, &slopes, steps_per_epoch(&config, 300)).unwrap();
        let expected = read_tensors(&checkpoints(&run).pop().unwrap().join("weights.safetensors")).unwrap();
        for expected in expected {
            let tensor = model.graph.params().iter().position(|param| param.name == expected.name).unwrap();
            let view = arena.tensor(&arena.weights, tensor).unwrap();
            let found: Vec<f32> = device().read(&view).unwrap();
            assert_eq!(bits(&found), bits(&expected.values), "{precision} {}", expected.name);
        }
    }
    let other = config(RuleKind::Sam);
    let model = &Prepared::load(&other).unwrap().model;
    let refused = replay(device(), &other, model, &[], 3).unwrap_err().to_string();
    assert!(refused.contains("rule: a run by rule sam moves by more than its slopes"), "{refused}");
}

#[test]
fn descent_without_gradients_takes_the_memory_of_inference() {
    let [plain, mezo] = [RuleKind::Noise, RuleKind::Mezo].map(|rule| {
        let config = config(rule);
        let prepared = Prepared::load(&config).unwrap();
        let compiled = config.rule_for(&prepared.model).unwrap().compiled();
        let footprint = Footprint::for_rule(&config, &prepared, 100, device(), &compiled).unwrap();
        let trainer = trainer(&config);
        assert_eq!(trainer.optimizer_state_arenas(), usize::from(rule == RuleKind::Noise));
        (footprint, trainer.arena.grads.len())
    });
    let has = |footprint: &Footprint, name: &str| footprint.arenas.iter().any(|(known, _)| known.starts_with(name));
    for name in ["grads", "optimizer state"] {
        assert!(has(&plain.0, name) && !has(&mezo.0, name), "{name}");
    }
    let activations = |footprint: &Footprint| {
        footprint.arenas.iter().find(|(name, _)| name.starts_with("activations and")).unwrap().1
    };
    assert!(activations(&mezo.0) < activations(&plain.0));
    assert_eq!(mezo.1, 1, "no room for gradients");
}

#[test]
fn parts_of_a_short_batch_are_fewer() {
    // 300 samples in steps of 100 but for the last, of 0: with 130 the last step has 40, of which 5 parts of 26 make 2.
    for rule in [RuleKind::MSam, RuleKind::Lpf] {
        let config = RunConfig { batch: 130, sam_parts: (rule == RuleKind::MSam).then_some(5), ..config(rule) };
        let config = RunConfig { sub_batches: (rule == RuleKind::Lpf).then_some(5), ..config };
        let mut trainer = trainer(&config);
        let clean = weights(&trainer);
        trainer.train_step(TrainStep { first: 260, valid: 40, rate: trainer.rate(0.1) }, None).unwrap();
        let metrics: Vec<[f32; 2]> = trainer.read_metrics().unwrap().wait(device()).unwrap();
        let loss = metrics[0][0] / 40.0;
        assert!((1.5..3.5).contains(&loss), "{rule}: the loss is that of 40 samples: {loss}");
        let moved = weights(&trainer);
        assert!(moved.iter().all(|weight| weight.is_finite()));
        assert_ne!(bits(&clean), bits(&moved), "{rule}");
    }
}
