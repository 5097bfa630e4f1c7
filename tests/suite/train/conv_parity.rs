//! Convolutional networks checked against PyTorch in float64: names, logits, and the losses of the first five steps.
//!
//! `resnet34` and `vgg16-bn`, which are `resnet18` and `vgg11-bn` with more layers, are trained at a quarter of their width.
//! `scripts/make_conv_parity.py` makes the fixtures. Weights and images are drawn on both sides by the same formulas.

use crate::common::{device, images::hashed_images, parity_file};
use jostle::{
    data::Split,
    kernels::Arena,
    nn::{self, Model, Signature},
    train::{Control, Evaluator, Event, Prepared, RunConfig, Trainer, run},
};

/// The bar: logits absolute, losses relative.
const TOLERANCE: f64 = 1e-4;

#[derive(serde::Deserialize)]
struct Case {
    /// Keys of `jostle train` beside those of the manifest.
    options: serde_json::Map<String, serde_json::Value>,
    /// Seed of the images; those to test on have the one after the next.
    data: u64,
    parameters: Vec<(String, Vec<usize>)>,
    losses: Vec<f64>,
    before: Vec<f64>,
    after: Vec<f64>,
    /// The training loss at noisy weights and at the weights' moving average.
    #[serde(default)]
    noisy_and_average: Vec<f64>,
}

#[derive(serde::Deserialize)]
struct Manifest {
    config: serde_json::Map<String, serde_json::Value>,
    /// Those whose cases are narrow, as published.
    wide: Vec<Untrained>,
    cases: Vec<Case>,
}

/// A model at its initial weights, and its logits of two images.
#[derive(serde::Deserialize)]
struct Untrained {
    model: String,
    parameters: Vec<(String, Vec<usize>)>,
    logits: Vec<f64>,
}

impl Case {
    fn model(&self) -> &str {
        self.options["model"].as_str().unwrap()
    }

    fn config(&self, shared: &serde_json::Map<String, serde_json::Value>) -> RunConfig {
        let keys = shared.iter().chain(&self.options).map(|(key, value)| (key.clone(), value.clone()));
        let config: RunConfig = serde_json::from_value(serde_json::Value::Object(keys.collect())).unwrap();
        RunConfig { log_every: 1, ..config }
    }
}

/// What a run gave, in the fixture's terms.
#[derive(Default)]
struct Trained {
    before: Vec<f32>,
    losses: Vec<f64>,
    after: Vec<f32>,
    noisy_and_average: Vec<f64>,
}

fn manifest() -> Manifest {
    serde_json::from_str(&std::fs::read_to_string(parity_file("conv.json")).unwrap()).unwrap()
}

fn model(name: &str) -> Model {
    let text = if name.ends_with(".toml") { parity_file(name).display().to_string() } else { name.to_owned() };
    Model::build(&text, &Signature::default()).unwrap()
}

fn worst(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().all(|value| value.is_finite()));
    found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - e).abs()).fold(0.0, f64::max)
}

fn prepared(name: &str, config: &RunConfig, seed: u64, samples: usize) -> Prepared {
    let split = Split { train: hashed_images(seed, samples), test: hashed_images(seed + 2, samples) };
    Prepared { split, validation: None, model: model(name), loss: config.loss.into(), label_noise: None }
}

/// Of the images to test on.
fn logits(trainer: &Trainer<'_>, prepared: &Prepared, config: &RunConfig) -> Vec<f32> {
    let (gpu, test, scale) = (device(), prepared.split.test.clone(), [[0.0, 1.0]; 3]);
    let evaluator = Evaluator::new(gpu, &trainer.model, &trainer.arena, test, &scale, config.loss).unwrap();
    evaluator.outputs(gpu).unwrap().1
}

fn train(case: &Case, config: &RunConfig) -> Trained {
    let prepared = prepared(case.model(), config, case.data, config.batch * config.accumulate);
    let mut trainer = Trainer::new(device(), config, &prepared).unwrap();
    let before = logits(&trainer, &prepared, config);
    let mut trained = Trained { before, ..Trained::default() };
    let result = run(&mut trainer, config, None, &mut |event| {
        if let Event::Step(record) = event {
            trained.losses.push(record.loss);
        }
        Ok(Control::Continue)
    })
    .unwrap();
    let end = result.epochs.last().unwrap();
    let beside = end.noisy.iter().chain(&end.average);
    trained.noisy_and_average = beside.map(|scores| scores.train_loss.unwrap()).collect();
    Trained { after: logits(&trainer, &prepared, config), ..trained }
}

#[test]
fn parameters_have_pytorchs_names_and_shapes() {
    let Manifest { wide, cases, .. } = manifest();
    let trained = cases.into_iter().map(|case| (case.model().to_owned(), case.parameters));
    for (name, parameters) in trained.chain(wide.into_iter().map(|wide| (wide.model, wide.parameters))) {
        let found: Vec<_> = model(&name).graph.params().iter().map(|p| (p.name.clone(), p.shape.clone())).collect();
        assert_eq!(found, parameters, "{name}");
    }
}

fn worst_ratio(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().all(|value| value.is_finite()));
    found.iter().zip(expected).map(|(f, e)| ((f - e) / e).abs()).fold(0.0, f64::max)
}

fn follow(wanted: impl Fn(&str) -> bool) {
    let Manifest { config, cases, .. } = manifest();
    let cases: Vec<Case> = cases.into_iter().filter(|case| wanted(case.model())).collect();
    assert!(!cases.is_empty());
    let mut failures = Vec::new();
    for case in cases {
        let found = train(&case, &case.config(&config));
        assert!(case.losses[4] < 0.98 * case.losses[0], "{}: too little learning to show an error", case.model());
        let (before, after) = (worst(&found.before, &case.before), worst(&found.after, &case.after));
        let loss = worst_ratio(&found.losses, &case.losses)
            .max(worst_ratio(&found.noisy_and_average, &case.noisy_and_average));
        let line = format!("{:>11}: logits {before:.1e}, losses {loss:.1e}, logits after {after:.1e}", case.model());
        println!("{line}");
        if [before, loss, after].iter().any(|apart| *apart > TOLERANCE) {
            failures.push(line);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn cnns_follow_pytorch() {
    follow(|model| model.starts_with("cnn"));
}

#[test]
fn resnets_follow_pytorch() {
    follow(|model| model.starts_with("resnet"));
}

#[test]
fn wide_networks_give_pytorchs_logits() {
    let Manifest { config, wide, .. } = manifest();
    let config: RunConfig = serde_json::from_value(serde_json::Value::Object(config)).unwrap();
    assert_eq!(wide.len(), 2);
    for Untrained { model, logits: expected, .. } in wide {
        let config = RunConfig { model: model.clone(), batch: 2, ..config.clone() };
        let prepared = prepared(&model, &config, 91, 2);
        let trainer = Trainer::new(device(), &config, &prepared).unwrap();
        let apart = worst(&logits(&trainer, &prepared, &config), &expected);
        assert!(apart <= TOLERANCE, "{model}: {apart}");
    }
}

#[test]
fn vggs_with_dropout_follow_pytorch() {
    follow(|model| model.starts_with("vgg"));
}

#[test]
fn a_model_file_follows_pytorch() {
    follow(|model| model.ends_with(".toml"));
}

#[test]
fn a_state_dict_of_pytorch_gives_its_logits() {
    let gpu = device();
    let case = manifest().cases.into_iter().find(|case| case.model() == "net.toml").unwrap();
    let model = model(case.model());
    let layout = model.graph.layout();
    let scales = vec![0.0; layout.spans().len()];
    let arena = Arena::new(gpu, layout, &scales).unwrap();
    nn::load(gpu, &model, &arena, &parity_file("net.safetensors")).unwrap();
    let evaluator =
        Evaluator::new(gpu, &model, &arena, hashed_images(93, 8), &[[0.0, 1.0]; 3], jostle::ops::Loss::Nll).unwrap();
    let (_, logits) = evaluator.outputs(gpu).unwrap();
    let apart = worst(&logits, &case.after);
    assert!(apart <= TOLERANCE, "{apart}");
}
