//! `jostle eval`: the quality of predictions as the run's metrics have it, and means over draws of weights.

use std::{path::Path, process::Command};

use crate::common::places::program;
use jostle::train::{EpochRecord, MetricsFile, Quality};
use serde_json::Value;

fn succeed(arguments: &[&str]) -> String {
    let output = Command::new(program()).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A short run with noise and a moving average, and the last of its evaluations.
fn trained(run: &Path) -> EpochRecord {
    let model = ["--model", "mlp:64-12-10", "--subset", "300", "--test-subset", "100", "--lr", "0.2"];
    let noise = ["--noise", "layer", "--sigma", "0.3", "--ema", "0.5", "--epochs", "2", "--out", run.to_str().unwrap()];
    let said = succeed(&[&["train"], &model[..], &noise].concat());
    let (_, records) = MetricsFile::read(&run.join("metrics.jsonl")).unwrap();
    let last = *records.last().unwrap();
    assert!(said.contains(&format!("test predictions: {}", last.quality.unwrap().text())), "{said}");
    last
}

fn quality(found: &Value) -> Quality {
    serde_json::from_value(found["quality"].clone()).unwrap()
}

#[test]
fn quality_and_means_over_draws() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let last = trained(&run);
    let [config, weights] = ["config.toml", "weights.safetensors"].map(|name| run.join(name).display().to_string());
    let eval = ["eval", "--config", &config, "--weights", &weights];
    let json =
        |more: &[&str]| -> Value { serde_json::from_str(&succeed(&[&["--json"], &eval[..], more].concat())).unwrap() };
    let found = json(&["--posterior", "3"]);
    assert_eq!(found["loss"].as_f64(), last.scores.test_loss);
    assert_eq!(Some(quality(&found)), last.quality);
    let mean = &found["posterior"];
    assert_eq!((mean["kind"].as_str(), mean["draws"].as_u64()), (Some("noise"), Some(3)));
    assert_eq!(mean["loss"].as_f64(), Some(quality(mean).nll));
    assert_ne!(quality(mean), quality(&found));
    assert_eq!(json(&["--posterior", "3"]), found, "draws are the same each time");
    let reseeded = json(&["--posterior", "3", "--posterior-seed", "1"]);
    assert_ne!(quality(&reseeded["posterior"]), quality(mean));
    let text = succeed(&[&eval[..], &["--posterior", "3"]].concat());
    assert!(text.contains(&format!("predictions: {}", quality(&found).text())), "{text}");
    let line = format!("mean of the probabilities over 3 draws of noise: accuracy {:.2} %, ", {
        100.0 * mean["accuracy"].as_f64().unwrap()
    });
    assert!(text.contains(&format!("{line}{}", quality(mean).text())), "{text}");

    // There are no batch norms whose statistics would be others than in training.
    let average = &json(&["--posterior", "1", "--posterior-of", "ema"])["posterior"];
    let trained = last.average.unwrap();
    assert_eq!(average["accuracy"].as_f64(), trained.test_accuracy);
    assert!((quality(average).nll - trained.test_loss.unwrap()).abs() < 2e-6, "{average}");

    // With the logits written, the same; without probabilities, none.
    let logits = dir.path().join("logits");
    assert_eq!(quality(&json(&["--logits", logits.to_str().unwrap()])), quality(&found));
    assert!(json(&["--loss", "mse"]).get("quality").is_none());
}
