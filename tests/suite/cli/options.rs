//! Options that commands share mean the same in each.

use std::{path::Path, process::Command};

use crate::common::places::program;
use jostle::{
    nn::read_tensors,
    noise::FreshLabels,
    rules::RuleKind,
    train::{Prepared, RunConfig},
};

/// Exit code, standard output and errors.
fn jostle(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(program()).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn succeed(arguments: &[&str]) -> String {
    let (status, output, errors) = jostle(arguments);
    assert_eq!(status, Some(0), "{arguments:?}: {errors}");
    output
}

/// Shape of a tensor of a safetensors file.
fn shape(path: &Path, name: &str) -> Vec<usize> {
    read_tensors(path).unwrap().into_iter().find(|tensor| tensor.name == name).unwrap().shape
}

#[test]
fn noise_is_of_the_model_that_training_builds_for_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("noise.safetensors");
    let noise = ["noise", "--noise", "all", "--step", "0", "--out", out.to_str().unwrap(), "--model", "cnn1"];
    succeed(&[&noise[..], &["--data", "fashion-mnist"]].concat());
    assert_eq!(shape(&out, "conv1.weight"), [6, 1, 5, 5]);
    succeed(&[&noise[..], &["--data", "cifar100"]].concat());
    assert_eq!((shape(&out, "conv1.weight"), shape(&out, "fc3.weight")), (vec![6, 3, 5, 5], vec![100, 84]));
}

/// The products' sizes tell the features of a sample.
#[test]
fn bench_is_of_the_model_that_training_builds_for_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("net.toml");
    std::fs::write(&model, "layers = [{ type = \"flatten\" }, { type = \"linear\", features = 10 }]").unwrap();
    let bench = ["--json", "bench", "--variants", "--rounds", "1", "--seconds", "0", "--batch", "2", "--model"];
    for (data, features) in [(&["--data", "digits"][..], 64), (&[], 3 * 32 * 32)] {
        let report = succeed(&[&bench[..], &[model.to_str().unwrap()], data].concat());
        assert!(report.contains(&format!("Forward m 2, n 10, k {features}")), "{data:?}: {report}");
    }
}

#[test]
fn bench_wants_a_number_of_samples() {
    for more in [&[][..], &["--roofline"], &["--variants"]] {
        let (status, _, errors) = jostle(&[&["bench", "--batch", "auto"], more].concat());
        assert_eq!(status, Some(2), "{errors}");
        assert!(errors.contains("batch: found auto, bench expects a number of samples"), "{errors}");
        assert_eq!(errors.trim().lines().count(), 1, "{errors}");
    }
}

#[test]
fn a_product_is_timed_in_the_precision_asked_for() {
    let adapters = succeed(&["--json", "adapters"]);
    for precision in ["f32", "f16"] {
        let arguments = ["--json", "bench", "--matmul", "16", "--rounds", "1", "--precision", precision];
        let (status, output, errors) = jostle(&arguments);
        if precision == "f16" && status == Some(3) && errors.contains("f16 in shaders") {
            eprintln!("skipped: no f16 among {adapters}");
            continue;
        }
        assert_eq!(status, Some(0), "{errors}");
        let report: serde_json::Value = serde_json::from_str(&output).unwrap();
        assert_eq!(report["precision"], precision);
        assert_eq!(report["layouts"].as_array().unwrap().len(), 3);
    }
}

/// A run by the command line, and what it leaves for `jostle eval --posterior`.
#[test]
fn posteriors_of_a_run_are_drawn_from() {
    let dir = tempfile::tempdir().unwrap();
    for (rule, others) in [("swag", "ivon"), ("ivon", "swag")] {
        let run = dir.path().join(rule).display().to_string();
        let train =
            ["train", "--model", "mlp:64-8-10", "--subset", "200", "--epochs", "5", "--rule", rule, "--out", &run];
        succeed(&train);
        let (config, weights) = (format!("{run}/config.toml"), format!("{run}/weights.safetensors"));
        let eval = ["eval", "--config", &config, "--weights", &weights, "--posterior", "3"];
        let output: serde_json::Value = serde_json::from_str(&succeed(&[&eval[..], &["--json"]].concat())).unwrap();
        assert_eq!((&output["posterior"]["kind"], &output["posterior"]["draws"]), (&rule.into(), &3.into()));
        assert!(output["posterior"]["loss"].as_f64().unwrap().is_finite(), "{output}");
        assert!(output["posterior"]["loss"] != output["loss"], "{output}");
        let (status, _, errors) = jostle(&[&eval[..], &["--posterior-of", others]].concat());
        assert_eq!(status, Some(2));
        assert!(errors.contains(&format!("is of rule {rule}, expected {others}")), "{errors}");
    }
}

#[test]
fn labels_of_an_epoch_are_those_that_training_draws() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("labels.safetensors");
    let noise = ["noise", "--rule", "fresh-labels", "--fresh-label-noise", "0.3", "--subset", "50", "--seed", "4"];
    succeed(&[&noise[..], &["--label-noise", "0.2", "--epoch", "2", "--out", out.to_str().unwrap()]].concat());
    let config = RunConfig {
        rule: RuleKind::FreshLabels,
        fresh_label_noise: Some(0.3),
        label_noise: 0.2,
        subset: Some(50),
        seed: 4,
        ..RunConfig::default()
    };
    let mut labels = Prepared::load(&config).unwrap().split.train.targets.labels().to_vec();
    FreshLabels::new(0.3, 4).replace(2, 0..50, &mut labels, 10);
    let found = read_tensors(&out).unwrap();
    assert_eq!((found.len(), found[0].name.as_str(), &found[0].shape), (1, "labels", &vec![50]));
    assert_eq!(found[0].values, labels.iter().map(|label| *label as f32).collect::<Vec<_>>());
}
