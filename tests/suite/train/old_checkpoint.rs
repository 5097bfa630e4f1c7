//! A checkpoint of format 1, written by commit 397dd4e (`assets/checkpoint-397dd4e`), is gone on with as if that commit did.

use std::{fs, path::Path};

use crate::common::{
    places::root,
    supervised::{checkpoints, edit_manifest, every, go, manifest, mend_sums, resume},
};
use jostle::train::{MetricsFile, Options, RunConfig, Supervisor};

/// Kernels may sum in another order than those of that commit, and other adapters do too.
const TOLERANCE: f64 = 1e-5;

fn asset(name: &str) -> std::path::PathBuf {
    root().join("assets/checkpoint-397dd4e").join(name)
}

/// A copy of the run, which a test may go on with.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &to) } else { fs::copy(&path, &to).map(|_| ()).unwrap() }
    }
}

#[test]
fn its_next_five_losses_are_those_of_its_commit() {
    let dir = tempfile::tempdir().unwrap();
    copy(&asset("run"), dir.path());
    let (expected, _) = MetricsFile::read(&asset("next-losses.jsonl")).unwrap();
    let first = expected[0].step;
    assert_eq!(expected.iter().map(|row| row.step).collect::<Vec<_>>(), (first..first + 5).collect::<Vec<_>>());

    let mut notices = Vec::new();
    go(&mut resume(dir.path(), every(0)), Some(first + 5), &mut notices).unwrap();
    let (steps, _) = MetricsFile::read(&dir.path().join("metrics.jsonl")).unwrap();
    for expected in expected {
        let found = steps.iter().find(|row| row.step == expected.step).unwrap();
        let error = (found.loss - expected.loss).abs() / expected.loss;
        assert!(error < TOLERANCE, "{found:?}, expected {expected:?}");
        let course = |row: &jostle::train::StepRecord| (row.epoch, row.group, row.lr, row.sigma);
        assert_eq!(course(found), course(&expected));
    }
    let said = notices.join("\n");
    assert!(said.contains("a checkpoint of format 1"), "{said}");
    // What follows is of this version's format.
    let newest = checkpoints(dir.path()).pop().unwrap();
    assert_eq!(manifest(&newest).format, 2);
    assert!(newest.join("config.toml").exists());
}

/// What later versions add is missing in it, and the text that its graph's hash is of is no longer written.
#[test]
fn later_keys_and_another_text_of_its_graph_are_no_reason_to_refuse_it() {
    let dir = tempfile::tempdir().unwrap();
    copy(&asset("run"), dir.path());
    let checkpoint = checkpoints(dir.path()).pop().unwrap();
    edit_manifest(&checkpoint, |value| {
        for key in ["eval-noisy", "bn-recalibrate", "noise-scale"] {
            assert!(value["config"].as_object_mut().unwrap().remove(key).is_some());
        }
        value["identity"]["graph_sha256"] = "0".into();
    });
    mend_sums(&checkpoint);
    go(&mut resume(dir.path(), every(0)), Some(48), &mut Vec::new()).unwrap();
}

#[test]
fn its_configuration_is_read_with_the_keys_of_its_day() {
    RunConfig::resolve(Some(&asset("run/config.toml")), &Options::default()).unwrap();
}

/// Parameters of other names or shapes are no less another model than in a checkpoint of today.
#[test]
fn another_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    copy(&asset("run"), dir.path());
    let model = Options::parse(["--model", "mlp:64-17-10"]).unwrap();
    let mut supervisor = Supervisor::resume(dir.path(), &model, every(0), false, &mut |_| ()).unwrap();
    let message = go(&mut supervisor, None, &mut Vec::new()).unwrap_err().to_string();
    assert!(message.contains("parameter 0 was fc1.weight [16, 64], is fc1.weight [17, 64]"), "{message}");
}
