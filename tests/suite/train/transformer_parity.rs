//! A GPT and a ViT of odd sizes checked against PyTorch in float64: every step's loss and the weights after twenty steps.
//!
//! `scripts/make_transformer_parity.py` makes the fixtures, with the noise of `jostle noise`. Weights, text and images are drawn
//! on both sides by the same formulas.

use std::{collections::HashMap, path::Path};

use crate::common::{
    device,
    images::hashed_images,
    parity_file,
    transformers::{EVERY, IMAGES, text_file, weights_file},
};
use jostle::{
    data::Split,
    nn::{Model, Signature, read_tensors},
    train::{Control, Event, Prepared, RunConfig, Trainer, run},
};

/// Of a loss relative, of a weight absolute.
const TOLERANCE: f64 = 1e-5;

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    config: serde_json::Map<String, serde_json::Value>,
    losses: Vec<f64>,
}

#[derive(serde::Deserialize)]
struct Manifest {
    parameters: HashMap<String, Vec<(String, Vec<usize>)>>,
    cases: Vec<Case>,
}

fn manifest() -> Manifest {
    serde_json::from_str(&std::fs::read_to_string(parity_file("transformers.json")).unwrap()).unwrap()
}

impl Case {
    fn config(&self, folder: &Path, shapes: &[(String, Vec<usize>)]) -> RunConfig {
        let config: RunConfig = serde_json::from_value(serde_json::Value::Object(self.config.clone())).unwrap();
        let data = if config.model.starts_with("gpt") { text_file(folder) } else { config.data.clone() };
        let (init, batch_order) = (Some(weights_file(folder, shapes)), jostle::data::BatchOrder::Sequential);
        RunConfig { data, init, batch_order, log_every: 1, ..config }
    }
}

fn prepared(config: &RunConfig) -> Prepared {
    if config.model.starts_with("gpt") {
        return Prepared::load(config).unwrap();
    }
    let images = hashed_images(IMAGES, 2 * config.batch);
    let model = Model::build(&config.model, &Signature::default()).unwrap();
    Prepared::with_model(config, Split { train: images.clone(), test: images }, model).unwrap()
}

/// The loss of every step and the final weights by name.
fn train(config: &RunConfig) -> (Vec<f64>, HashMap<String, Vec<f32>>) {
    let gpu = device();
    let mut trainer = Trainer::new(gpu, config, &prepared(config)).unwrap();
    let mut losses = Vec::new();
    run(&mut trainer, config, None, &mut |event| {
        if let Event::Step(record) = event {
            losses.push(record.loss);
        }
        Ok(Control::Continue)
    })
    .unwrap();
    let params = trainer.model.graph.params().iter().enumerate();
    let weights = params.map(|(tensor, param)| {
        let view = trainer.arena.tensor(&trainer.arena.weights, tensor).unwrap();
        (param.name.clone(), gpu.read(&view).unwrap())
    });
    (losses, weights.collect())
}

fn follow(kind: &str) {
    let Manifest { parameters, cases } = manifest();
    let expected = read_tensors(&parity_file("transformers.safetensors")).unwrap();
    let cases: Vec<Case> = cases.into_iter().filter(|case| case.name.starts_with(kind)).collect();
    assert_eq!(cases.len(), 7);
    let mut failures = Vec::new();
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        let shapes = &parameters[case.config["model"].as_str().unwrap()];
        let (losses, weights) = train(&case.config(folder.path(), shapes));
        assert_eq!((losses.len(), case.losses.len()), (20, 20), "{}", case.name);
        let relative = |(found, expected): (&f64, &f64)| ((found - expected) / expected).abs();
        let loss = losses.iter().zip(&case.losses).map(relative).fold(0.0, f64::max);
        let mut worst = (0.0f64, String::new());
        for (name, shape) in shapes {
            let stored = expected.iter().find(|tensor| tensor.name == format!("{}/{name}", case.name)).unwrap();
            let found = &weights[name];
            assert_eq!(found.len(), shape.iter().product::<usize>(), "{} {name}", case.name);
            let found: Vec<f32> = found.iter().step_by(EVERY).copied().collect();
            assert_eq!(found.len(), stored.values.len(), "{} {name}", case.name);
            for (found, expected) in found.iter().zip(&stored.values) {
                let apart = f64::from((found - expected).abs());
                assert!(apart.is_finite(), "{} {name}: {found}", case.name);
                if apart > worst.0 {
                    worst = (apart, name.clone());
                }
            }
        }
        let line = format!("{:>18}: loss {loss:.1e} relative, weights {:.1e} ({})", case.name, worst.0, worst.1);
        println!("{line}");
        // Not `>`: a NaN fails.
        if !(loss <= TOLERANCE && worst.0 <= TOLERANCE) {
            failures.push(line);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn parameters_have_nanogpts_and_timms_names_and_shapes() {
    let folder = tempfile::tempdir().unwrap();
    for (model, mut parameters) in manifest().parameters {
        let data = if model.starts_with("gpt") { text_file(folder.path()) } else { "digits".to_owned() };
        let config = RunConfig { data, model: model.clone(), batch: 4, ..RunConfig::default() };
        let mut found: Vec<_> =
            prepared(&config).model.graph.params().iter().map(|p| (p.name.clone(), p.shape.clone())).collect();
        found.sort_unstable();
        parameters.sort_unstable();
        assert_eq!(found, parameters, "{model}");
    }
}

#[test]
fn gpts_follow_pytorch() {
    follow("gpt");
}

#[test]
fn vits_follow_pytorch() {
    follow("vit");
}
