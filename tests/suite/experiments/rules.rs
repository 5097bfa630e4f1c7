//! The experiment on rules at its shortest: what it writes, and what is measured of each arm.

use crate::common::device;
use jostle::experiments::{Choices, Definition, Provenance, Surroundings, run};

#[test]
fn rules_are_measured_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path();
    let definition = Definition::find("rules").unwrap();
    let choices = Choices { scale: Some("short".to_owned()), overrides: Vec::new() };
    let mut around =
        Surroundings { gpu: device(), problem: None, run: None, out: out.to_owned(), progress: &mut |_, _| Ok(()) };
    let outcome = run(&definition, &choices, &mut around).unwrap();
    let by = Provenance { adapter: "test".to_owned(), command: "test".to_owned(), seconds: 1.0 };
    outcome.write(out, &definition, &by).unwrap();

    let arms = outcome.metrics["arms"].as_array().unwrap();
    let of_arms = |key: &str| arms.iter().map(|arm| arm[key].clone()).collect::<Vec<_>>();
    assert_eq!(of_arms("arm"), ["noise:none", "noise:all", "noise:layer", "sam", "nso", "ivon"]);
    assert_eq!(of_arms("gradient_evaluations"), [1.0, 1.0, 1.0, 2.0, 2.0, 1.0]);
    let quantities = ["test_accuracy", "test_loss", "brier", "ece", "train_loss", "trace", "largest_eigenvalue"];
    for arm in arms {
        let ends: Vec<_> = arm["runs"].as_array().unwrap().iter().map(|run| &run["end"]).collect();
        assert_eq!(ends.len(), 2);
        for quantity in quantities {
            assert!(ends.iter().all(|end| end[quantity].is_f64()), "{quantity} of {}", arm["arm"]);
        }
        assert!(arm["step_milliseconds"].as_f64().is_some_and(|time| time > 0.0));
        let name = format!("{}-seed1.jsonl", arm["arm"].as_str().unwrap().replace(':', "-"));
        assert!(out.join(&name).metadata().unwrap().len() > 100, "{name}");
    }
    // Every arm but the first has a claim on the trace and one on the test loss, sam and ivon one more each.
    assert_eq!(outcome.claims.len(), 5 * 2 + 2);
    assert!(outcome.claims.iter().all(|claim| claim.essential));
    for name in ["report.md", "report.html", "metrics.json", "verdict.json", "rules.svg"] {
        assert!(out.join(name).metadata().unwrap().len() > 100, "{name}");
    }
    let report = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(report.contains("ms a step") && report.contains("lowest: "), "{report}");
}
