//! Attention over the width end to end, short: what is exact is exact, and bad settings are named.

use std::path::Path;

use crate::common::device;
use jostle::experiments::{Choices, Definition, ExperimentError, Outcome, Provenance, Surroundings, Verdict, run};

fn attention_width(overrides: &[&str], out: &Path) -> Result<Outcome, ExperimentError> {
    let definition = Definition::find("attention-width")?;
    let overrides = overrides.iter().map(|text| (*text).to_owned()).collect();
    let choices = Choices { scale: Some("short".to_owned()), overrides };
    let mut around =
        Surroundings { gpu: device(), problem: None, run: None, out: out.to_owned(), progress: &mut |_, _| Ok(()) };
    let outcome = run(&definition, &choices, &mut around)?;
    let by = Provenance { adapter: "test".to_owned(), command: "test".to_owned(), seconds: 1.0 };
    outcome.write(out, &definition, &by)?;
    Ok(outcome)
}

/// Whatever the draws, queries and keys apart leave no even part; the other logits' claims are refuted by none.
#[test]
fn logits_have_no_even_part_where_queries_and_keys_are_apart() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = attention_width(&[], folder.path()).unwrap();
    let logits: Vec<_> = outcome.claims.iter().filter(|claim| claim.id.contains("logits")).collect();
    assert_eq!(logits.len(), 18);
    for claim in &logits {
        assert_ne!(claim.verdict(), Verdict::Fails, "{}: {:?}", claim.id, claim.measured);
    }
    let apart = logits.iter().filter(|claim| claim.id.ends_with("layer-by-projection.logits-even"));
    assert_eq!(apart.map(|claim| claim.verdict()).collect::<Vec<_>>(), [Verdict::Holds; 2]);
    for name in ["report.md", "report.html", "metrics.json", "attention-width.png", "attention-width.svg"] {
        assert!(folder.path().join(name).metadata().unwrap().len() > 100, "{name}");
    }
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (setting, part) in [
        ("widths=[64, 80]", "layer.head_dim has to divide"),
        ("layer.head_dim=0", "layer.head_dim"),
        ("layer.length=0", "layer.length"),
        ("sigma=-1.0", "sigma"),
        ("share=nan", "share"),
        ("cycles=1", "cycles"),
        ("blocks=1", "blocks"),
    ] {
        let message = attention_width(&[setting], folder.path()).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains(part) && message.contains("attention-width"), "{setting}: {message}");
    }
}
