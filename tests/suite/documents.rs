//! What documents name is there, and what is there is in the documents that promise all of it.

use std::{collections::BTreeSet, fs};

use jostle::train::{Column, EPOCH_COLUMNS, EpochRecord, Quality, STEP_COLUMNS, Scores, StepRecord};
use serde_json::Value;

use crate::common::places::root;

/// What stands between backquotes and is a path of this repository; capitals stand for a name to be chosen.
fn paths(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_path = |quoted: &&str| {
        let known = ["src/", "shaders/", "tests/", "examples/", "docs/", "fuzz/", "assets/", "scripts/"];
        known.iter().any(|folder| quoted.starts_with(folder)) && !quoted.contains("NAME") && !quoted.contains(' ')
    };
    quoted.filter(is_path).map(str::to_owned).collect()
}

#[test]
fn files_that_contributors_are_sent_to_exist() {
    for document in ["CONTRIBUTING.md", "docs/architecture.md", "docs/metrics.md"] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for path in paths(&text) {
            assert!(root().join(&path).exists(), "{document} names {path}, which is not there");
        }
    }
    let named = paths(&fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap());
    assert!(named.len() > 20, "the test looked in the wrong place: {named:?}");
}

/// What stands between backquotes in the first cells of the tables under a heading.
fn explained(text: &str, heading: &str) -> BTreeSet<String> {
    let (_, after) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = after.split("\n## ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

fn names<R>(columns: &[Column<R>]) -> BTreeSet<String> {
    let names: BTreeSet<String> = columns.iter().map(|column| column.name.to_owned()).collect();
    assert_eq!(names.len(), columns.len(), "a name is there twice");
    names
}

/// Keys of an object, after that of the object and a dot where they lie within one.
fn keys(value: &Value) -> BTreeSet<String> {
    let keys = value.as_object().unwrap().iter().flat_map(|(key, value)| match value {
        Value::Object(_) => keys(value).into_iter().map(|inner| format!("{key}.{inner}")).collect(),
        _ => vec![key.clone()],
    });
    keys.collect()
}

/// Rows with a value in every column; a field that is added to them is missing here, which does not compile.
fn full() -> (StepRecord, EpochRecord) {
    let step = StepRecord {
        step: 1,
        epoch: 2,
        lr: 3.0,
        momentum: Some(4.0),
        sigma: 5.0,
        group: Some(6),
        loss: 7.0,
        slope: Some(8.0),
    };
    let scores = Scores {
        train_loss: Some(1.0),
        train_accuracy: Some(2.0),
        validation_loss: Some(3.0),
        validation_accuracy: Some(4.0),
        test_loss: Some(5.0),
        test_accuracy: Some(6.0),
    };
    let epoch = EpochRecord {
        epoch: 1,
        step: 2,
        scores,
        noisy: Some(scores),
        average: Some(scores),
        quality: Some(Quality { nll: 7.0, brier: 8.0, ece: 9.0 }),
        loss_scale: Some(3.0),
        skipped_steps: Some(4),
        l1_norm: 5.0,
        l2_norm: 6.0,
        samples_per_second: 7.0,
    };
    (step, epoch)
}

#[test]
fn every_column_of_the_metrics_is_explained_and_no_other() {
    let text = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let (step, epoch) = full();
    let [step, epoch] = [serde_json::to_value(step).unwrap(), serde_json::to_value(epoch).unwrap()];
    for (heading, columns, row) in
        [("Steps", names(&STEP_COLUMNS), keys(&step)), ("Evaluations", names(&EPOCH_COLUMNS), keys(&epoch))]
    {
        assert_eq!(explained(&text, heading), columns, "{heading} as CSV and TensorBoard have them");
        assert_eq!(row, columns, "{heading} as metrics.jsonl has them");
    }
    assert_eq!(Vec::from_iter(explained(&text, "Kinds")), ["kind"]);
}

/// Each column has the value of the key of its name.
#[test]
fn columns_are_the_keys_of_their_names() {
    let (step, mut epoch) = full();
    for scores in [&mut epoch.noisy, &mut epoch.average].into_iter().flatten() {
        scores.train_loss = scores.train_loss.map(|loss| loss + 0.5);
    }
    let [steps, epochs] = [serde_json::to_value(step).unwrap(), serde_json::to_value(epoch).unwrap()];
    fn check<R>(columns: &[Column<R>], row: &R, written: &Value) {
        let csv = jostle::train::csv(columns, std::slice::from_ref(row));
        let (names, values) = csv.trim_end().split_once('\n').unwrap();
        for (name, value) in names.split(',').zip(values.split(',')) {
            let key = format!("/{}", name.replace('.', "/"));
            assert_eq!(written.pointer(&key).unwrap().to_string(), value, "{name}");
        }
    }
    check(&STEP_COLUMNS, &step, &steps);
    check(&EPOCH_COLUMNS, &epoch, &epochs);
}

#[test]
fn this_test_sees_what_it_looks_for() {
    assert_eq!(
        paths("see `src/ops/add.rs`, `shaders/NAME.wgsl`, `Op` and `docs/no.md`"),
        ["src/ops/add.rs", "docs/no.md"]
    );
    let text = "a\n## One\n| `a`, `b.c` | `not` |\n|---|---|\n| `d` | x |\n## Two\n| `e` | |\n";
    assert_eq!(Vec::from_iter(explained(text, "One")), ["a", "b.c", "d"]);
}
