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

#[test]
fn rules_that_make_no_sense() {
    let cases: [(&[&str], &str); 14] = [
        (&["--rule", "sam", "--pairs", "2"], "pairs: a parameter of rule nso, the rule is sam"),
        (&["--rho", "0.1"], "rho: a parameter of rule sam, asam, m-sam, msam, the rule is noise"),
        (&["--rule", "sam", "--rho", "0"], "rho: has to be positive, found 0"),
        (&["--rule", "sam", "--rho=-1"], "rho: has to be positive, found -1"),
        (&["--rule", "ivon", "--ess", "0"], "ess: has to be positive, found 0"),
        (
            &["--rule", "m-sam", "--sam-parts", "9", "--batch", "8"],
            "sam-parts: 9 parts are more than the 8 samples of a step",
        ),
        (&["--rule", "nso", "--nso-lambda", "1"], "nso-lambda: has to be in [0, 1), found 1"),
        (
            &["--rule", "sam", "--noise", "layer"],
            "noise: rule sam moves the weights by itself, expected none, found layer",
        ),
        (
            &["--rule", "ivon", "--optimizer", "adam"],
            "optimizer: adam does not go with rule ivon: it has an update of its own",
        ),
        (
            &["--rule", "mezo", "--momentum", "0.9"],
            "momentum: 0.9 does not go with rule mezo: it keeps nothing from step to step",
        ),
        (
            &["--rule", "arwp", "--noise-scale", "absolute"],
            "noise-scale: absolute does not go with rule arwp: its history is of filters",
        ),
        (
            &["--rule", "msam", "--optimizer", "schedule-free"],
            "optimizer: schedule-free does not go with rule msam: it has no momentum to look ahead along",
        ),
        (
            &["--optimizer", "schedule-free", "--schedule", "cosine"],
            "schedule, warmup-steps: optimizer schedule-free goes by a constant learning rate",
        ),
        (
            &["--optimizer", "muon", "--data", "digits", "--model", "mlp:64-24-10"],
            "optimizer: muon moves the matrices between a network's first and last, and mlp:64-24-10 has none",
        ),
    ];
    for (arguments, message) in cases {
        let errors = refused(&[&["train"], arguments].concat());
        assert!(errors.contains(message), "{errors}");
    }
    let errors = refused(&["noise", "--rule", "sam", "--step", "0", "--out", "o"]);
    assert!(errors.contains("rule: sam draws no noise"), "{errors}");
}

#[test]
fn rules_and_posteriors_that_make_no_sense() {
    let weights = ["eval", "--weights", "none.safetensors"];
    let eval = |more: &[&'static str]| [&weights[..], more].concat();
    let cases = [
        (vec!["train", "--rule", "fresh-labels"], "fresh-label-noise: rule fresh-labels needs the share of labels"),
        (vec!["train", "--rule", "fresh-labels", "--fresh-label-noise", "1"], "has to be in [0, 1), found 1"),
        (vec!["train", "--fresh-label-noise", "0.1"], "a parameter of rule fresh-labels, the rule is noise"),
        (vec!["noise", "--rule", "fresh-labels", "--out", "o"], "fresh-label-noise: rule fresh-labels needs"),
        (vec!["noise", "--noise", "all", "--out", "o"], "--step: expected the step that the noise is of"),
        (vec!["train", "--rule", "swag", "--swag-rank", "1"], "swag-rank: has to be at least 2, found 1"),
        (vec!["train", "--rule", "swag", "--epochs", "2"], "they take weights 1 times, 2 are the least"),
        (vec!["train", "--rule", "swag", "--swag-start", "1"], "swag-start: has to be in [0, 1), found 1"),
        (eval(&["--posterior", "0", "--posterior-of", "swag"]), "--posterior: expected at least 1 draw, found 0"),
    ];
    for (arguments, message) in cases {
        let errors = refused(&arguments);
        assert!(errors.contains(message), "{errors}");
    }
}

#[test]
fn means_over_draws_that_are_none() {
    let cases: [(&[&str], &str); 6] = [
        (&["0"], "--posterior: expected at least 1 draw, found 0"),
        (&["4"], "--posterior: noise none has no draws: give --noise all, layer or model"),
        (&["4", "--noise", "all", "--sigma", "0"], "--posterior: noise of sigma 0 has no draws"),
        (&["2", "--posterior-of", "ema"], "--posterior: the moving average is one point: expected 1 draw, found 2"),
        (&["4", "--noise", "all", "--loss", "mse"], "--posterior: loss mse has no probabilities of classes to average"),
        (
            &["4", "--noise", "all", "--data", "plays", "--model", "gpt:1x1x8@64", "--train-data"],
            "are more than 2^25, too many to be averaged",
        ),
    ];
    for (arguments, message) in cases {
        let errors = refused(&[&["eval", "--weights", "absent", "--posterior"], arguments].concat());
        assert!(errors.contains(message), "{errors}");
    }
}
