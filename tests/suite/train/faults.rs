//! What a run survives: damaged checkpoints, a lost device, losses that are no numbers.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};

use crate::common::{
    hash, own_device,
    supervised::{begin, checkpoints, config, every, go, left, manifest, resume},
};
use jostle::{
    noise::Mode,
    optim::OptimizerKind,
    train::{
        Broken, Control, Event, Message, MetricsFile, OnDeviceLost, OnNan, Options, RunConfig, RunResult, Status,
        Supervisor, SupervisorOptions, TrainError, Trainer, newest_checkpoint,
    },
};

/// A run stopped at step 12, with checkpoints at 5, 10 and 12 of which two are kept.
fn stopped_run(dir: &Path) {
    go(&mut begin(dir, &config(), every(5)), Some(12), &mut Vec::new()).unwrap();
    let steps: Vec<u64> = checkpoints(dir).iter().map(|path| manifest(path).position.step).collect();
    assert_eq!(steps, [10, 12]);
}

/// Paths and bytes of the files of the newest checkpoint.
fn files_of_newest(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(checkpoints(dir).pop().unwrap()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// The step of the newest checkpoint that is whole, and what was said on the way.
fn newest(dir: &Path) -> (Option<u64>, String) {
    let mut said = String::new();
    let found = newest_checkpoint(dir, &mut |notice| said.push_str(notice));
    match found {
        Ok(found) => (found.map(|(_, manifest)| manifest.position.step), said),
        Err(error) => (None, error.to_string()),
    }
}

#[test]
fn a_checkpoint_truncated_at_every_hundredth_falls_back() {
    let dir = tempfile::tempdir().unwrap();
    stopped_run(dir.path());
    for (file, whole) in files_of_newest(dir.path()) {
        let mut lengths: Vec<usize> = (0..100).map(|percent| whole.len() * percent / 100).collect();
        lengths.push(whole.len() - 1);
        lengths.dedup();
        for length in lengths {
            fs::write(&file, &whole[..length]).unwrap();
            let (step, said) = newest(dir.path());
            assert_eq!(step, Some(10), "{} of {length} bytes", file.display());
            assert!(said.contains("the checkpoint of step 12 is damaged"), "{said}");
        }
        fs::write(&file, &whole).unwrap();
        assert_eq!(newest(dir.path()), (Some(12), String::new()), "{}", file.display());
        fs::remove_file(&file).unwrap();
        assert_eq!(newest(dir.path()).0, Some(10), "without {}", file.display());
        fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn a_flipped_bit_falls_back() {
    let dir = tempfile::tempdir().unwrap();
    stopped_run(dir.path());
    for (file, whole) in files_of_newest(dir.path()) {
        for draw in 0..200 {
            let at = hash(1, draw) as usize % whole.len();
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (hash(2, draw) % 8);
            fs::write(&file, &flipped).unwrap();
            let (step, said) = newest(dir.path());
            assert_eq!(step, Some(10), "{} byte {at}", file.display());
            assert!(said.contains("step 12 is damaged"), "{said}");
        }
        fs::write(&file, &whole).unwrap();
    }
}

/// What resumes from the older checkpoint ends as if nothing had happened; with none left, that is said.
#[test]
fn a_run_goes_on_from_the_checkpoint_before_a_damaged_one() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, hurt] = ["whole", "hurt"].map(|name| dir.path().join(name));
    go(&mut begin(&whole, &config(), every(5)), None, &mut Vec::new()).unwrap();
    fs::create_dir(&hurt).unwrap();
    stopped_run(&hurt);
    let damage = |index: usize| fs::write(checkpoints(&hurt)[index].join("weights.safetensors"), b"").unwrap();
    damage(1);
    let mut said = String::new();
    let mut supervisor =
        Supervisor::resume(&hurt, &Options::default(), every(5), false, &mut |text| said.push_str(text)).unwrap();
    assert!(said.contains("the checkpoint of step 12 is damaged"), "{said}");
    go(&mut supervisor, None, &mut Vec::new()).unwrap();
    drop(supervisor);
    assert!(left(&hurt) == left(&whole));
    let steps: Vec<u64> = checkpoints(&hurt).iter().map(|path| manifest(path).position.step).collect();
    assert!(!steps.contains(&12), "the damaged one is gone: {steps:?}");

    for index in 0..checkpoints(&hurt).len() {
        damage(index);
    }
    let error = Supervisor::resume(&hurt, &Options::default(), every(5), false, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("no checkpoint is whole"), "{error}");
}

#[test]
fn a_folder_serves_one_run_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    stopped_run(dir.path());
    let held = resume(dir.path(), every(5));
    let again = Supervisor::resume(dir.path(), &Options::default(), every(5), false, &mut |_| ()).unwrap_err();
    let anew = Supervisor::new(dir.path(), config(), every(5)).unwrap_err();
    for error in [again, anew] {
        assert!(error.to_string().contains("in use by process"), "{error}");
    }
    drop(held);
    assert_eq!(newest(dir.path()).0, Some(12), "whoever came too late has touched nothing");
}

/// Runs, with the device destroyed before each of `losses` steps, once each.
fn run_with_losses(
    supervisor: &mut Supervisor,
    losses: &[u64],
    notices: &mut Vec<String>,
) -> Result<RunResult, TrainError> {
    let device = Cell::new(None);
    let open = || {
        let gpu = own_device();
        device.set(Some(gpu.raw_device().clone()));
        Ok(gpu)
    };
    let mut left = losses.to_vec();
    let mut observe = |message: Message<'_>| {
        match message {
            Message::Notice(text) => notices.push(text.to_owned()),
            Message::Event(Event::Progress { step, .. }) if left.first() == Some(&step) => {
                left.remove(0);
                device.take().unwrap().destroy();
            }
            Message::Event(_) => {}
        }
        Ok(Control::Continue)
    };
    let mut finish = |_: &Trainer<'_>, _: &RunResult, _| Ok(());
    supervisor.run(&open, false, &mut observe, &mut finish).map(|(result, ())| result)
}

#[test]
fn a_lost_device_ends_a_run_that_names_its_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut supervisor = begin(dir.path(), &config(), every(5));
    let error = run_with_losses(&mut supervisor, &[12], &mut Vec::new()).unwrap_err();
    drop(supervisor);
    let message = error.to_string();
    assert!(message.contains("the device was lost"), "{message}");
    assert!(message.contains("the checkpoint of step 10 stays: go on with --resume"), "{message}");
    go(&mut resume(dir.path(), every(5)), None, &mut Vec::new()).unwrap();
}

#[test]
fn a_lost_device_is_opened_anew_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, hurt] = ["whole", "hurt"].map(|name| dir.path().join(name));
    go(&mut begin(&whole, &config(), every(5)), None, &mut Vec::new()).unwrap();
    let retry = SupervisorOptions { on_device_lost: OnDeviceLost::Retry, ..every(5) };
    let mut notices = Vec::new();
    // Before the first checkpoint, within the first epoch, and in the last.
    let result = run_with_losses(&mut begin(&hurt, &config(), retry), &[3, 12, 28], &mut notices).unwrap();
    assert_eq!(result.status, Status::Finished);
    assert_eq!(notices.iter().filter(|notice| notice.contains("the device was lost")).count(), 3, "{notices:?}");
    assert!(left(&hurt) == left(&whole));
}

#[test]
fn a_device_that_is_always_lost_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let retry = SupervisorOptions { on_device_lost: OnDeviceLost::Retry, ..every(5) };
    let mut notices = Vec::new();
    let error = run_with_losses(&mut begin(dir.path(), &config(), retry), &[2; 10], &mut notices).unwrap_err();
    assert!(matches!(error, TrainError::Gpu(_)), "{error}");
    assert_eq!(notices.len(), 3, "{notices:?}");
}

/// Noise so strong that the loss overflows where it falls on a weight, and not where it falls on a bias.
fn overflowing() -> RunConfig {
    RunConfig { sigma: 1e36, ..config() }
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    stopped_run(dir.path());
    let strong = Options::parse(["--sigma", "1e37"]).unwrap();
    let mut supervisor = Supervisor::resume(dir.path(), &strong, every(1), true, &mut |_| ()).unwrap();
    let result = go(&mut supervisor, None, &mut Vec::new()).unwrap();
    // Step 12 is that of group 0, the first weight: its noise is not that which the checkpoint holds.
    let Status::Diverged { step, group, sigma, broken } = result.status else { panic!("{:?}", result.status) };
    assert_eq!((step, group, broken), (12, Some(0), Broken::Loss));
    assert!((0.9e37..1.1e37).contains(&sigma), "{sigma}");
    let (_, good) = newest_checkpoint(dir.path(), &mut |text| panic!("{text}")).unwrap().unwrap();
    assert!(good.position.step <= step, "{} was written after step {step}", good.position.step);
    let weights =
        jostle::nn::read_tensors(&checkpoints(dir.path()).pop().unwrap().join("weights.safetensors")).unwrap();
    assert!(weights.iter().flat_map(|tensor| &tensor.values).all(|value| value.is_finite()));
}

/// The rate takes the weights past f32 at once, while the loss of the first step is a number.
#[test]
fn weights_that_are_no_numbers_are_never_saved() {
    let dir = tempfile::tempdir().unwrap();
    let config = RunConfig { lr: 3e38, weight_decay: 1e3, noise: Mode::None, steps: Some(1), ..config() };
    let result = go(&mut begin(dir.path(), &config, every(1)), None, &mut Vec::new()).unwrap();
    assert!(matches!(result.status, Status::Diverged { step: 0, .. }), "{:?}", result.status);
    let (steps, _) = MetricsFile::read(&dir.path().join("metrics.jsonl")).unwrap();
    assert!(steps[0].loss.is_finite());
    assert_eq!(newest(dir.path()), (None, String::new()));
}

#[test]
fn steps_that_are_no_numbers_can_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let config = RunConfig { on_nan: OnNan::Skip, ..overflowing() };
    let result = go(&mut begin(dir.path(), &config, every(0)), None, &mut Vec::new()).unwrap();
    assert_eq!(result.status, Status::Finished);
    let (steps, epochs) = MetricsFile::read(&dir.path().join("metrics.jsonl")).unwrap();
    assert_eq!(steps.len(), 30);
    let broken = steps.iter().filter(|record| !record.loss.is_finite()).count();
    assert!((1..30).contains(&broken), "{broken}");
    let last = epochs.last().unwrap();
    let skipped = last.skipped_steps.unwrap();
    assert!(skipped as usize >= broken && skipped < 30, "{skipped} of which {broken} had a loss that is no number");
    assert!(last.loss_scale.is_none(), "f32 has none");
    assert!(last.scores.train_loss.unwrap().is_finite() && last.l2_norm.is_finite(), "{last:?}");
}

#[test]
fn a_run_without_any_step_to_take_ends() {
    let dir = tempfile::tempdir().unwrap();
    let config = RunConfig { on_nan: OnNan::Skip, sigma: 3e38, noise: Mode::Model, ..config() };
    let result = go(&mut begin(dir.path(), &config, every(0)), None, &mut Vec::new()).unwrap();
    assert!(matches!(result.status, Status::Diverged { step: 0, .. }), "{:?}", result.status);
}

#[test]
fn the_noise_is_halved_until_the_loss_is_a_number() {
    let dir = tempfile::tempdir().unwrap();
    // A rate at which nothing moves, so that it is the noise alone that decides.
    let config = RunConfig {
        on_nan: OnNan::HalveSigma,
        optimizer: OptimizerKind::Sgd,
        noise: Mode::Model,
        sigma: 1e20,
        lr: 1e-36,
        ..config()
    };
    let mut notices = Vec::new();
    let result = go(&mut begin(dir.path(), &config, every(7)), None, &mut notices).unwrap();
    assert_eq!(result.status, Status::Finished);
    let halvings = notices.iter().filter(|notice| notice.contains("sigma is now")).count();
    assert!((1..10).contains(&halvings), "{notices:?}");
    let sigma = 1e20 / f64::from(1u32 << halvings);
    let (steps, _) = MetricsFile::read(&dir.path().join("metrics.jsonl")).unwrap();
    let counted: Vec<u64> = steps.iter().map(|record| record.step).collect();
    assert_eq!(counted, (0..30).collect::<Vec<u64>>(), "each step once");
    assert!((steps[29].sigma / sigma - 1.0).abs() < 1e-6, "{} expected {sigma}", steps[29].sigma);
    assert_eq!(manifest(&checkpoints(dir.path()).pop().unwrap()).config.sigma, sigma);
}
