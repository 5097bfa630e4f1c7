//! Runs that take moments of their weights.

use std::{collections::HashMap, fs, path::Path};

use crate::common::supervised::{begin, checkpoints, config, every, go, left, resume};
use jostle::{
    nn::read_tensors,
    rules::RuleKind,
    train::{
        Interval, KeepOptions, POSTERIOR, Posterior, Prepared, RunConfig, RunResult, Supervisor, SupervisorOptions,
        Trainer,
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
    let posterior = Posterior::read(&dir.path().join(POSTERIOR), &model).unwrap();
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
    let refused = Trainer::new(crate::common::device(), &steps, &prepared).unwrap_err().to_string();
    assert!(refused.starts_with("swag-start, swag-every: of a run of 1 whole epochs"), "{refused}");
    let rank = RunConfig { swag_rank: Some(1), ..swag() }.check().unwrap_err().to_string();
    assert_eq!(rank, "swag-rank: has to be at least 2, found 1");
}
