//! Runs whose labels are drawn anew each epoch.

use crate::common::{
    device,
    supervised::{begin, config, every, go, left, resume},
};
use jostle::{
    data::{DataSource, Dataset, Split, Targets},
    noise::FreshLabels,
    rules::RuleKind,
    train::{Prepared, RunConfig, TrainError, TrainStep, Trainer},
};

fn fresh(share: f64) -> RunConfig {
    RunConfig { rule: RuleKind::FreshLabels, fresh_label_noise: Some(share), ..config() }
}

#[test]
fn they_go_on_bit_by_bit() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| dir.path().join(name));
    let config = RunConfig { label_noise: 0.1, ..fresh(0.3) };
    go(&mut begin(&whole, &config, every(0)), None, &mut Vec::new()).unwrap();
    // Within the first epoch, and at its end.
    go(&mut begin(&parts, &config, every(0)), Some(5), &mut Vec::new()).unwrap();
    go(&mut resume(&parts, every(0)), Some(13), &mut Vec::new()).unwrap();
    go(&mut resume(&parts, every(0)), None, &mut Vec::new()).unwrap();
    assert!(left(&parts) == left(&whole));
}

#[test]
fn a_share_of_none_is_plain_training_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let left_by = |name: &str, config: &RunConfig| {
        let run = dir.path().join(name);
        go(&mut begin(&run, config, every(0)), None, &mut Vec::new()).unwrap();
        left(&run)
    };
    let plain = left_by("plain", &config());
    assert!(left_by("none", &fresh(0.0)) == plain);
    assert!(left_by("some", &fresh(0.3)).weights != plain.weights);
}

/// Plain training on data that hold the labels which an epoch draws.
#[test]
fn an_epoch_is_plain_training_on_what_it_draws() {
    let gpu = device();
    let config = RunConfig { label_noise: 0.2, ..fresh(0.4) };
    let prepared = Prepared::load(&config).unwrap();
    let plain = RunConfig { rule: RuleKind::Noise, fresh_label_noise: None, label_noise: 0.0, ..config.clone() };
    let train = |config: &RunConfig, prepared: &Prepared, epoch: u64| -> (Vec<f32>, Option<f64>) {
        let mut trainer = Trainer::new(gpu, config, prepared).unwrap();
        trainer.begin_epoch(epoch, (0..trainer.samples() as u32).rev().collect()).unwrap();
        for step in 0..3 {
            let step = TrainStep { first: step * 100, valid: 100, rate: trainer.rate(0.1) };
            trainer.train_step(step, None).unwrap();
        }
        let weights = gpu.read(&trainer.arena.weights.view()).unwrap();
        (weights, trainer.scores(false).unwrap().train_loss)
    };
    let score = |weights: &[f32]| {
        let scorer = Trainer::new(gpu, &plain, &prepared).unwrap();
        gpu.write(&scorer.arena.weights.view(), weights).unwrap();
        scorer.scores(false).unwrap().train_loss
    };
    for epoch in [0, 3] {
        let mut drawn = prepared.clone();
        let Targets::Classes { labels, classes } = &mut drawn.split.train.targets else { panic!("classes") };
        let samples = 0..labels.len() as u32;
        FreshLabels::new(0.4, config.seed).replace(epoch, samples, labels, *classes);
        let (found, expected) = (train(&config, &prepared, epoch), train(&plain, &drawn, epoch));
        assert!(found.0 == expected.0, "epoch {epoch}: other weights");
        assert_eq!(found.1, score(&found.0), "evaluations are of the labels that the data have");
        assert_ne!(found.1, expected.1);
    }
}

#[test]
fn what_has_no_classes_is_refused() {
    let config = fresh(0.3);
    let split = DataSource::Digits.load().unwrap();
    let numbers = |data: Dataset| {
        let values = data.targets.labels().iter().map(|label| *label as f32).collect();
        Dataset { targets: Targets::vectors(values, 1), ..data }
    };
    let split = Split { train: numbers(split.train), test: numbers(split.test) };
    let config = RunConfig { model: "mlp:64-8-1".to_owned(), loss: jostle::ops::Loss::Mse, ..config };
    let refused = Prepared::from_split(&config, split).unwrap_err();
    assert!(matches!(refused, TrainError::Config { .. }), "{refused:?}");
    assert_eq!(refused.to_string(), "fresh-label-noise: the targets of digits are no classes");
    let without = RunConfig { fresh_label_noise: None, ..fresh(0.3) }.check().unwrap_err().to_string();
    assert_eq!(without, "fresh-label-noise: rule fresh-labels needs the share of labels that it draws anew");
    for (share, words) in [(1.0, "has to be in [0, 1), found 1"), (f64::NAN, "has to be in [0, 1), found NaN")] {
        assert_eq!(fresh(share).check().unwrap_err().to_string(), format!("fresh-label-noise: {words}"));
    }
}
