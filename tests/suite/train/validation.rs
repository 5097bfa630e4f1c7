//! A part of the training data to choose by, what is scored when, and when a run is not worth going on with.

use std::process::Command;

use crate::common::{
    device,
    places::program,
    supervised::{begin, config, every, go, left, resume},
    trace::Trace,
};
use jostle::{
    data::Dataset,
    noise::SigmaSchedule,
    train::{
        Control, EpochRecord, EvalEvery, MetricsFile, Prepared, RunConfig, Status, TrainError, TrainEval, Trainer,
        Validation, run,
    },
};

/// Pixels and label of each sample, in an order of their own.
fn samples(data: &Dataset) -> Vec<(Vec<u8>, u32)> {
    let sample = |i: usize| data.sample(i).map(|(pixels, label)| (pixels.to_vec(), label)).unwrap();
    let mut all: Vec<_> = (0..data.len()).map(sample).collect();
    all.sort();
    all
}

#[test]
fn the_validation_part_is_taken_from_the_training_data_by_class() {
    let whole = Prepared::load(&config()).unwrap().split;
    let split_by = |validation, subset_seed| {
        let prepared = Prepared::load(&RunConfig { validation: Some(validation), subset_seed, ..config() }).unwrap();
        (prepared.split, prepared.validation.unwrap())
    };
    let (split, part) = split_by(Validation::Share(0.2), 0);
    assert_eq!((part.len(), split.train.len()), (259, 1038));
    assert_eq!(split.test, whole.test);
    let mut both = samples(&split.train);
    both.extend(samples(&part));
    both.sort();
    assert!(both == samples(&whole.train), "each sample is in one part");
    for (taken, all) in part.class_counts().iter().zip(whole.train.class_counts()) {
        assert!((*taken as f64 - 0.2 * all as f64).abs() <= 1.0, "{taken} of {all}");
    }
    assert_eq!(split_by(Validation::Samples(259), 0).1, part, "a number is as good as a share");
    assert_ne!(split_by(Validation::Samples(259), 1).1, part, "the subset's seed decides");
}

#[test]
fn a_validation_part_of_a_subset_is_part_of_it() {
    let subset = RunConfig { subset: Some(200), stratified: true, ..config() };
    let whole = Prepared::load(&subset).unwrap().split.train;
    let prepared = Prepared::load(&RunConfig { validation: Some(Validation::Share(0.5)), ..subset }).unwrap();
    let mut both = samples(&prepared.split.train);
    both.extend(samples(&prepared.validation.unwrap()));
    both.sort();
    assert!(both == samples(&whole));
}

#[test]
fn a_part_that_leaves_a_class_empty_is_refused() {
    let refusal = |config: RunConfig| match Prepared::load(&config).unwrap_err() {
        TrainError::Config { key, reason } => (key, reason),
        other => panic!("{other}"),
    };
    let with_samples =
        |samples| RunConfig { subset: Some(100), validation: Some(Validation::Samples(samples)), ..config() };
    for (samples, part) in [(5, "none of class"), (97, "to train on"), (100, "leave nothing"), (101, "leave nothing")] {
        let (key, reason) = refusal(with_samples(samples));
        assert!(key == "validation" && reason.contains(part), "{key}: {reason}");
    }
    assert!(refusal(with_samples(5)).1.ends_with("to choose by"));
    let (key, reason) = refusal(RunConfig { train_eval: TrainEval::Samples(2000), ..config() });
    assert_eq!((key.as_str(), reason.as_str()), ("train-eval", "2000 samples are more than the 1297 that there are"));
}

#[test]
fn wrong_usage_is_told_in_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        (&["--patience", "3"][..], "patience: needs a part of the training data to choose by"),
        (&["--patience", "0", "--validation", "0.1"], "patience, test-every: have to be at least 1"),
        (&["--validation", "1290"], "validation: 1290 of 1297 training samples leave none of class"),
        (&["--validation", "1.5"], "expected a share between 0 and 1"),
        (&["--eval-every", "0steps"], "expected a number of epochs"),
        (&["--train-eval", "some"], "expected all, none or a number"),
    ] {
        let out = dir.path().join("out");
        let output = Command::new(program()).arg("train").args(arguments).arg("--out").arg(out).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(part), "{arguments:?}: {text}");
    }
}

/// So high a rate that the validation loss is lowest early.
fn hasty() -> RunConfig {
    let validation = Some(Validation::Samples(200));
    RunConfig { lr: 0.5, steps: None, epochs: 20, validation, patience: Some(2), ..config() }
}

#[test]
fn a_run_ends_where_the_validation_loss_falls_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let result = go(&mut begin(dir.path(), &hasty(), every(0)), None, &mut Vec::new()).unwrap();
    assert_eq!((result.status, result.stopped_early), (Status::Finished, true));
    let losses: Vec<f64> = result.epochs.iter().map(|record| record.scores.validation_loss.unwrap()).collect();
    let lowest = (0..losses.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap();
    assert_eq!(lowest + 3, losses.len(), "two evaluations after the best: {losses:?}");
    assert!(losses.len() < 20, "{losses:?}");
    let best = result.best.unwrap();
    assert_eq!((best.step, best.validation_loss), (result.epochs[lowest].step, losses[lowest]));
    let tested: Vec<u64> =
        result.epochs.iter().filter(|end| end.scores.test_loss.is_some()).map(|end| end.step).collect();
    assert_eq!(tested, [result.epochs.last().unwrap().step], "the test data are looked at once, at the end");
    // What was written down says the same, and there is nothing to go on with.
    let before = left(dir.path());
    let without_time = |record: EpochRecord| EpochRecord { samples_per_second: 0.0, ..record };
    assert_eq!(before.epochs, result.epochs.into_iter().map(without_time).collect::<Vec<_>>());
    let again = go(&mut resume(dir.path(), every(0)), None, &mut Vec::new()).unwrap();
    assert_eq!((again.status, again.stopped_early, again.epochs), (Status::Finished, true, Vec::new()));
    assert!(left(dir.path()) == before);
}

/// The evaluation of a run that is stopped between two that are due is none that patience counts.
#[test]
fn a_stop_does_not_wear_out_patience() {
    let dir = tempfile::tempdir().unwrap();
    let losses: Vec<f64> = {
        let all = RunConfig { patience: None, epochs: 6, ..hasty() };
        let result = go(&mut begin(dir.path(), &all, every(0)), None, &mut Vec::new()).unwrap();
        result.epochs.iter().map(|record| record.scores.validation_loss.unwrap()).collect()
    };
    let worse = (1..losses.len()).find(|i| losses[*i] > losses[i - 1]).expect("a rate so high makes it worse once");
    let per_epoch = 11;
    let config = RunConfig { patience: Some(1), eval_every: EvalEvery::Epochs(worse as u64), ..hasty() };
    let stop = Some((worse as u64 + 1) * per_epoch);
    let result = go(&mut begin(dir.path(), &config, every(0)), stop, &mut Vec::new()).unwrap();
    assert_eq!((result.status, result.stopped_early), (Status::Interrupted, false), "{losses:?}");
    assert_eq!(result.best.unwrap().step, worse as u64 * per_epoch);
}

/// A run that has taken all its steps has not ended early, though its patience has ended with them.
#[test]
fn patience_that_ends_with_the_last_step_is_no_early_end() {
    let dir = tempfile::tempdir().unwrap();
    let early = go(&mut begin(dir.path(), &hasty(), every(0)), None, &mut Vec::new()).unwrap();
    let whole = RunConfig { epochs: early.epochs.len() as u64, ..hasty() };
    let result = go(&mut begin(dir.path(), &whole, every(0)), None, &mut Vec::new()).unwrap();
    assert_eq!((result.status, result.stopped_early), (Status::Finished, false));
}

/// The clean loss falls while a noisy one overflows: the evaluation after it has no checkpoint that could be the best.
#[test]
fn no_checkpoint_is_best_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let config = RunConfig {
        validation: Some(Validation::Samples(200)),
        noise_schedule: SigmaSchedule::MultiStep,
        noise_milestones: vec![3],
        noise_gamma: 1e38,
        sigma: 0.01,
        epochs: 6,
        steps: None,
        ..config()
    };
    let result = go(&mut begin(dir.path(), &config, every(0)), None, &mut Vec::new()).unwrap();
    assert!(matches!(result.status, Status::Diverged { .. }), "{:?}", result.status);
    let best = result.best.unwrap().step;
    assert!(dir.path().join(format!("checkpoints/step-{best:08}")).exists(), "no checkpoint of step {best}");
}

#[test]
fn what_is_scored_changes_nothing_of_the_course() {
    let trained = |config: &RunConfig| Trace::new(config, &Prepared::load(config).unwrap());
    let base = RunConfig { steps: Some(20), ..config() };
    let all = trained(&base);
    for train_eval in [TrainEval::None, TrainEval::Samples(100)] {
        for eval_every in [EvalEvery::Epochs(1), EvalEvery::Epochs(9), EvalEvery::Steps(7)] {
            let found = trained(&RunConfig { train_eval, eval_every, ..base.clone() });
            assert!((&found.weights, &found.steps) == (&all.weights, &all.steps), "{train_eval} {eval_every}");
            let steps: Vec<u64> = found.epochs.iter().map(|record| record.step).collect();
            let expected: &[u64] = match eval_every {
                EvalEvery::Epochs(1) => &[13, 20],
                EvalEvery::Epochs(_) => &[20],
                EvalEvery::Steps(_) => &[7, 14, 20],
            };
            assert_eq!(steps, expected, "{eval_every}");
            assert_eq!(EpochRecord::by_steps(&found.epochs), matches!(eval_every, EvalEvery::Steps(_)), "{eval_every}");
            let (end, whole) = (found.epochs.last().unwrap(), all.epochs.last().unwrap());
            assert_eq!(end.scores.test_loss, whole.scores.test_loss);
            assert_eq!(end.scores.train_loss.is_some(), train_eval != TrainEval::None);
            assert_ne!(end.scores.train_loss, whole.scores.train_loss);
            assert!(!serde_json::to_string(end).unwrap().contains("null"), "what was not scored is absent");
        }
    }
}

#[test]
fn curvature_is_of_all_training_data_whatever_is_scored() {
    let traces = |train_eval| {
        let config = RunConfig { train_eval, subset: Some(60), steps: Some(2), ..config() };
        let mut trainer = Trainer::new(device(), &config, &Prepared::load(&config).unwrap()).unwrap();
        run(&mut trainer, &config, None, &mut |_| Ok(Control::Continue)).unwrap();
        trainer.traces(None, 2).unwrap()
    };
    let all = traces(TrainEval::All);
    assert_eq!(traces(TrainEval::None), all);
    assert_eq!(traces(TrainEval::Samples(20)), all);
}

/// Lines as they were before there was a validation part, and as they are with parts that were not scored.
#[test]
fn metrics_are_read_with_and_without_what_was_not_scored() {
    let line = |scores: &str| {
        format!(
            r#"{{"kind":"epoch","epoch":1,"step":2,{scores}"l1_norm":1.5,"l2_norm":2.5,"samples_per_second":10.0}}"#
        )
    };
    let old = r#""train_loss":2.5,"train_accuracy":0.1,"test_loss":null,"test_accuracy":0.2,"#;
    let text = [line(old), line(""), line(r#""validation_loss":0.5,"validation_accuracy":0.75,"#)].join("\n");
    let (_, records) = MetricsFile::parse(&text).unwrap();
    let scores = records[0].scores;
    assert_eq!((scores.train_loss, scores.train_accuracy, scores.test_accuracy), (Some(2.5), Some(0.1), Some(0.2)));
    assert!(scores.test_loss.unwrap().is_nan() && scores.validation_loss.is_none());
    assert_eq!(records[1].scores, jostle::train::Scores::default());
    assert_eq!(records[2].scores.validation_accuracy, Some(0.75));
}
