//! Runs that take moments of their weights.

use std::{collections::HashMap, fs, path::Path};

use crate::common::{
    device,
    supervised::{begin, checkpoints, config, every, go, left, resume},
};
use jostle::{
    nn::read_tensors,
    rules::RuleKind,
    train::{
        Gaussian, GaussianPosterior, Interval, KeepOptions, Network, POSTERIOR, Prepared, RunConfig, RunResult,
        Supervisor, SupervisorOptions, Trainer,
    },
};

/// Five epochs of five steps, of which the last four are taken.
fn swag() -> RunConfig {
    RunConfig {
        rule: RuleKind::Swag,
        swag_start: Some(0.2),
        swag_rank: Some(3),
        subset: Some(500),
        steps: None,
        epochs: 5,
        ..config()
    }
}

/// Runs to the end, and writes what the command writes then.
fn finish(supervisor: &mut Supervisor, run: &Path) {
    let open = || crate::common::supervised::open();
    let mut write = |trainer: &Trainer<'_>, _: &RunResult, _| trainer.save_weights(run);
    supervisor.run(&open, false, &mut |_| Ok(jostle::train::Control::Continue), &mut write).unwrap();
}

fn tensors(path: &Path) -> HashMap<String, Vec<f32>> {
    read_tensors(path).unwrap().into_iter().map(|tensor| (tensor.name, tensor.values)).collect()
}

#[test]
fn moments_are_those_of_the_weights_after_late_epochs() {
    let dir = tempfile::tempdir().unwrap();
    let keep = KeepOptions { checkpoint_every: Interval::Steps(5), keep_checkpoints: 10 };
    let options = SupervisorOptions { keep, ..every(5) };
    finish(&mut begin(dir.path(), &swag(), options), dir.path());
    let after: Vec<HashMap<String, Vec<f32>>> =
        checkpoints(dir.path()).iter().map(|path| tensors(&path.join("weights.safetensors"))).collect();
    assert_eq!(after.len(), 5);
    let posterior = tensors(&dir.path().join(POSTERIOR));
    assert_eq!(posterior.len(), 3 * after[0].len());
    let mean_of = |name: &str, i: usize, count: usize| {
        after[1..=count].iter().map(|weights| f64::from(weights[name][i])).sum::<f64>() / count as f64
    };
    for (name, last) in &after[4] {
        for i in 0..last.len() {
            let close = |role: &str, at: usize, expected: f64| {
                let found = f64::from(posterior[&format!("{name}/{role}")][at]);
                assert!((found - expected).abs() < 1e-6, "{name}/{role} {at}: {found} {expected}");
            };
            close("mean", i, mean_of(name, i, 4));
            let squares = after[1..].iter().map(|weights| f64::from(weights[name][i]).powi(2));
            close("second_moment", i, squares.sum::<f64>() / 4.0);
            for k in 0..3 {
                let own = f64::from(after[k + 2][name][i]);
                close("deviations", k * last.len() + i, own - mean_of(name, i, k + 2));
            }
        }
    }
    let model = Prepared::load(&swag()).unwrap().model;
    let posterior = Gaussian::read(&dir.path().join(POSTERIOR), &model).unwrap();
    assert!(posterior.draw(0, 0).iter().flat_map(|tensor| &tensor.values).all(|value| value.is_finite()));
}

#[test]
fn they_go_on_bit_by_bit() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| dir.path().join(name));
    finish(&mut begin(&whole, &swag(), every(0)), &whole);
    // Before the first weights are taken, after the first at the end of an epoch, and within one.
    go(&mut begin(&parts, &swag(), every(0)), Some(7), &mut Vec::new()).unwrap();
    for stop in [10, 17] {
        go(&mut resume(&parts, every(0)), Some(stop), &mut Vec::new()).unwrap();
    }
    finish(&mut resume(&parts, every(0)), &parts);
    assert!(left(&parts) == left(&whole));
    let posterior = |run: &Path| fs::read(run.join(POSTERIOR)).unwrap();
    assert_eq!(posterior(&parts), posterior(&whole));
}

#[test]
fn the_weights_are_those_of_a_plain_run() {
    let dir = tempfile::tempdir().unwrap();
    let [with, without] = ["with", "without"].map(|name| dir.path().join(name));
    let plain = RunConfig { rule: RuleKind::Noise, swag_start: None, swag_rank: None, ..swag() };
    finish(&mut begin(&with, &swag(), every(0)), &with);
    finish(&mut begin(&without, &plain, every(0)), &without);
    assert_eq!(left(&with).weights, left(&without).weights);
    assert!(with.join(POSTERIOR).exists() && !without.join(POSTERIOR).exists());
}

#[test]
fn runs_that_are_too_short_are_refused() {
    let config = RunConfig { epochs: 10, swag_start: Some(0.9), ..swag() };
    let refused = config.check().unwrap_err().to_string();
    let reason = "of a run of 10 whole epochs they take weights 1 times, 2 are the least";
    assert_eq!(refused, format!("swag-start, swag-every: {reason}"));
    let steps = RunConfig { steps: Some(9), ..swag() };
    steps.check().unwrap();
    let prepared = Prepared::load(&steps).unwrap();
    let refused = Trainer::new(device(), &steps, &prepared).unwrap_err().to_string();
    assert!(refused.starts_with("swag-start, swag-every: of a run of 1 whole epochs"), "{refused}");
    let rank = RunConfig { swag_rank: Some(1), ..swag() }.check().unwrap_err().to_string();
    assert_eq!(rank, "swag-rank: has to be at least 2, found 1");
}

/// A net with batch norms, whose statistics are not the same at any two weights.
const NET: &str = r#"
    layers = [
        { type = "conv", channels = 4, kernel = 3, padding = 1 },
        { type = "batch-norm" },
        { type = "relu" },
        { type = "flatten" },
        { type = "linear", features = 10 },
    ]
"#;

/// Softmax of each row of outputs.
fn probabilities(outputs: &[f32]) -> Vec<Vec<f64>> {
    let softmax = |row: &[f32]| {
        let exponentials: Vec<f64> = row.iter().map(|output| f64::from(*output).exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        exponentials.iter().map(|value| value / sum).collect()
    };
    outputs.chunks_exact(10).map(softmax).collect()
}

/// Each draw placed as a network's weights, batch norms' statistics estimated there, and its probabilities added up.
#[test]
fn predictions_are_averaged_over_draws_each_with_statistics_of_its_own() {
    const DRAWS: u32 = 3;
    let (gpu, dir) = (device(), tempfile::tempdir().unwrap());
    let model = dir.path().join("net.toml");
    fs::write(&model, NET).unwrap();
    let config = RunConfig { model: model.display().to_string(), test_subset: Some(60), lr: 0.05, ..swag() };
    let run = dir.path().join("run");
    finish(&mut begin(&run, &config, every(0)), &run);
    let prepared = Prepared::load(&config).unwrap();
    let network = Network::new(gpu, &config, &prepared).unwrap();
    let weights = run.join("weights.safetensors");
    network.load(&weights).unwrap();
    let gaussian = Gaussian::read(&run.join(POSTERIOR), network.model()).unwrap();
    let evaluator = network.evaluator(prepared.split.test.clone()).unwrap();
    let statistics = network.statistics(&config, &prepared.split.train).unwrap().unwrap();
    let posterior = GaussianPosterior::new(gpu, network.arena(), gaussian.clone(), 11).unwrap();
    let recalibration = statistics.recalibration();
    let mean = evaluator.score_mean(gpu, &posterior, DRAWS, Some(recalibration)).unwrap().unwrap();
    let stale = evaluator.score_mean(gpu, &posterior, DRAWS, None).unwrap().unwrap();
    assert_ne!(mean, stale, "statistics are those of each draw");

    let labels = prepared.split.test.targets.labels();
    let mut sums = vec![vec![0.0; 10]; labels.len()];
    for number in 0..DRAWS {
        let running = read_tensors(&weights).unwrap().into_iter().filter(|tensor| tensor.name.contains("running"));
        network.place(gaussian.draw(11, number).into_iter().chain(running).collect(), "a draw").unwrap();
        recalibration.calibration.run(gpu, recalibration.data, recalibration.epoch).unwrap();
        let (_, outputs) = evaluator.outputs(gpu).unwrap();
        for (sum, row) in sums.iter_mut().zip(probabilities(&outputs)) {
            sum.iter_mut().zip(row).for_each(|(sum, probability)| *sum += probability / f64::from(DRAWS));
        }
    }
    let count = labels.len() as f64;
    let nll = sums.iter().zip(labels).map(|(row, label)| -row[*label as usize].ln()).sum::<f64>() / count;
    let brier = |(row, label): (&Vec<f64>, &u32)| {
        let target = |class: usize| if class == *label as usize { 1.0 } else { 0.0 };
        row.iter().enumerate().map(|(class, probability)| (probability - target(class)).powi(2)).sum::<f64>()
    };
    let brier = sums.iter().zip(labels).map(brier).sum::<f64>() / count;
    let quality = mean.quality.unwrap();
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    close(mean.evaluation.loss, nll);
    close(quality.nll, nll);
    close(quality.brier, brier);
}
