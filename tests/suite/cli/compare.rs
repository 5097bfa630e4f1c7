//! `jostle compare --rules`: arms, lengths, values that are chosen, and what is refused.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::common::places::program;

const SMALL: [&str; 10] = [
    "--model",
    "mlp:64-8-10",
    "--subset=200",
    "--test-subset=50",
    "--validation=100",
    "--batch=25",
    "--epochs=3",
    "--seeds=2",
    "--log-every=0",
    "--hessian=1",
];

fn compare(out: &Path, options: &[&str]) -> Value {
    let output =
        Command::new(program()).args(["compare", "--json", "--out"]).arg(out).args(SMALL).args(options).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
    let written: Value = serde_json::from_slice(&fs::read(out.join("compare.json")).unwrap()).unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["rules"], written["rules"]);
    written
}

fn of_arms(report: &Value, key: &str) -> Vec<Value> {
    report["arms"].as_array().unwrap().iter().map(|arm| arm.pointer(key).unwrap().clone()).collect()
}

#[test]
fn values_are_chosen_by_the_validation_loss_and_arms_are_as_long_as_their_compute() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        ["--rules=noise:none,sam,nso", "--equal=compute", "--grid=rho=0.05,2", "--grid=lr=0.05,1e30", "--pairs=1"];
    let report = compare(folder.path(), &options);
    assert_eq!(of_arms(&report, "/label"), ["noise:none", "sam", "nso"]);
    assert_eq!(of_arms(&report, "/cost/gradient_evaluations"), [1.0, 2.0, 2.0]);
    assert_eq!(of_arms(&report, "/config/epochs"), [3, 2, 2]);
    let rules = &report["rules"];
    assert_eq!((&rules["equal"], &rules["left_out"]), (&"compute".into(), &Value::Array(Vec::new())));
    assert_eq!(rules["grid_seeds"], Value::from(vec![1_000_000]));
    let [none, sam] = [&rules["grid"][0], &rules["grid"][1]];
    let losses = |arm: &Value| -> Vec<Option<f64>> {
        arm["tried"].as_array().unwrap().iter().map(|tried| tried["validation_losses"][0].as_f64()).collect()
    };
    // A learning rate of 1e30 diverges.
    assert!(losses(none)[0].is_some() && losses(none)[1].is_none(), "{none}");
    let found = losses(sam);
    let values: Vec<String> =
        sam["tried"].as_array().unwrap().iter().map(|tried| tried["values"].to_string()).collect();
    let expected = [("0.05", "0.05"), ("0.05", "1e30"), ("2", "0.05"), ("2", "1e30")];
    assert_eq!(values, expected.map(|(rho, lr)| format!("[\"rho={rho}\",\"lr={lr}\"]")));
    assert!(found[1].is_none() && found[3].is_none(), "{found:?}");
    let best = if found[0] <= found[2] { 0 } else { 2 };
    assert_eq!(sam["chosen"], best);
    let rho: f64 = expected[best].0.parse().unwrap();
    assert_eq!((&report["arms"][1]["config"]["rho"], &report["arms"][1]["config"]["lr"]), (&rho.into(), &0.05.into()));
    assert_eq!(report["arms"][0]["config"]["rho"], Value::Null);
    assert!(report["arms"][1]["step_milliseconds"].as_f64().is_some_and(|time| time > 0.0));

    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    for text in ["Rules: mlp:64-8-10", "equal gradient evaluations", "seeds 1000000", "ms a step", "diverged", "chosen"]
    {
        assert!(page.contains(text), "{text}");
    }
    for name in ["noise-none-seed1.jsonl", "sam-seed0.jsonl", "compare.svg", "table.md"] {
        assert!(folder.path().join(name).metadata().unwrap().len() > 0, "{name}");
    }
}

/// Published defaults hold for what is not given, in the arms that have them.
#[test]
fn arms_have_their_rules_defaults_and_equal_epochs() {
    let folder = tempfile::tempdir().unwrap();
    let report = compare(folder.path(), &["--rules=noise:layer,ivon,lpf", "--sub-batches=5", "--beta2=0.9"]);
    assert_eq!(report["rules"]["equal"], "epochs");
    assert_eq!(of_arms(&report, "/config/epochs"), [3, 3, 3]);
    assert_eq!(of_arms(&report, "/config/weight-decay"), [5e-4, 1e-4, 5e-4]);
    assert_eq!(of_arms(&report, "/config/sigma"), [0.05, 0.05, 0.002]);
    assert_eq!(of_arms(&report, "/config/beta2"), [0.9, 0.9, 0.9]);
    assert_eq!(of_arms(&report, "/config/noise-scale"), ["absolute", "absolute", "filter"]);
    assert_eq!(report["arms"][2]["config"]["sub-batches"], 5);
    assert_eq!(
        (&report["arms"][2]["cost"]["passes"], &report["rules"]["grid_seeds"]),
        (&5.into(), &Value::Array(vec![]))
    );
}
