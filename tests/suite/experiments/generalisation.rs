//! Generalisation end to end, short: everything is written, sigma does not depend on the test set, bad settings are named.

use std::{fs, path::Path};

use crate::common::device;
use jostle::{
    data::{DataSource, Dataset, Targets},
    experiments::{Choices, Definition, ExperimentError, Outcome, Provenance, Surroundings, Verdict, run},
};

/// A network and sizes for a second.
const SHORT: [&str; 9] = [
    "train.subset=60",
    "train.epochs=4",
    "levels.validation=40",
    "levels.label_noise=[0.0, 0.3]",
    "levels.sigmas=[0.1, 0.5]",
    "levels.net.widths=[8]",
    "levels.tuning_seeds=1",
    "levels.seeds=2",
    "widths.seeds=2",
];
const WIDTHS: &str = "widths.depths=[{sigma=0.1,net={label='net',hidden=1,activation='relu',widths=[8,16]}}]";

fn generalisation(more: &[&str], out: &Path) -> Result<Outcome, ExperimentError> {
    let definition = Definition::find("generalisation")?;
    let overrides = SHORT.iter().chain(more).map(|text| (*text).to_owned()).collect();
    let mut around =
        Surroundings { gpu: device(), problem: None, run: None, out: out.to_owned(), progress: &mut |_, _| Ok(()) };
    let outcome = run(&definition, &Choices { scale: None, overrides }, &mut around)?;
    let by = Provenance { adapter: "test".to_owned(), command: "test".to_owned(), seconds: 1.0 };
    outcome.write(out, &definition, &by)?;
    Ok(outcome)
}

/// An IDX folder with some samples for training and some for testing.
fn write_idx(folder: &Path, train: &Dataset, test: &Dataset) {
    for (name, data) in [("train", train), ("t10k", test)] {
        let shape = data.shape;
        let file = |kind: &str, sizes: &[usize], values: &[u8]| {
            let mut bytes = vec![0, 0, 8, sizes.len() as u8];
            bytes.extend(sizes.iter().flat_map(|size| (*size as u32).to_be_bytes()));
            bytes.extend(values);
            fs::write(folder.join(format!("{name}-{kind}-idx{}-ubyte", sizes.len())), bytes).unwrap();
        };
        file("images", &[data.len(), shape.height, shape.width], data.samples.as_bytes());
        file("labels", &[data.len()], &data.targets.labels().iter().map(|label| *label as u8).collect::<Vec<_>>());
    }
}

/// Two data sets that differ in their test parts alone: the tuning runs are the same to the last bit, and so is the choice.
#[test]
fn sigma_does_not_depend_on_the_test_set() {
    let digits = DataSource::Digits.load().unwrap();
    let mut wrong = digits.test.clone();
    let Targets::Classes { labels, .. } = &mut wrong.targets else { panic!("{:?}", wrong.targets) };
    labels.iter_mut().for_each(|label| *label = (*label + 1) % 10);
    let metrics = [&digits.test, &wrong].map(|test| {
        let folder = tempfile::tempdir().unwrap();
        write_idx(folder.path(), &digits.train, test);
        let data = format!("train.data='idx:{}'", folder.path().display());
        generalisation(&[&data, "widths.depths=[]"], folder.path()).unwrap().metrics
    });
    for level in 0..2 {
        let part = |metrics: &serde_json::Value, key: &str| metrics["levels"][level][key].clone();
        assert_eq!(part(&metrics[0], "tuned"), part(&metrics[1], "tuned"));
        assert_eq!(part(&metrics[0], "tuned").as_array().unwrap().len(), 4);
        let sigmas =
            |metrics| part(metrics, "tested").as_array().unwrap().iter().map(|arm| arm["sigma"].clone()).collect();
        let [found, expected]: [Vec<_>; 2] = [&metrics[0], &metrics[1]].map(sigmas);
        assert_eq!(found, expected);
        assert_ne!(
            part(&metrics[0], "tested"),
            part(&metrics[1], "tested"),
            "the test scores are those of the test set"
        );
    }
}

#[test]
fn a_short_run_writes_everything_and_claims_nothing_of_two_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = generalisation(&[WIDTHS], folder.path()).unwrap();
    assert_eq!(outcome.claims.len(), 2 + 1 + 2 + 2 + 1);
    assert_ne!(outcome.verdict(), Verdict::Holds, "4 epochs of two seeds");
    for name in ["report.md", "report.html", "metrics.json", "verdict.json", "generalisation.svg", "label-noise.png"] {
        assert!(folder.path().join(name).metadata().unwrap().len() > 100, "{name}");
    }
    let svg = fs::read_to_string(folder.path().join("generalisation.svg")).unwrap();
    assert!(["none", "all", "layer"].iter().all(|name| svg.contains(name)), "the legend has the arms' names");
}

#[test]
fn settings_that_cannot_be_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (setting, part) in [
        ("levels.label_noise=[1.0]", "levels.label_noise"),
        ("levels.sigmas=[]", "levels.sigmas"),
        ("levels.sigmas=[-0.1]", "levels.sigmas"),
        ("levels.validation=0", "levels.validation"),
        ("widths.seeds=0", "widths.seeds"),
        ("train.patience=2", "train.patience"),
        ("levels.validation=5", "leave none of class"),
        ("train.data=idx:/nowhere/at/all", "/nowhere/at/all"),
    ] {
        let message = generalisation(&[setting], folder.path()).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains(part), "{setting}: {message}");
    }
}
