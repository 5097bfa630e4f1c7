//! Every step has the noise that it is logged with, and a run that goes wrong ends within so many steps.

use std::fs;

use crate::common::{
    device,
    supervised::{begin, checkpoints, config, every, go, manifest},
    trace::weights,
};
use jostle::{
    noise::{GroupOrder, Mode, Scheme},
    schedule::Moment,
    train::{
        AUTO_BATCH, Broken, Control, Event, MetricsFile, OnNan, Options, Precision, Prepared, RunConfig, RunResult,
        Status, StepRecord, Supervisor, Trainer, run,
    },
};

fn losses(config: &RunConfig) -> Vec<f64> {
    let prepared = Prepared::load(config).unwrap();
    let mut trainer = Trainer::new(device(), config, &prepared).unwrap();
    let mut losses = Vec::new();
    run(&mut trainer, config, None, &mut |event| {
        if let Event::Step(StepRecord { loss, .. }) = event {
            losses.push(loss);
        }
        Ok(Control::Continue)
    })
    .unwrap();
    losses
}

/// The groups that a seed draws in mode `layer` at random.
fn groups(config: &RunConfig, steps: u64) -> Vec<Option<usize>> {
    let model: jostle::nn::Model = config.model.parse().unwrap();
    let scheme = Scheme::new(config.noise_config(), &model.graph.layout(), &model.noise_tensors(), config.seed);
    (0..steps).map(|step| scheme.at(step, Moment::START).group).collect()
}

/// Steps before the last, whose noise is too strong; each is followed by a checkpoint.
const QUIET: u64 = 3;

/// A run whose noise falls on the first bias for a while, and then on the first weight, where it is too strong; nothing moves.
fn too_strong_at_a_checkpoint() -> RunConfig {
    let base = RunConfig {
        noise_order: GroupOrder::Random,
        sigma: 3e36,
        lr: 1e-60, // 0 in f32: it is the noise alone that decides
        on_nan: OnNan::HalveSigma,
        steps: Some(QUIET + 1),
        ..config()
    };
    let wanted = |groups: &[Option<usize>]| {
        groups[..QUIET as usize].iter().all(|group| *group == Some(1)) && groups[QUIET as usize] == Some(0)
    };
    let seeds = (0..).map(|seed| RunConfig { seed, ..base.clone() });
    seeds.into_iter().find(|config| wanted(&groups(config, QUIET + 1))).unwrap()
}

#[test]
fn noise_halved_at_a_checkpoint_within_an_epoch_is_half_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = too_strong_at_a_checkpoint();
    let mut notices = Vec::new();
    let result = go(&mut begin(dir.path(), &config, every(1)), None, &mut notices).unwrap();
    assert_eq!(result.status, Status::Finished, "{notices:?}");
    assert!(notices.iter().any(|notice| notice.contains(&format!("resuming after step {QUIET} from"))), "{notices:?}");
    let halved: Vec<&String> = notices.iter().filter(|notice| notice.contains("sigma is now")).collect();
    assert!(halved.iter().all(|notice| notice.contains(&format!("the loss of step {QUIET} "))), "{halved:?}");
    let sigma = config.sigma / f64::from(1u32 << halved.len());
    let (steps, _) = MetricsFile::read(&dir.path().join("metrics.jsonl")).unwrap();
    let from_the_start = losses(&RunConfig { sigma, ..config.clone() });
    for record in &steps[QUIET as usize..] {
        assert_eq!(record.loss, from_the_start[record.step as usize], "step {} at sigma {sigma}", record.step);
        assert!((record.sigma / sigma - 1.0).abs() < 1e-6, "{record:?}");
    }
    // What is run now is what the folder says.
    let written: RunConfig = toml::from_str(&fs::read_to_string(dir.path().join("config.toml")).unwrap()).unwrap();
    assert_eq!(written, RunConfig { sigma, ..config });
}

#[test]
fn the_batch_that_fits_is_written_down() {
    let dir = tempfile::tempdir().unwrap();
    let config = RunConfig { batch: AUTO_BATCH, subset: Some(50), steps: Some(1), ..config() };
    let mut supervisor = begin(dir.path(), &config, every(0));
    let written = || fs::read_to_string(dir.path().join("config.toml")).unwrap();
    assert!(written().contains("batch = \"auto\""), "{}", written());
    go(&mut supervisor, None, &mut Vec::new()).unwrap();
    assert!(written().contains("batch = 50\n"), "{}", written());
}

#[test]
fn another_sigma_by_force_is_that_of_the_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let config = RunConfig { lr: 1e-60, noise: Mode::All, ..config() };
    go(&mut begin(dir.path(), &config, every(0)), Some(5), &mut Vec::new()).unwrap();
    assert!(manifest(&checkpoints(dir.path())[0]).position.step_of_epoch > 0);
    let stronger = Options::parse(["--sigma", "0.5"]).unwrap();
    let mut supervisor = Supervisor::resume(dir.path(), &stronger, every(0), true, &mut |_| ()).unwrap();
    let before = fs::read_to_string(dir.path().join("config.toml")).unwrap();
    go(&mut supervisor, None, &mut Vec::new()).unwrap();
    let (steps, _) = MetricsFile::read(&dir.path().join("metrics.jsonl")).unwrap();
    let [weak, strong] = [config.sigma, 0.5].map(|sigma| losses(&RunConfig { sigma, ..config.clone() }));
    for record in steps {
        let step = record.step as usize;
        assert_eq!(record.loss, if step < 5 { weak[step] } else { strong[step] }, "step {step}");
    }
    let written = fs::read_to_string(dir.path().join("config.toml")).unwrap();
    assert!(before.contains("sigma = 0.05") && written.contains("sigma = 0.5\n"), "{written}");
}

/// Each of `parts` is a run to so many steps, on one trainer.
fn in_parts(config: &RunConfig, parts: &[u64]) -> (Vec<StepRecord>, Vec<u32>) {
    let prepared = Prepared::load(config).unwrap();
    let mut trainer = Trainer::new(device(), config, &prepared).unwrap();
    let mut steps = Vec::new();
    for part in parts {
        let config = RunConfig { steps: Some(*part), ..config.clone() };
        run(&mut trainer, &config, None, &mut |event| {
            if let Event::Step(record) = event {
                steps.push(record);
            }
            Ok(Control::Continue)
        })
        .unwrap();
    }
    (steps, weights(&trainer))
}

#[test]
fn a_run_in_parts_is_the_whole_run() {
    for noise in [Mode::Layer, Mode::All] {
        // Scores at noisy weights and curvature leave other weights behind than those that a step needs.
        let config = RunConfig { noise, sigma: 0.5, eval_noisy: 2, ema: Some(0.9), ..config() };
        let (steps, left) = in_parts(&config, &[10]);
        assert_eq!(steps.len(), 10);
        assert!((steps, left) == in_parts(&config, &[5, 10]), "{noise}");
    }
}

#[test]
fn a_measurement_between_steps_changes_nothing() {
    let config = RunConfig { steps: Some(8), sigma: 0.5, ..config() };
    let prepared = Prepared::load(&config).unwrap();
    let trained = |measure: &dyn Fn(&Trainer<'_>)| {
        let mut trainer = Trainer::new(device(), &config, &prepared).unwrap();
        trainer.begin_epoch(0, (0..trainer.samples() as u32).collect()).unwrap();
        for step in 0..4 {
            let first = step * 100;
            let step = jostle::train::TrainStep { first, valid: 100, rate: trainer.rate(0.1) };
            trainer.train_step(step, None).unwrap();
            measure(&trainer);
        }
        weights(&trainer)
    };
    let undisturbed = trained(&|_| ());
    let evaluated = trained(&|trainer| assert!(trainer.evaluate_test().unwrap().loss > 0.0));
    assert!(evaluated == undisturbed);
    let measured = trained(&|trainer| assert!(trainer.traces(None, 1).unwrap().hessian.trace.is_finite()));
    assert!(measured == undisturbed);
}

/// 648 steps an epoch, the losses of which are NaN from the second or third on.
#[test]
fn a_loss_that_is_not_finite_ends_a_run_within_64_steps() {
    let config = RunConfig { lr: 1e30, batch: 2, noise: Mode::None, epochs: 1, steps: None, ..config() };
    let prepared = Prepared::load(&config).unwrap();
    let mut trainer = Trainer::new(device(), &config, &prepared).unwrap();
    let mut told = Vec::new();
    let result = run(&mut trainer, &config, None, &mut |event| {
        if let Event::Step(record) = event {
            told.push(record.step);
        }
        Ok(Control::Continue)
    })
    .unwrap();
    let Status::Diverged { step, broken, .. } = result.status else { panic!("{:?}", result.status) };
    assert!((1..4).contains(&step), "{step}");
    assert_eq!(broken, Broken::Loss);
    assert!(trainer.steps_done() <= step + 64, "{} steps were submitted", trainer.steps_done());
    assert_eq!(told, (0..trainer.steps_done()).collect::<Vec<u64>>(), "each step's own loss, once");
}

/// Losses come back by slots of a ring: each is its own step's, over several rounds of the ring.
#[test]
fn losses_are_those_of_their_steps_however_often_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let config = RunConfig { batch: 4, steps: Some(150), ..config() };
    go(&mut begin(dir.path(), &config, every(7)), None, &mut Vec::new()).unwrap();
    let (steps, _) = MetricsFile::read(&dir.path().join("metrics.jsonl")).unwrap();
    assert_eq!(steps.iter().map(|record| record.loss).collect::<Vec<_>>(), losses(&config));
    assert!(steps.iter().enumerate().all(|(index, record)| record.step == index as u64));
}

/// The noise takes weights past what is finite; the weights themselves are, and so are checkpoints of them.
#[test]
fn effective_weights_that_are_not_finite_do_not_end_a_run_that_skips() {
    let dir = tempfile::tempdir().unwrap();
    // No step has a finite loss, and a checkpoint is written after each but the last.
    let config = RunConfig { sigma: 3e38, on_nan: OnNan::Skip, ..config() };
    let result = go(&mut begin(dir.path(), &config, every(1)), None, &mut Vec::new()).unwrap();
    assert!(matches!(result.status, Status::Diverged { step: 0, broken: Broken::Loss, .. }), "{:?}", result.status);
    assert_eq!(manifest(&checkpoints(dir.path()).pop().unwrap()).position.step, 29);
}

fn trained(config: &RunConfig) -> RunResult {
    let prepared = Prepared::load(config).unwrap();
    let mut trainer = Trainer::new(device(), config, &prepared).unwrap();
    run(&mut trainer, config, None, &mut |_| Ok(Control::Continue)).unwrap()
}

/// Losses are finite and gradients are not, or not once they are scaled: every update is left out.
#[test]
fn a_run_without_an_update_has_diverged() {
    let strong = RunConfig { noise: Mode::Model, sigma: 5e17, on_nan: OnNan::Skip, ..config() };
    let model = "mlp:64-1000-10".to_owned();
    let strong = RunConfig { model, subset: Some(52), batch: 4, steps: Some(50), ..strong };
    let mut cases = vec![(strong, 39)];
    if device().has_f16() {
        // The loss scale has not come down to what these gradients can bear.
        let scaled = RunConfig { precision: Precision::F16, noise: Mode::Model, sigma: 2.0, ..config() };
        cases.push((RunConfig { subset: Some(26), batch: 2, steps: Some(2), ..scaled }, 2));
    }
    for (config, expected) in cases {
        let result = trained(&config);
        let last = result.epochs.last().unwrap();
        assert_eq!((last.step, last.skipped_steps), (expected, Some(expected as u32)), "{:?}", config.precision);
        let diverged = matches!(result.status, Status::Diverged { step: 0, broken: Broken::Gradients, .. });
        assert!(diverged, "{:?}: {:?}", config.precision, result.status);
    }
}

/// An epoch of one step whose update is left out is no run that goes nowhere.
#[test]
fn a_short_epoch_without_an_update_is_left_out_like_any_step() {
    // One step an epoch; the loss overflows where the noise is on a weight, not where it is on a bias.
    let config = RunConfig { sigma: 1e37, on_nan: OnNan::Skip, subset: Some(100), ..config() };
    let result = trained(&config);
    assert_eq!(result.status, Status::Finished);
    let last = result.epochs.last().unwrap();
    assert!((1..30).contains(&last.skipped_steps.unwrap()), "{last:?}");
    assert_eq!(last.step, 30);
}
