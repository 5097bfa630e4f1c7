//! `jostle export`: the metrics of a run as CSV.

use std::{fs, path::Path, process::Command};

use crate::common::places::program;

/// Exit code, standard output and errors of `jostle export`, in a folder.
fn export(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(program()).arg("export").args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

const STEPS: &str = r#"{"kind":"step","step":0,"epoch":0,"lr":0.1,"sigma":0.05,"group":2,"loss":2.302585092994046}
{"kind":"step","step":1,"epoch":0,"lr":1e-7,"momentum":0.85,"sigma":0.0,"loss":null}
"#;
const EPOCH: &str = r#"{"kind":"epoch","epoch":1,"step":2,"train_loss":null,"test_loss":0.5,"test_accuracy":1.0,"noisy":{"test_loss":0.75},"skipped_steps":3,"loss_scale":32768.0,"l1_norm":10.0,"l2_norm":0.1,"samples_per_second":1234.5}
"#;
const STEPS_CSV: &str = "step,epoch,lr,momentum,sigma,group,loss,slope\n\
    0,0,0.1,,0.05,2,2.302585092994046,\n\
    1,0,1e-7,0.85,0.0,,NaN,\n";
const EPOCH_ROW: &str = "1,2,NaN,,,,0.5,1.0,,,,,,,,0.75,,,,,,,,32768.0,3,10.0,0.1,1234.5";

fn run(folder: &Path) {
    fs::create_dir(folder.join("run")).unwrap();
    fs::write(folder.join("run/metrics.jsonl"), format!("{STEPS}{EPOCH}")).unwrap();
}

#[test]
fn steps_and_evaluations_are_a_file_each() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path());
    let (status, output, errors) = export(dir.path(), &["--csv", "run"]);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    assert_eq!(output, "2 steps written to run/steps.csv\n1 evaluations written to run/epochs.csv\n");
    assert_eq!(fs::read_to_string(dir.path().join("run/steps.csv")).unwrap(), STEPS_CSV);
    let epochs = fs::read_to_string(dir.path().join("run/epochs.csv")).unwrap();
    let lines: Vec<&str> = epochs.lines().collect();
    assert_eq!(lines[1], EPOCH_ROW);
    assert_eq!(lines[0].split(',').count(), EPOCH_ROW.split(',').count());
    assert!(lines[0].starts_with("epoch,step,train_loss,train_accuracy,validation_loss,"), "{epochs}");
}

#[test]
fn files_go_where_asked_or_to_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path());
    // Of several runs in one folder, as a comparison leaves them.
    fs::rename(dir.path().join("run/metrics.jsonl"), dir.path().join("run/layer-seed0.jsonl")).unwrap();
    let (status, output, _) = export(dir.path(), &["--csv", "run/layer-seed0.jsonl", "--out", "csv/there", "--json"]);
    assert_eq!(status, Some(0));
    let output: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(
        output["files"][0],
        serde_json::json!({ "kind": "steps", "rows": 2, "path": "csv/there/layer-seed0-steps.csv" })
    );
    assert_eq!(fs::read_to_string(dir.path().join("csv/there/layer-seed0-steps.csv")).unwrap(), STEPS_CSV);
    let (status, output, errors) = export(dir.path(), &["--csv", "run/layer-seed0.jsonl", "--stdout", "steps"]);
    assert_eq!((status, output.as_str(), errors.as_str()), (Some(0), STEPS_CSV, ""));
    assert_eq!(fs::read_dir(dir.path().join("run")).unwrap().count(), 1, "no file is written");
}

/// The end of a run that is under way, or was killed, may be in the middle of a line.
#[test]
fn a_line_that_is_not_whole_is_left_out_and_told() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path());
    fs::write(dir.path().join("run/metrics.jsonl"), format!("{STEPS}{}", &EPOCH[..50])).unwrap();
    let (status, output, errors) = export(dir.path(), &["--csv", "run"]);
    assert_eq!(status, Some(0), "{errors}");
    assert!(output.contains("2 steps") && output.contains("0 evaluations"), "{output}");
    assert_eq!(errors.trim(), "run/metrics.jsonl: the last line is not whole yet and left out");
}

#[test]
fn what_is_no_run_is_named() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path());
    let broken = format!("{STEPS}{{\"kind\":\"row\"}}\n{EPOCH}");
    fs::write(dir.path().join("broken.jsonl"), broken).unwrap();
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--csv", "absent"], 1, "absent/metrics.jsonl: No such file"),
        (&["--csv", "broken.jsonl"], 1, "broken.jsonl: line 3: unknown variant `row`"),
        (&["--csv", "run", "--out", "broken.jsonl"], 1, "broken.jsonl: File exists"),
        (&["run"], 2, "--csv"),
        (&["--csv", "run", "--stdout", "steps", "--json"], 2, "--stdout: expected this or --json, found both"),
    ];
    for (arguments, code, message) in cases {
        let (status, _, errors) = export(dir.path(), arguments);
        assert_eq!(status, Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(message), "{arguments:?}: {errors}");
    }
    assert_eq!(fs::read_dir(dir.path().join("run")).unwrap().count(), 1, "nothing was written");
}
