//! The paper's neural experiments end to end on the bundled digits, and what bad input gets.

use std::path::Path;

use crate::common::device;
use jostle::{
    analysis::TraceOptions,
    experiments::{Choices, Definition, ExperimentError, Outcome, Provenance, Surroundings, run},
    noise::Mode,
    train::{Prepared, RunConfig, Trainer},
};

fn experiment(name: &str, settings: &[&str], out: &Path) -> Result<Outcome, ExperimentError> {
    let definition = Definition::find(name)?;
    let choices = Choices { scale: None, overrides: settings.iter().map(|text| (*text).to_owned()).collect() };
    let mut around =
        Surroundings { gpu: device(), problem: None, run: None, out: out.to_owned(), progress: &mut |_, _| Ok(()) };
    let outcome = run(&definition, &choices, &mut around)?;
    let by = Provenance { adapter: "test".to_owned(), command: "test".to_owned(), seconds: 1.0 };
    outcome.write(out, &definition, &by)?;
    Ok(outcome)
}

/// A narrow ResNet-18 on the digits, for seconds.
const SHORT: [&str; 9] = [
    "train.data=digits",
    "train.normalise=data",
    "train.subset=64",
    "train.test-subset=50",
    "train.epochs=2",
    "models=['resnet18:4']",
    "seeds=2",
    "trace_samples=20",
    "trace_probes=2",
];

/// A run ends as any that is told to stop, and no other begins.
#[test]
fn a_listener_may_stop_the_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut heard = 0;
    let mut stop = |_: f64, _: &str| {
        heard += 1;
        Err(ExperimentError::Stopped)
    };
    let out = folder.path().to_owned();
    let mut around = Surroundings { gpu: device(), problem: None, run: None, out, progress: &mut stop };
    let definition = Definition::find("cifar10-resnet18").unwrap();
    let choices = Choices { scale: None, overrides: SHORT.map(str::to_owned).to_vec() };
    let found = run(&definition, &choices, &mut around).map(|_| ());
    assert!(matches!(found, Err(ExperimentError::Stopped)), "{found:?}");
    assert_eq!(heard, 1);
}

#[test]
fn arms_over_seeds_are_reported_with_paired_differences() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = experiment("cifar10-resnet18", &SHORT, folder.path()).unwrap();
    let metrics = &outcome.metrics[0];
    let arms = metrics["arms"].as_array().unwrap();
    let names: Vec<&str> = arms.iter().map(|arm| arm["noise"].as_str().unwrap()).collect();
    assert_eq!(names, ["none", "all", "layer"]);
    let accuracy =
        |arm: usize, seed: usize| arms[arm]["runs"][seed]["epochs"][1]["test_accuracy"].as_f64().unwrap() * 100.0;
    let difference = |seed| accuracy(2, seed) - accuracy(0, seed);
    let (mean, half) = ((difference(0) + difference(1)) / 2.0, 12.706 * (difference(0) - difference(1)).abs() / 2.0);
    let table = outcome.tables.iter().find(|table| table.title.contains("paired")).unwrap();
    let cell = format!("{mean:+.2} ({:+.2} to {:+.2})", mean - half, mean + half);
    assert_eq!(table.rows[1][1], cell, "Student's interval with one degree of freedom");
    let trace = |arm: usize, seed: usize| arms[arm]["runs"][seed]["traces"]["hessian"]["trace"].as_f64().unwrap();
    let less = ((trace(1, 0) - trace(0, 0)) + (trace(1, 1) - trace(0, 1))) / 2.0;
    assert!((outcome.claims[0].measured.value - less).abs() < 1e-9 * less.abs() && outcome.claims.len() == 2);
    let told = |note: &String| note.contains("paired over 2 seeds") && note.contains("of 4 comparisons");
    assert!(outcome.notes.iter().all(told) && outcome.notes.len() == 4, "{:?}", outcome.notes);
    for name in ["report.md", "report.html", "metrics.json", "verdict.json", "resnet18-4.png", "resnet18-4.svg"] {
        assert!(folder.path().join(name).metadata().unwrap().len() > 100, "{name}");
    }
    let lines = std::fs::read_to_string(folder.path().join("resnet18-4-layer-seed1.jsonl")).unwrap();
    assert_eq!(lines.lines().filter(|line| line.contains("\"kind\":\"epoch\"")).count(), 2);
}

/// Shared by all seeds, the probes' error would not average out; shared by the modes of one seed, it takes itself away.
#[test]
fn each_seed_has_probes_of_its_own_and_the_modes_share_them() {
    let trace = |seed: u64, noise: Mode| {
        let config = RunConfig { model: "mlp:64-8-10".to_owned(), seed, noise, ..RunConfig::default() };
        let prepared = Prepared::load(&config).unwrap();
        let trainer = Trainer::new(device(), &config, &prepared).unwrap();
        let shared = TraceOptions { probes: 2, ..TraceOptions::default() };
        [trainer.traces(None, 2).unwrap().hessian, trainer.hessian_trace(None, shared).unwrap()]
            .map(|estimate| estimate.trace)
    };
    for seed in [3, 4] {
        let [own, shared] = trace(seed, Mode::None);
        assert!((own - shared).abs() > 1e-6 * shared.abs(), "seed {seed}: {own} by the probes of all seeds");
        assert_eq!(trace(seed, Mode::Layer)[0], own, "at the same weights");
    }
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, more: &[&str]| {
        let settings: Vec<&str> = SHORT.iter().chain(more).copied().collect();
        experiment(name, &settings, folder.path()).map(|_| ()).unwrap_err().to_string()
    };
    for (setting, part) in [
        ("models=[]", "models"),
        ("modes=['layer']", "modes"),
        ("modes=['none']", "noisy"),
        ("seeds=0", "seeds"),
        ("trace_probes=0", "probes"),
        ("train.lr=-1", "lr"),
        ("train.lrs=1", "lrs"),
        ("models=['resnet19']", "resnet19"),
    ] {
        let message = refused("cifar100-vgg11", &[setting]);
        assert!(message.contains(part), "{setting}: {message}");
    }
    // The data of the experiment are not bundled: the message says which files, where from and where to.
    let message = refused("cifar100-vgg11", &["train.data=cifar:/nowhere/cifar100"]);
    assert!(message.contains("/nowhere/cifar100"), "{message}");
}
