//! A run that is stopped and gone on with leaves what one that never stopped leaves, to the bit.

use std::{fs, path::Path, time::Duration};

use crate::common::{
    device,
    supervised::{
        Left, begin, checkpoints, config, edit_manifest, every, go, left, manifest, mend_sums, open, resume, sha256,
    },
};
use jostle::{
    noise::Mode,
    optim::OptimizerKind,
    train::{
        Control, EpochRecord, EvalEvery, Interval, KeepOptions, MetricsFile, Options, Precision, RunConfig, RunResult,
        Status, Supervisor, SupervisorOptions, TrainEval, Trainer, Validation,
    },
};
use tempfile::TempDir;

/// Stops at each of `stops` and resumes; what is left has to be what one run leaves.
fn assert_resumes(name: &str, config: &RunConfig, stops: &[u64]) -> Left {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let result = go(&mut begin(&whole, config, every(0)), None, &mut Vec::new()).unwrap();
    assert_eq!(result.status, Status::Finished);
    let expected = left(&whole);

    let parts = dir.path().join("parts");
    let result = go(&mut begin(&parts, config, every(7)), Some(stops[0]), &mut Vec::new()).unwrap();
    assert_eq!(result.status, Status::Interrupted);
    for stop in stops[1..].iter().copied().map(Some).chain([None]) {
        go(&mut resume(&parts, every(7)), stop, &mut Vec::new()).unwrap();
    }
    let found = left(&parts);
    assert_eq!(found.epochs, expected.epochs, "{name}");
    assert_eq!(found.steps, expected.steps, "{name}");
    assert!(found == expected, "{name}: weights or state differ");
    found
}

#[test]
fn every_noise_mode_and_optimizer_goes_on_bit_by_bit() {
    let modes = [Mode::None, Mode::All, Mode::Layer, Mode::Model].map(|noise| (noise, OptimizerKind::Sgd));
    let others = OptimizerKind::ALL.into_iter().filter(|optimizer| *optimizer != OptimizerKind::Sgd);
    let optimizers = others.map(|optimizer| (Mode::Layer, optimizer));
    for (noise, optimizer) in modes.into_iter().chain(optimizers) {
        // Muon moves the matrix in the middle.
        let config = RunConfig { noise, optimizer, model: "mlp:64-24-16-10".to_owned(), ..config() };
        // In the first epoch, at its end, and in the last one, which ends early.
        assert_resumes(&format!("{noise} {optimizer}"), &config, &[5, 13, 28]);
    }
}

#[test]
fn schedules_by_the_step_go_on_bit_by_bit() {
    let config = RunConfig {
        schedule: jostle::optim::LearningRateSchedule::OneCycle,
        schedule_unit: jostle::schedule::ScheduleUnit::Step,
        noise_schedule: jostle::noise::SigmaSchedule::Linear,
        noise_off_step: Some(20),
        optimizer: OptimizerKind::Adam,
        eval_noisy: 2,
        label_noise: 0.3,
        ..config()
    };
    assert_resumes("by the step", &config, &[5, 13, 28]);
}

#[test]
fn training_of_language_models_goes_on_bit_by_bit() {
    let config = RunConfig {
        optimizer: OptimizerKind::AdamW,
        weight_decay: 0.1,
        decay: jostle::optim::Decay::Matrices,
        schedule: jostle::optim::LearningRateSchedule::WarmupCosine,
        warmup_steps: 6,
        min_lr: Some(0.001),
        beta2: 0.95,
        clip_norm: Some(1.0),
        batch: 50,
        accumulate: 2,
        groups: jostle::noise::Grouping::Block,
        ..config()
    };
    assert_resumes("as language models", &config, &[5, 13, 28]);
}

#[test]
fn f16_goes_on_bit_by_bit_with_its_loss_scale() {
    if !device().has_f16() {
        eprintln!("skipped: no f16");
        return;
    }
    for optimizer in [OptimizerKind::Sgd, OptimizerKind::Adam, OptimizerKind::ScheduleFree] {
        // Noise so strong and batches so small that gradients overflow at the first loss scales: the scale moves.
        let small = RunConfig { subset: Some(26), batch: 2, noise: Mode::Model, sigma: 2.0, ..config() };
        let config = RunConfig { precision: Precision::F16, optimizer, ..small };
        let left = assert_resumes(&format!("f16 {optimizer}"), &config, &[5, 13, 28]);
        let last = left.epochs.last().unwrap();
        assert!(last.loss_scale.unwrap() < 65_536.0 && last.skipped_steps.unwrap() > 0, "{last:?}");
    }
}

/// Batch norm's statistics, dropout, augmentation, accumulation, clipping, warm-up, schedules, moving average, filter noise.
#[test]
fn every_other_part_of_a_run_goes_on_bit_by_bit() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("net.toml");
    let text = r#"
        layers = [
            { type = "conv", channels = 4, kernel = 3, padding = 1 },
            { type = "batch-norm" },
            { type = "relu" },
            { type = "flatten" },
            { type = "dropout", probability = 0.3 },
            { type = "linear", features = 10 },
        ]
    "#;
    fs::write(&model, text).unwrap();
    let config = RunConfig {
        model: model.display().to_string(),
        noise: Mode::All,
        noise_scale: jostle::noise::Scale::Filter,
        noise_schedule: jostle::noise::SigmaSchedule::Cosine,
        schedule: jostle::optim::LearningRateSchedule::Cosine,
        steps: None,
        epochs: 3,
        subset: Some(500),
        batch: 32,
        accumulate: 2,
        warmup_steps: 10,
        clip_norm: Some(1.0),
        ema: Some(0.9),
        eval_noisy: 2,
        bn_recalibrate: true,
        crop_padding: 1,
        flip: true,
        label_smoothing: 0.1,
        ..config()
    };
    assert_resumes("everything", &config, &[3, 8, 17]);
}

/// Evaluations within an epoch overwrite the noisy weights, and choose the best.
#[test]
fn evaluations_within_epochs_go_on_bit_by_bit() {
    let config = RunConfig {
        subset: Some(150),
        validation: Some(Validation::Share(0.2)),
        batch: 16,
        steps: Some(14),
        eval_every: EvalEvery::Steps(3),
        train_eval: TrainEval::Samples(20),
        test_every: Some(2),
        test_subset: Some(50),
        eval_noisy: 1,
        noise: Mode::All,
        ..config()
    };
    // At an evaluation, between two, at the end of an epoch of 8 steps.
    let left = assert_resumes("evaluations", &config, &[3, 7, 8]);
    assert_eq!(left.epochs.iter().map(|record| record.step).collect::<Vec<_>>(), [3, 6, 9, 12, 14]);
    let tested: Vec<bool> = left.epochs.iter().map(|record| record.scores.test_loss.is_some()).collect();
    assert_eq!(tested, [false, true, false, true, true]);
}

#[test]
fn what_a_run_began_from_is_not_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let [first, whole, parts] = ["first", "whole", "parts"].map(|name| dir.path().join(name));
    go(&mut begin(&first, &RunConfig { seed: 6, ..config() }, every(0)), Some(3), &mut Vec::new()).unwrap();
    let init = checkpoints(&first).pop().unwrap().join("weights.safetensors");
    let config = RunConfig { init: Some(init), ..config() };
    go(&mut begin(&whole, &config, every(0)), None, &mut Vec::new()).unwrap();
    go(&mut begin(&parts, &config, every(0)), Some(5), &mut Vec::new()).unwrap();
    fs::remove_dir_all(&first).unwrap();
    go(&mut resume(&parts, every(0)), None, &mut Vec::new()).unwrap();
    assert!(left(&parts) == left(&whole));
}

/// Every step takes longer than the interval: as many checkpoints as steps, which change nothing.
#[test]
fn checkpoints_go_by_time_too_and_leave_the_run_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let [without, with] = ["without", "with"].map(|name| dir.path().join(name));
    go(&mut begin(&without, &config(), every(0)), None, &mut Vec::new()).unwrap();
    let checkpoint_every = Interval::Time(Duration::from_nanos(1));
    let often = SupervisorOptions { keep: KeepOptions { checkpoint_every, keep_checkpoints: 40 }, ..every(0) };
    go(&mut begin(&with, &config(), often), None, &mut Vec::new()).unwrap();
    let steps: Vec<u64> = checkpoints(&with).iter().map(|path| manifest(path).position.step).collect();
    assert_eq!(steps, (1..=30).collect::<Vec<u64>>());
    assert!(left(&with) == left(&without));
}

#[test]
fn the_last_few_and_the_best_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    // So high a rate that losses are lowest early.
    let config = RunConfig { lr: 0.5, steps: Some(55), ..config() };
    for validation in [None, Some(Validation::Samples(200))] {
        let (dir, config) = (dir.path().join(format!("{validation:?}")), RunConfig { validation, ..config.clone() });
        let result = go(&mut begin(&dir, &config, every(5)), None, &mut Vec::new()).unwrap();
        let (_, epochs) = MetricsFile::read(&dir.join("metrics.jsonl")).unwrap();
        let loss = |record: &EpochRecord| record.scores.validation_loss.unwrap();
        let best = validation.map(|_| epochs.iter().min_by(|a, b| loss(a).total_cmp(&loss(b))).unwrap());
        let best_step = best.map(|best| best.step);
        assert!(best_step.is_none_or(|step| step < 50), "{best_step:?}: an early one, for this to tell anything");
        let steps: Vec<u64> = checkpoints(&dir).iter().map(|path| manifest(path).position.step).collect();
        assert_eq!(
            steps,
            best_step.into_iter().chain([50, 55]).collect::<Vec<u64>>(),
            "without a validation part, the last"
        );
        assert_eq!(result.best.map(|best| best.validation_loss), best.map(loss));
        // Other than the test loss, by which nothing is chosen.
        let tested = |record: &&EpochRecord| record.scores.test_loss.is_some();
        let expected = if validation.is_some() { 1 } else { epochs.len() };
        assert_eq!(epochs.iter().filter(tested).count(), expected, "{validation:?}");
    }
}

#[test]
fn weights_of_a_checkpoint_are_those_of_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut supervisor = begin(dir.path(), &config(), every(0));
    let mut finish = |trainer: &Trainer<'_>, _: &RunResult, _| {
        let gpu = trainer.gpu();
        let path = dir.path().join("weights.safetensors");
        jostle::nn::save(gpu, &trainer.model, &trainer.arena, &trainer.arena.weights, &path)?;
        Ok(())
    };
    supervisor.run(&open, false, &mut |_| Ok(Control::Continue), &mut finish).unwrap();
    let weights = |path: &Path| fs::read(path.join("weights.safetensors")).unwrap();
    let newest = checkpoints(dir.path()).pop().unwrap();
    assert!(weights(dir.path()) == weights(&newest));
    assert_eq!(manifest(&newest).position.step, 30);
}

#[test]
fn a_finished_run_has_nothing_to_go_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let config = RunConfig { steps: Some(26), ..config() };
    go(&mut begin(dir.path(), &config, every(0)), None, &mut Vec::new()).unwrap();
    let before = left(dir.path());
    let result = go(&mut resume(dir.path(), every(0)), None, &mut Vec::new()).unwrap();
    assert_eq!((result.status, result.epochs), (Status::Finished, Vec::new()));
    assert!(left(dir.path()) == before);
}

fn refusal(dir: &TempDir, changes: &Options) -> String {
    let mut supervisor =
        Supervisor::resume(dir.path(), changes, every(0), false, &mut |notice| panic!("{notice}")).unwrap();
    go(&mut supervisor, None, &mut Vec::new()).unwrap_err().to_string()
}

#[test]
fn another_run_is_refused_with_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    go(&mut begin(dir.path(), &config(), every(0)), Some(5), &mut Vec::new()).unwrap();
    let lr = Options::parse(["--lr", "0.25", "--seed", "9"]).unwrap();
    let message = refusal(&dir, &lr);
    for part in ["lr was 0.01, is 0.25", "seed was 5, is 9", "step-00000005", "--force"] {
        assert!(message.contains(part), "{message}");
    }
    let model = Options::parse(["--model", "mlp:64-32-10"]).unwrap();
    let message = refusal(&dir, &model);
    assert!(message.contains("parameter 0 was fc1.weight [24, 64], is fc1.weight [32, 64]"), "{message}");
    let data = Options::parse(["--subset", "400"]).unwrap();
    let message = refusal(&dir, &data);
    assert!(message.contains("training data was digits with 1297 samples, is digits with 400 samples"), "{message}");
    assert!(message.contains("SHA-256 of the data"), "{message}");

    // What changes nothing of the course is free.
    let free = Options::parse(["--log-every", "3"]).unwrap();
    let mut supervisor = Supervisor::resume(dir.path(), &free, every(0), false, &mut |_| ()).unwrap();
    go(&mut supervisor, Some(6), &mut Vec::new()).unwrap();
    drop(supervisor);

    let mut notices = Vec::new();
    let mut supervisor = Supervisor::resume(dir.path(), &lr, every(0), true, &mut |_| ()).unwrap();
    go(&mut supervisor, None, &mut notices).unwrap();
    let text = notices.join("\n");
    assert!(text.contains("ignored by --force: lr was 0.01, is 0.25"), "{text}");
    let (steps, _) = MetricsFile::read(&dir.path().join("metrics.jsonl")).unwrap();
    assert!(steps.iter().any(|record| record.lr == 0.25));
}

/// How a run resumes from a checkpoint whose files were changed, its checksums made right again: what it says, or why it
/// does not.
fn resumed_after(edit: impl Fn(&Path)) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    go(&mut begin(dir.path(), &config(), every(0)), Some(5), &mut Vec::new()).unwrap();
    let path = checkpoints(dir.path()).pop().unwrap();
    edit(&path);
    mend_sums(&path);
    let mut supervisor = Supervisor::resume(dir.path(), &Options::default(), every(0), false, &mut |_| ())
        .map_err(|error| error.to_string())?;
    let mut notices = Vec::new();
    go(&mut supervisor, Some(6), &mut notices).map_err(|error| error.to_string())?;
    Ok(notices.join("\n"))
}

fn with_manifest(edit: impl Fn(&mut serde_json::Value)) -> Result<String, String> {
    resumed_after(|checkpoint| edit_manifest(checkpoint, &edit))
}

/// The configuration's text as another version would have written it.
fn with_config(edit: impl Fn(&str) -> String) -> Result<String, String> {
    resumed_after(|checkpoint| {
        let path = checkpoint.join("config.toml");
        let text = edit(&fs::read_to_string(&path).unwrap());
        fs::write(path, &text).unwrap();
        edit_manifest(checkpoint, |value| {
            value["config_sha256"] = sha256(text.as_bytes()).into();
            value["identity"]["version"] = "9.0.0".into();
        });
    })
}

#[test]
fn another_version_or_adapter_is_told_and_goes_on() {
    let said = with_manifest(|value| value["identity"]["version"] = "0.0.1".into()).unwrap();
    assert!(said.contains("Jostle's version was 0.0.1, is"), "{said}");
    let said = with_manifest(|value| value["identity"]["adapter"] = "another".into()).unwrap();
    assert!(said.contains("the adapter was another, is"), "{said}");
    // A key that a newer version has added to the manifest without another format, because it may be passed over.
    with_manifest(|value| value["novel"] = 1.into()).unwrap();
}

#[test]
fn keys_that_are_missing_mean_their_defaults_and_unknown_ones_are_named() {
    let without =
        |text: &str| text.lines().filter(|line| !line.starts_with("gamma")).map(|l| format!("{l}\n")).collect();
    let said = with_config(without).unwrap();
    assert!(said.contains("Jostle's version was 9.0.0"), "{said}");
    let message = with_config(|text| format!("{text}novel-key = 1\n")).unwrap_err();
    assert!(message.contains("config.toml: unknown field `novel-key`: written by Jostle 9.0.0, this is"), "{message}");
    let message = with_config(|text| text.replace("\"constant\"", "\"novel\"")).unwrap_err();
    assert!(message.contains("novel") && message.contains("written by Jostle 9.0.0"), "{message}");
}

#[test]
fn a_changed_manifest_is_refused() {
    let message = with_manifest(|value| value["format"] = 99.into()).unwrap_err();
    assert!(message.contains("format 99, this version reads 1 to 2"), "{message}");
    let message = with_manifest(|value| value["identity"]["graph_sha256"] = "0".into()).unwrap_err();
    assert!(message.contains("SHA-256 of the model's graph was 0, is"), "{message}");
    let message = with_manifest(|value| value["position"]["step_of_epoch"] = 6.into()).unwrap_err();
    assert!(message.contains("step 5 is step 6 of epoch 0, expected step 5 of epoch 0"), "{message}");
    let message = with_manifest(|value| value["metrics_bytes"] = 1_000_000.into()).unwrap_err();
    assert!(message.contains("the checkpoint resumes after 1000000"), "{message}");
    let message = with_manifest(|value| value["files"] = serde_json::json!(["../../etc/passwd"])).unwrap_err();
    assert!(message.contains("missing in this checkpoint"), "{message}");
}

#[test]
fn a_changed_configuration_is_refused() {
    let message = resumed_after(|checkpoint| {
        let path = checkpoint.join("config.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace("lr = 0.01", "lr = 0.5")).unwrap();
    });
    let message = message.unwrap_err();
    assert!(message.contains("config.toml: SHA-256 is") && message.contains("config_sha256"), "{message}");
}
