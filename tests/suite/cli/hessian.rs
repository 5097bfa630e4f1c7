//! `jostle hessian` and what `jostle train` says of a trace: probes of their own, and an error only where there is one.

use std::process::Command;

use crate::common::places::program;
use serde_json::Value;

fn succeed(arguments: &[&str]) -> String {
    let output = Command::new(program()).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn probes_have_a_seed_of_their_own_and_one_has_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let model = ["--model", "mlp:64-8-10", "--subset", "64", "--test-subset", "20"];
    let train = ["train", "--steps", "2", "--batch", "32", "--hessian", "1", "--out", out.to_str().unwrap()];
    let said = succeed(&[&train[..], &model].concat());
    assert!(said.contains("(one probe: no standard error)") && !said.contains('±'), "{said}");

    let weights = out.join("weights.safetensors");
    let hessian = ["--json", "hessian", "--lanczos-steps", "0", "--weights", weights.to_str().unwrap()];
    let measure =
        |more: &[&str]| -> Value { serde_json::from_str(&succeed(&[&hessian[..], &model, more].concat())).unwrap() };
    let trace = |report: &Value| report["hessian"]["trace"].as_f64().unwrap();
    // A run's seed is only in its file.
    let seed = |seed: u64| {
        let file = dir.path().join(format!("seed-{seed}.toml"));
        std::fs::write(&file, format!("seed = {seed}")).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let first = measure(&["--probes", "2", "--config", &seed(3)]);
    assert!(first["hessian"]["standard_error"].as_f64().unwrap() > 0.0);
    // The run's seed decides on its noise alone.
    assert_eq!(trace(&first), trace(&measure(&["--probes", "2", "--config", &seed(4)])));
    assert_ne!(trace(&first), trace(&measure(&["--probes", "2", "--probe-seed", "4"])));
    assert!(measure(&["--probes", "1"])["hessian"]["standard_error"].is_null());
    // By modules: a row for each layer, with errors of their own.
    let by_module = measure(&["--probes", "3", "--by", "module"]);
    let groups = by_module["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 2);
    assert_eq!(groups[0]["name"], "fc1.weight + fc1.bias");
    assert_eq!(groups[0]["parts"], serde_json::json!(["fc1.weight", "fc1.bias"]));
    for matrix in ["hessian", "gauss_newton"] {
        let share = |group: &Value, key: &str| group[matrix][key].as_f64().unwrap();
        let sum: f64 = groups.iter().map(|group| share(group, "trace")).sum();
        assert!((sum - by_module[matrix]["trace"].as_f64().unwrap()).abs() < 1e-9 * sum.abs(), "{matrix}");
        assert!(groups.iter().all(|group| share(group, "standard_error") > 0.0), "{matrix}");
    }
    let text = succeed(&[&hessian[1..], &model, &["--probes", "3", "--groups", "module"]].concat());
    assert!(
        text.lines().any(|line| line.contains("fc2.weight + fc2.bias") && line.matches('±').count() == 2),
        "{text}"
    );
    let text = succeed(&[&hessian[1..], &model, &["--probes", "1"]].concat());
    assert!(text.contains("one probe: no standard error") && !text.contains('±'), "{text}");
}
