//! Options that make no sense: one sentence that names the key, exit code 2, and nothing is written.

use std::process::Command;

use crate::common::places::program;

/// Refused before any adapter is opened: there is none here.
fn refused(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(program())
        .args(arguments)
        .current_dir(folder.path())
        .env("VK_DRIVER_FILES", "none.json")
        .env("JOSTLE_ADAPTER", "none")
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
    assert_eq!(errors.trim_end().lines().count(), 1, "one sentence: {errors}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{arguments:?} has written something");
    errors
}

#[test]
fn schedules_and_data_that_make_no_sense() {
    let cases: [(&[&str], &str); 8] = [
        (
            &["train", "--schedule", "multistep", "--milestones", "5,3"],
            "milestones: have to be at least 1 and to ascend",
        ),
        (&["train", "--schedule", "multistep"], "milestones: schedule multistep needs at least one"),
        (&["train", "--schedule-unit", "step", "--steps", "0"], "schedule-unit: step needs a number of steps"),
        (&["train", "--label-noise", "1"], "label-noise: has to be in [0, 1), found 1"),
        (&["train", "--label-noise=-0.1"], "label-noise: has to be in [0, 1), found -0.1"),
        (&["noise", "--data", "mnits", "--step", "3", "--out", "o"], "unknown data source `mnits`: expected digits"),
        (&["compare", "--label-noise", "1.5"], "label-noise: has to be in [0, 1), found 1.5"),
        (
            &[
                "noise",
                "--noise",
                "all",
                "--schedule-unit",
                "step",
                "--noise-schedule",
                "cosine",
                "--step",
                "3",
                "--out",
                "eps.safetensors",
            ],
            "noise-schedule: cosine by the step needs the run's number of steps: give steps",
        ),
    ];
    for (arguments, message) in cases {
        let errors = refused(arguments);
        assert!(errors.contains(message), "{errors}");
    }
}

#[test]
fn rules_that_cannot_be_compared() {
    let cases: [(&[&str], &str); 6] = [
        (&["--rules", "sam", "--grid", "rho=0.1,0.2"], "--grid: needs --validation"),
        (&["--rules", "noise:all,nso", "--rho", "0.1"], "rho: no arm has it, of noise:all, nso"),
        (&["--rules", "sam,noise:none", "--validation", "0.1", "--grid", "pairs=1,2"], "pairs: no arm has it"),
        (&["--rules", "sam,sam"], "rules: sam is there twice"),
        (&["--rules", "sam", "--rule", "nso"], "--rule: the rules are those of --rules"),
        (&["--rules", "mezo", "--momentum", "0.9"], "momentum: 0.9 does not go with rule mezo"),
    ];
    for (arguments, message) in cases {
        let errors = refused(&[&["compare"], arguments].concat());
        assert!(errors.contains(message), "{errors}");
    }
}
