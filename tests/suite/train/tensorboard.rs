//! TensorBoard's events of a run: those of its metrics, and after a resumption those of a run that never stopped.

use std::{collections::BTreeSet, fs, path::Path};

use crate::common::{
    events::{Logged, event_file, events},
    supervised::{begin, checkpoints, config, every, go, manifest, open, resume},
};
use jostle::train::{
    Control, EPOCH_COLUMNS, MetricsFile, Options, RunConfig, RunResult, STEP_COLUMNS, Supervisor, TrainError, Trainer,
};

fn watched() -> RunConfig {
    RunConfig { tensorboard: true, ..config() }
}

/// All but what goes by the clock.
fn timeless(run: &Path) -> Vec<Logged> {
    events(run).into_iter().filter(|logged| logged.tag != "epoch/samples_per_second").collect()
}

#[test]
fn a_resumed_run_leaves_the_events_of_an_unbroken_one() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| dir.path().join(name));
    go(&mut begin(&whole, &watched(), every(0)), None, &mut Vec::new()).unwrap();
    // In the first epoch, at its end, and in the last one, each after steps since the checkpoint before.
    go(&mut begin(&parts, &watched(), every(7)), Some(5), &mut Vec::new()).unwrap();
    for stop in [Some(13), Some(28), None] {
        // Pictures of a run that was stopped are of no use to it when it goes on, nor is half a record of one that was killed.
        let supervisor = resume(&parts, every(7));
        supervisor.add_picture("curves", 5, (1, 1), b"png").unwrap();
        drop(supervisor);
        let killed = [fs::read(event_file(&parts)).unwrap(), vec![0x18, 0, 0]].concat();
        fs::write(event_file(&parts), killed).unwrap();
        go(&mut resume(&parts, every(7)), stop, &mut Vec::new()).unwrap();
    }
    assert_eq!(timeless(&parts), timeless(&whole));
    let bytes = |run: &Path| fs::metadata(event_file(run)).unwrap().len();
    assert_eq!(bytes(&parts), bytes(&whole), "times differ, lengths do not");
}

/// Scalars of a tag, by step.
fn scalars(events: &[Logged], tag: &str) -> Vec<(u64, f32)> {
    events.iter().filter(|logged| logged.tag == tag).map(|logged| (logged.step, logged.scalar())).collect()
}

#[test]
fn scalars_are_the_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let config = RunConfig { ema: Some(0.9), eval_noisy: 1, ..watched() };
    go(&mut begin(dir.path(), &config, every(0)), None, &mut Vec::new()).unwrap();
    let events = events(dir.path());
    let (steps, epochs) = MetricsFile::read(&dir.path().join("metrics.jsonl")).unwrap();
    let losses: Vec<_> = steps.iter().map(|row| (row.step, row.loss as f32)).collect();
    assert_eq!(scalars(&events, "step/loss"), losses);
    assert_eq!(losses.len(), 30);
    let noisy = epochs.iter().map(|row| (row.step, row.noisy.unwrap().test_loss.unwrap() as f32));
    assert_eq!(scalars(&events, "epoch/noisy.test_loss"), noisy.collect::<Vec<_>>());
    // A scalar for each column that the rows have, and no others.
    let step = STEP_COLUMNS.iter().filter(|column| steps.iter().any(|row| (column.value)(row).is_some()));
    let epoch = EPOCH_COLUMNS.iter().filter(|column| epochs.iter().any(|row| (column.value)(row).is_some()));
    let tags = step.map(|column| format!("step/{}", column.name));
    let tags = tags.chain(epoch.map(|column| format!("epoch/{}", column.name)));
    let expected: BTreeSet<String> = tags.filter(|tag| !tag.ends_with("/step")).collect();
    let found = events.iter().filter(|logged| logged.is_scalar()).map(|logged| logged.tag.clone());
    assert_eq!(found.collect::<BTreeSet<_>>(), expected);
}

#[test]
fn histograms_are_of_the_weights_after_each_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let mut supervisor = begin(dir.path(), &watched(), every(0));
    let mut finish = |trainer: &Trainer<'_>, _: &RunResult, _| {
        let view = trainer.arena.tensor(&trainer.arena.weights, 0)?;
        Ok::<Vec<f32>, TrainError>(trainer.gpu().read(&view)?)
    };
    let (_, weights) = supervisor.run(&open, false, &mut |_| Ok(Control::Continue), &mut finish).unwrap();
    let events = events(dir.path());
    let first: Vec<&Logged> = events.iter().filter(|logged| logged.tag == "weights/fc1.weight").collect();
    // Two epochs of 13 steps, and the end.
    assert_eq!(first.iter().map(|logged| logged.step).collect::<Vec<_>>(), [13, 26, 30]);
    let [limits, counts] = [6, 7].map(|field| first[2].doubles(field));
    assert_eq!(counts.iter().sum::<f64>(), weights.len() as f64);
    let below = |limit: f64| weights.iter().filter(|weight| f64::from(**weight) < limit).count() as f64;
    assert_eq!(counts[..15].iter().sum::<f64>(), below(limits[14]));
    let tags: BTreeSet<&str> = events.iter().map(|logged| logged.tag.as_str()).collect();
    // The kinds of docs/metrics.md but for the picture, which `jostle train` adds.
    let kinds = tags.iter().map(|tag| tag.split('/').next().unwrap());
    assert_eq!(Vec::from_iter(kinds.collect::<BTreeSet<_>>()), ["configuration", "epoch", "step", "weights"]);
    let weights: Vec<_> = tags.into_iter().filter(|tag| tag.starts_with("weights/")).collect();
    assert_eq!(weights, ["weights/fc1.bias", "weights/fc1.weight", "weights/fc2.bias", "weights/fc2.weight"]);
}

#[test]
fn the_configuration_is_written_once_and_where_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    go(&mut begin(dir.path(), &watched(), every(0)), Some(5), &mut Vec::new()).unwrap();
    let fewer = Options::parse(["--log-every", "3"]).unwrap();
    let mut supervisor = Supervisor::resume(dir.path(), &fewer, every(0), false, &mut |_| ()).unwrap();
    go(&mut supervisor, None, &mut Vec::new()).unwrap();
    let texts: Vec<_> = events(dir.path()).into_iter().filter(|logged| logged.tag == "configuration").collect();
    assert_eq!(texts.iter().map(|logged| logged.step).collect::<Vec<_>>(), [0, 5]);
    assert!(texts[0].holds(b"    log-every = 1\n") && texts[1].holds(b"    log-every = 3\n"), "{texts:?}");
    assert!(texts[0].holds(b"    model = \"mlp:64-24-10\"\n"));
}

/// Asked for when the run resumes, scalars are complete; asked for no more, the file stays; a new run leaves none of an old one.
#[test]
fn events_may_be_wanted_later_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path();
    go(&mut begin(run, &config(), every(0)), Some(14), &mut Vec::new()).unwrap();
    assert!(!event_file(run).exists());
    assert_eq!(manifest(&checkpoints(run)[0]).events_bytes, None);
    let with = |given: &str| {
        let options = Options::parse([given]).unwrap();
        Supervisor::resume(run, &options, every(0), false, &mut |notice| panic!("{notice}")).unwrap()
    };
    go(&mut with("--tensorboard"), Some(28), &mut Vec::new()).unwrap();
    let found = events(run);
    assert_eq!(scalars(&found, "step/loss").iter().map(|(step, _)| *step).collect::<Vec<_>>(), Vec::from_iter(0..28));
    assert_eq!(scalars(&found, "epoch/test_loss").iter().map(|(step, _)| *step).collect::<Vec<_>>(), [13, 26, 28]);
    go(&mut with("--tensorboard=false"), None, &mut Vec::new()).unwrap();
    assert_eq!(events(run), found);
    go(&mut begin(run, &config(), every(0)), Some(1), &mut Vec::new()).unwrap();
    assert!(!event_file(run).exists());
}

#[test]
fn events_that_are_gone_are_named() {
    let dir = tempfile::tempdir().unwrap();
    go(&mut begin(dir.path(), &watched(), every(0)), Some(5), &mut Vec::new()).unwrap();
    fs::write(event_file(dir.path()), b"cut").unwrap();
    let message = go(&mut resume(dir.path(), every(0)), None, &mut Vec::new()).unwrap_err().to_string();
    assert!(message.contains("tfevents.0.jostle: holds 3 bytes, the checkpoint resumes after"), "{message}");
    fs::remove_file(event_file(dir.path())).unwrap();
    let message = go(&mut resume(dir.path(), every(0)), None, &mut Vec::new()).unwrap_err().to_string();
    assert!(message.contains("tfevents.0.jostle: ") && message.contains("step 5 stays"), "{message}");
}
