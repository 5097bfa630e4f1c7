//! The experiments on transformers at their shortest: arms with groups of their own, traces by block, what is reported.

use std::path::Path;

use serde_json::Value;

use crate::common::device;
use jostle::experiments::{Choices, Definition, ExperimentError, Outcome, Provenance, Surroundings, run};

fn short(name: &str, settings: &[&str], out: &Path) -> Result<Outcome, ExperimentError> {
    let definition = Definition::find(name)?;
    let overrides = settings.iter().map(|text| (*text).to_owned()).collect();
    let choices = Choices { scale: Some("short".to_owned()), overrides };
    let mut around =
        Surroundings { gpu: device(), problem: None, run: None, out: out.to_owned(), progress: &mut |_, _| Ok(()) };
    let outcome = run(&definition, &choices, &mut around)?;
    let by = Provenance { adapter: "test".to_owned(), command: "test".to_owned(), seconds: 1.0 };
    outcome.write(out, &definition, &by)?;
    Ok(outcome)
}

/// Of a run of an arm.
fn traces(outcome: &Outcome, arm: usize, seed: usize) -> &Value {
    &outcome.metrics[0]["arms"][arm]["runs"][seed]["traces"]
}

fn group_names(outcome: &Outcome) -> Vec<&str> {
    let groups = traces(outcome, 0, 0)["groups"].as_array().unwrap();
    groups.iter().map(|group| group["name"].as_str().unwrap()).collect()
}

/// What both experiments report, of the bundled data.
fn check(outcome: &Outcome, stem: &str, folder: &Path) {
    let arms = outcome.metrics[0]["arms"].as_array().unwrap();
    let names: Vec<&str> = arms.iter().map(|arm| arm["noise"].as_str().unwrap()).collect();
    assert_eq!(names, ["none", "all", "layer", "layer:projection"]);
    // Twice two for the packed weights and biases of one block; with sigma for the same expected penalty.
    let config = |arm: usize, key: &str| arms[arm]["config"][key].clone();
    assert_eq!([config(2, "groups"), config(3, "groups")], ["tensor", "projection"]);
    let ratio = config(3, "sigma").as_f64().unwrap() / config(2, "sigma").as_f64().unwrap();
    let tensors = traces(outcome, 0, 0)["hessian"]["tensors"].as_array().unwrap().len() as f64;
    assert!((ratio.powi(2) - (tensors + 4.0) / tensors).abs() < 1e-9, "{ratio} of {tensors} tensors");

    for arm in 0..4 {
        for matrix in ["hessian", "gauss_newton"] {
            let traces = traces(outcome, arm, 1);
            let groups = traces["groups"].as_array().unwrap();
            let sum: f64 = groups.iter().map(|group| group[matrix]["trace"].as_f64().unwrap()).sum();
            let whole = traces[matrix]["trace"].as_f64().unwrap();
            assert!((sum - whole).abs() < 1e-6 * whole.abs().max(1.0), "{matrix} of arm {arm}: {sum} and {whole}");
        }
    }

    let ids: Vec<&str> = outcome.claims.iter().map(|claim| claim.id.rsplit_once('.').unwrap().0).collect();
    assert!(ids.iter().zip([".all", ".layer", ".layer:projection"]).all(|(id, arm)| id.ends_with(arm)), "{ids:?}");
    assert!(outcome.claims.iter().all(|claim| claim.essential && claim.id.ends_with("Hessian-trace")));
    let regrouped = outcome.notes.iter().filter(|note| note.contains("noise layer:projection less layer:"));
    assert_eq!((ids.len(), outcome.notes.len(), regrouped.count()), (3, 3 * 2 + 3, 3));

    let by_group = outcome.tables.iter().filter(|table| table.title.contains("by group"));
    for table in by_group.clone() {
        assert_eq!((table.rows.len(), table.headers.len()), (group_names(outcome).len(), 1 + 4 + 3));
        assert_eq!(table.headers[7], "layer:projection less none");
    }
    assert_eq!(by_group.count(), 2);
    for name in ["report.md", "report.html", "metrics.json", "verdict.json"].map(str::to_owned).into_iter().chain([
        format!("{stem}.svg"),
        format!("{stem}-groups.svg"),
        format!("{stem}-layer-projection-seed1.jsonl"),
    ]) {
        assert!(folder.join(&name).metadata().unwrap().len() > 100, "{name}");
    }
}

#[test]
fn noise_on_a_gpt_is_reported_by_block_and_with_projections_apart() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = short("gpt-noise", &[], folder.path()).unwrap();
    check(&outcome, "gpt-1x2x8-8", folder.path());
    assert_eq!(
        group_names(&outcome),
        [
            "transformer.wte.weight",
            "transformer.wpe.weight",
            "transformer.h.0",
            "transformer.ln_f.weight + transformer.ln_f.bias"
        ]
    );
}

#[test]
fn noise_on_a_vit_is_reported_by_block_and_with_projections_apart() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = short("vit-noise", &[], folder.path()).unwrap();
    check(&outcome, "vit-1x2x8-4", folder.path());
    assert!(group_names(&outcome).contains(&"blocks.0"), "{:?}", group_names(&outcome));
}

#[test]
fn an_arm_that_there_is_not_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (setting, part) in [
        ("modes=['none', 'layer:head']", "head"),
        ("modes=['none', 'layers']", "layers"),
        ("modes=['none:block', 'layer']", "begin with none"),
        ("trace_groups='head'", "head"),
    ] {
        let message = short("gpt-noise", &[setting], folder.path()).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains(part) && message.contains("gpt-noise"), "{setting}: {message}");
    }
}
