//! `jostle bench --rule` and `--rules`: what a step of each rule looks at, and what the command prints. Nothing here is about time.

use std::process::{Command, Output};

use crate::common::places::program;
use jostle::{nn::Model, rules::RuleKind, train::RunConfig};
use serde_json::Value;

/// So many rounds of a step each.
fn bench(rounds: &str, more: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.args(["bench", "--model", "mlp:8-6-4", "--timed-steps", rounds, "--rounds", rounds, "--seconds", "1"]);
    command.args(more).output().unwrap()
}

fn succeed(rounds: &str, more: &[&str]) -> String {
    let output = bench(rounds, more);
    assert!(output.status.success(), "{more:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(more: &[&str]) -> String {
    let output = bench("1", more);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{more:?}: {message}");
    message
}

/// Gradients and losses over a step's samples, and passes.
fn counts(rule: RuleKind, model: &str) -> (f64, f64, usize) {
    let model: Model = model.parse().unwrap();
    let compiled = RunConfig::published(rule).rule_for(&model).unwrap().compiled();
    (compiled.gradients(), compiled.losses(), compiled.phases().len())
}

#[test]
fn a_part_of_a_step_counts_as_its_share() {
    for rule in RuleKind::ALL {
        let expected = match rule {
            RuleKind::Sam | RuleKind::Asam | RuleKind::Nso => (2.0, 0.0, 2),
            RuleKind::MSam => (2.0, 0.0, 16),
            RuleKind::Lpf => (1.0, 0.0, 8),
            RuleKind::MRwp => (1.0, 0.0, 2),
            RuleKind::Mezo => (0.0, 2.0, 2),
            _ => (1.0, 0.0, 1),
        };
        assert_eq!(counts(rule, "mlp1"), expected, "{rule}");
    }
    // As published batch norms' statistics are those of the clean weights, in a pass of its own.
    assert_eq!(counts(RuleKind::Nso, "resnet20"), (2.0, 1.0, 3));
}

#[test]
fn several_rules_stand_beside_a_plain_step_and_first_another_plain_one() {
    let said = succeed("1", &["--json", "--batch", "8", "--rules", "noise,m-sam,ivon,mezo"]);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&report["model"], &report["batch"], &report["optimizer"]),
        (&"mlp:8-6-4".into(), &8.into(), &"sgd".into())
    );
    let count = |step: &Value, key: &str| step[key].as_f64().unwrap();
    let looks = |step: &Value| (count(step, "gradients"), count(step, "losses"), count(step, "passes"));
    assert_eq!(looks(&report["plain"]), (1.0, 0.0, 1.0));
    let expected = [
        ("plain", (1.0, 0.0, 1.0)),
        ("noise layer", (1.0, 0.0, 1.0)),
        ("m-sam", (2.0, 0.0, 16.0)),
        ("ivon", (1.0, 0.0, 1.0)),
        ("mezo", (0.0, 2.0, 2.0)),
    ];
    let rules = report["rules"].as_array().unwrap();
    let found: Vec<_> = rules.iter().map(|step| (step["rule"].as_str().unwrap(), looks(step))).collect();
    assert_eq!(found, expected);
    let is_time = |value: &Value| value.as_f64().is_some_and(|number| number.is_finite() && number > 0.0);
    for step in rules {
        assert_eq!(step["rounds"], 1, "{step}");
        // A single round's ratio is that of its times.
        let ratio = step["ms"].as_f64().unwrap() / step["plain"]["ms"].as_f64().unwrap();
        assert!(is_time(&step["ms"]) && step["plain"]["ratio"].as_f64() == Some(ratio), "{step}");
        assert_eq!(step.get("noisy_adam").is_some(), step["rule"] == "ivon", "{step}");
        assert!(step.get("kernels").is_none(), "nobody asked for them");
    }
}

#[test]
fn one_rule_has_its_parameters_and_kernels_if_asked_for() {
    let text = succeed("3", &["--rule", "nso", "--pairs", "3", "--profile"]);
    let line = text.lines().find(|line| line.starts_with("nso ")).unwrap();
    assert!(line.contains('±') && line.ends_with("6.0     0.0       6       3"), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("plain  ")), "one rule needs no control: {text}");
    assert_eq!(text.matches("Time per kernel").count(), 2, "{text}");
    let text = succeed("1", &["--rule", "ivon"]);
    assert!(
        text.contains("ivon over adam with noise all: ") && text.contains("one round: no standard error"),
        "{text}"
    );
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    for (more, part) in [
        (&["--rules", "sam,nothing"][..], "unknown rule \"nothing\""),
        (&["--rules", "sam", "--rule", "nso"], "rules: give them or a single rule, found both"),
        (&["--rules", "sam,nso", "--rho", "0.1"], "rho: a parameter of rule sam"),
        (&["--rules", "sam", "--roofline"], "cannot be used with"),
        (&["--rule", "sam", "--roofline"], "rule: roofline measures none, expected noise"),
        (&["--rule", "sam", "--hessian"], "rule: hessian measures none, expected noise"),
        (&["--rule", "sam", "--noise", "all"], "moves the weights by itself"),
        (&["--rule", "mezo", "--optimizer", "adam"], "it has an update of its own"),
        (&["--rule", "lpf", "--batch", "4"], "8 parts are more than the 4 samples"),
    ] {
        let message = refused(more);
        assert!(message.contains(part), "{more:?}: {message}");
    }
}
